package hardlink_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/ledger/ledgertest"
)

func audit(o *hardlink.Options) { o.Audit = true }

// diff returns what a run would do.
func (s *site) diff(t testing.TB, change ...func(*hardlink.Options)) hardlink.Actions {
	t.Helper()
	a, err := s.engine(t, change...).Diff(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ledger returns topdir's ledger in its shortest form.
func (s *site) ledger(t testing.TB) string {
	t.Helper()
	l, err := ledger.Read(s.top)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	l.WriteTo(&b)
	return b.String()
}

// A run does not look at files of builds that the ledger has: it does not even notice a missing file until an
// audit makes it again. It looks at symlinks on DEFAULT, because Koji removes them before it fails.
func TestAuditFindsWhatNothingElseLooksAt(t *testing.T) {
	s := newSite(t, "bash", "win-tool", "nginx")
	s.mustCopy(t)
	before := s.ledger(t)
	build := filepath.Join(s.top, "vol/staged", bashDir)
	link := filepath.Join(s.top, "packages/win-tool/2.0/1")
	stray := filepath.Join(s.top, "vol/staged/packages/stray/1/1")
	for _, err := range []error{
		os.Remove(filepath.Join(build, bashRPM)),
		os.Remove(filepath.Join(build, bashSig)), os.Symlink("elsewhere", filepath.Join(build, bashSig)),
		os.WriteFile(filepath.Join(build, "mine"), nil, 0o644), os.MkdirAll(stray, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if a := s.diff(t); a.Pending() || len(a.Kept) > 0 {
		t.Errorf("it was looked at: %+v", a)
	}
	must(t, os.Remove(link))
	if a := s.diff(t); len(a.Links) != 1 || !a.Links[0].Mend || len(a.Builds) > 0 {
		t.Errorf("a symlink is gone: %+v", a)
	}
	r := s.mustCopy(t, audit)
	if r.Linked != 1 || r.Links != 1 || r.Adopted != 0 {
		t.Errorf("report %+v", r)
	}
	var kept []string
	for _, k := range r.Kept {
		kept = append(kept, k.Path)
	}
	if want := []string{"vol/staged/" + bashDir + "/" + bashSig, "vol/staged/" + bashDir + "/mine", "vol/staged/packages/stray/1/1"}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	os.Remove(filepath.Join(build, bashSig))
	s.mustCopy(t, audit)
	s.check(t)
	if after := s.ledger(t); after != before {
		t.Errorf("the ledger was\n%s\nand is\n%s", before, after)
	}
	if a := s.diff(t, audit); a.Pending() {
		t.Errorf("an audit after an audit: %+v", a)
	}
}

// A run notices without an audit that a volume was emptied or is not mounted.
func TestVanishedPackages(t *testing.T) {
	for _, gone := range []string{"vol/staged/packages", "vol/staged/packages/bash", "packages", "packages/bash"} {
		s := newSite(t, "bash", "win-tool")
		s.mustCopy(t)
		if err := os.RemoveAll(filepath.Join(s.top, gone)); err != nil {
			t.Fatal(err)
		}
		if a := s.diff(t); !a.Pending() {
			t.Errorf("%s: nothing to do", gone)
		}
		s.mustCopy(t)
		s.check(t)
	}
}

// An audit rebuilds a damaged or lost ledger, with a store's copy of it and without one.
func TestLedgerMadeAnew(t *testing.T) {
	s := newSite(t, "bash", "win-tool", "nginx", "my-operator")
	s.mustCopy(t)
	path := filepath.Join(s.top, ".kojisnap/ledger")
	good := mustRead(t, path)
	before, files := s.ledger(t), snapshot(t, filepath.Join(s.top, "vol"))
	saved := func(o *hardlink.Options) {
		o.Saved = func(context.Context) (*ledger.Ledger, error) { return ledger.Parse(bytes.NewReader(good)) }
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		damage  func()
		change  []func(*hardlink.Options)
		adopted bool
	}{
		"damaged":                 {func() { write(flip(len(good) / 2)(bytes.Clone(good))) }, []func(*hardlink.Options){audit}, true},
		"damaged, saved":          {func() { write([]byte("rubbish\n")) }, []func(*hardlink.Options){audit, saved}, false},
		"lost, audit":             {func() { os.Remove(path) }, []func(*hardlink.Options){audit}, true},
		"lost, saved":             {func() { os.Remove(path) }, []func(*hardlink.Options){saved}, false},
		"empty, audit by digests": {func() { write(nil) }, []func(*hardlink.Options){func(o *hardlink.Options) { o.Verify = hardlink.VerifyDigest }}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.damage()
			r := s.mustCopy(t, c.change...)
			if made := r.Linked + r.Copied + r.Reflinked + r.Symlinked + r.Links; made > 0 || len(r.Kept) > 0 || (r.Adopted > 0) != c.adopted {
				t.Errorf("report %+v", r)
			}
			if after := s.ledger(t); withoutVolumes(after) != withoutVolumes(before) {
				t.Errorf("the ledger was\n%s\nand is\n%s", before, after)
			}
			if snapshot(t, filepath.Join(s.top, "vol")) != files {
				t.Error("files changed")
			}
			if a := s.diff(t); a.Pending() {
				t.Errorf("left to do: %+v", a)
			}
			s.check(t)
			write(good)
		})
	}
	if got := mustRead(t, path+".damaged-1"); len(got) == 0 {
		t.Error("the damaged ledger was not kept")
	}
	if _, err := os.Lstat(path + ".damaged-2"); err != nil {
		t.Error("of two damaged ledgers one is gone")
	}
}

// withoutVolumes removes the symlinks of volumes, which a rebuilt ledger cannot have and which are never
// removed, and the seal.
func withoutVolumes(ledger string) string {
	lines := slices.DeleteFunc(strings.Split(ledger, "\n"), func(l string) bool {
		return strings.HasPrefix(l, "K\tvol/") || strings.HasPrefix(l, "L\t") || strings.HasPrefix(l, "=\t")
	})
	return strings.Join(lines, "\n")
}

// A rebuilt ledger does not have files that may be staging's. They stay, and their build stays on
// production's volume.
func TestLedgerMadeAnewTakesNothingOfStagings(t *testing.T) {
	s := newSite(t, "bash", "win-tool", "emptypkg")
	s.mustCopy(t)
	changed := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
	damage(t, changed, flip(-1))
	own := filepath.Join(s.top, "vol/staged/packages/win-tool/2.0/1")
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "mine"), []byte("staging's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.top, ".kojisnap/ledger"), []byte("rubbish\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.copy(t); !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "copy --audit") {
		t.Errorf("error %v", err)
	}
	before := snapshot(t, filepath.Join(s.top, "vol/staged"))
	r := s.mustCopy(t, audit)
	for _, want := range []hardlink.Kept{
		{Path: "vol/staged/" + bashDir + "/" + bashRPM, Why: "not as kojisnap left it", Wanted: true},
		{Path: "vol/staged/packages/win-tool/2.0/1", Why: "not made by kojisnap", Wanted: true},
	} {
		if !slices.Contains(r.Kept, want) {
			t.Errorf("kept %+v, want %+v", r.Kept, want)
		}
	}
	if snapshot(t, filepath.Join(s.top, "vol/staged")) != before {
		t.Error("files changed")
	}
	s.staysOnProd(t, bashDir)
	s.staysOnProd(t, "packages/win-tool/2.0/1")
	l, err := ledger.Read(s.top)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range l.Staged() {
		if b.Build.NVR() == "bash-5.3.0-2.fc42" || b.Build.Name == "win-tool" {
			t.Errorf("%s counts as copied", b.Build.NVR())
		}
	}
}

// A ledger of format 1 does not say which symlinks are in place. A run checks them once, and then the ledger
// says it.
func TestFormat1IsRead(t *testing.T) {
	s := newSite(t, "bash", "win-tool")
	s.mustCopy(t)
	path := filepath.Join(s.top, ".kojisnap/ledger")
	old := ledgertest.Downgrade(1, string(mustRead(t, path)), nil)
	if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(s.top, bashDir)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if r := s.mustCopy(t); r.Links != 1 || r.Builds != 0 {
		t.Errorf("report %+v", r)
	}
	s.check(t)
	if !bytes.HasPrefix(mustRead(t, path), []byte("kojisnap-ledger\t4\n")) {
		t.Error("it is still format 1")
	}
	if a := s.diff(t); a.Pending() {
		t.Errorf("left to do: %+v", a)
	}
}
