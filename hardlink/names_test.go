package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// A symlink's target would be longer than the file system allows (XFS: 1024 bytes). That build is left out,
// and the others are made.
func TestNamesTooLong(t *testing.T) {
	s := newSite(t, "bash", "nginx")
	must(t, os.WriteFile(filepath.Join(s.prod, bashDir, "long-name"), nil, 0o644))
	e := s.engine(t)
	a, err := e.Diff(t.Context(), s.plan(t))
	must(t, err)
	e.FailOn("symlink", "/long-name", syscall.ENAMETOOLONG)
	r, err := e.Apply(t.Context(), a)
	if !errors.Is(err, syscall.ENAMETOOLONG) || !strings.Contains(err.Error(), `build "bash-5.3.0-2.fc42": `) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %.300v", err)
	}
	if want := len(s.input.Builds) - 1; r.Builds != want || s.wholeOrAbsent(t) != want {
		t.Errorf("%d builds made, want %d", r.Builds, want)
	}
	s.staysOnProd(t, bashDir)
}

// The names of two builds differ only in case. If the file system ignores case, as this test makes it seem,
// one build is left out; otherwise both are made.
func TestNamesThatDifferInCaseAlone(t *testing.T) {
	for name, folds := range map[string]bool{"case counts": false, "case is ignored": true} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return b.NVR() == "bash-5.3.0-2.fc42" })
			other := s.input.Builds[0]
			other.Name, other.RPMs, other.Archives = "BASH", nil, nil
			s.input.Builds = append(s.input.Builds, other)
			must(t, os.MkdirAll(filepath.Join(s.prod, "packages/BASH/5.3.0/2.fc42"), 0o755))
			want := 2
			if folds {
				must(t, os.MkdirAll(filepath.Join(s.top, "vol/staged"), 0o755))
				mustSymlink(t, "nowhere", filepath.Join(s.top, "vol/staged/.KOJISNAP-TMP"))
				want = 1
			}
			r, err := s.copy(t)
			if (err != nil) != folds || err != nil && !strings.Contains(err.Error(), "in case alone") {
				t.Errorf("error %v", err)
			}
			if r.Builds != want {
				t.Errorf("%d builds made, want %d", r.Builds, want)
			}
			s.wholeOrAbsent(t)
		})
	}
}

// The ledger and the lock are symlinks to files outside topdir. Nothing is written through them.
func TestLedgerThatIsASymlink(t *testing.T) {
	for _, name := range []string{"ledger", "lock"} {
		s := onlyBash(t)
		outside := filepath.Join(t.TempDir(), "outside")
		must(t, os.WriteFile(outside, []byte("precious"), 0o600))
		mustSymlink(t, outside, filepath.Join(s.top, ".kojisnap", name))
		if _, err := s.copy(t); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := string(mustRead(t, outside)); got != "precious" {
			t.Errorf("%s: wrote %q outside topdir", name, got)
		}
		if info := stat(t, outside); info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
}
