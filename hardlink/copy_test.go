package hardlink_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// Names in production's tree that no ledger and no report can have are skipped and reported.
func TestHostileFileNames(t *testing.T) {
	s := onlyBash(t)
	for _, name := range []string{"new\nline", "tab\t", "esc\x1b[31m", "bad\xffutf8"} {
		if err := os.WriteFile(filepath.Join(s.prod, bashDir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 { // each run reports it
		r, err := s.copy(t)
		var left *hardlink.LeftOutError
		if !errors.As(err, &left) || len(left.Errs) != 4 || r.Builds != 1-i {
			t.Fatalf("report %+v, %v", r, err)
		}
		for _, e := range left.Errs {
			if strings.ContainsAny(e.Error(), "\n\t\x1b") || !utf8.ValidString(e.Error()) {
				t.Errorf("told as %q", e)
			}
		}
	}
	for _, p := range files(t, filepath.Join(s.top, "vol/staged")) {
		if volumes.CheckPath("path", p) != nil {
			t.Errorf("file %q", p)
		}
	}
}

// If more is wanted later, new files are added one by one, and symlinks become files.
func TestWantedLater(t *testing.T) {
	s := onlyBash(t)
	s.want.SigKeys = []string{"41526f0e"}
	s.want.Arches = []string{"aarch64"}
	s.mustCopy(t)
	s.check(t)
	inode := stat(t, filepath.Join(s.top, "vol/staged", bashDir))
	s.want.SigKeys = []string{"41526f0e", "ba2992d4", ""}
	s.want.Arches = nil
	r := s.mustCopy(t)
	s.check(t)
	if r.Builds != 1 || r.Linked == 0 || r.Present == 0 {
		t.Errorf("report %+v", r)
	}
	if again := stat(t, filepath.Join(s.top, "vol/staged", bashDir)); !os.SameFile(inode, again) {
		t.Error("the build's directory was replaced")
	}
}

// What staging made or changed stays, and is reported.
func TestStagingsOwnStays(t *testing.T) {
	s := newSite(t)
	own := filepath.Join(s.top, "packages/bash/5.2.37/3.fc42/x86_64/mine.rpm") // a real directory on DEFAULT
	foreign := filepath.Join(s.top, "vol/staged/packages/glibc/2.41/5.fc42/mine.rpm")
	link := filepath.Join(s.top, "packages/curl/8.11.1/4.fc42") // moved by staging's hub to a volume of its own
	for _, p := range []string{own, foreign, link} {
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{own, foreign} {
		if err := os.WriteFile(p, []byte("staging's"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustSymlink(t, "../../../vol/stg_ssd/packages/curl/8.11.1/4.fc42", link)
	r := s.mustCopy(t)
	want := []hardlink.Kept{
		{Path: "vol/staged/packages/glibc/2.41/5.fc42", Why: "not made by kojisnap", Wanted: true},
		{Path: "packages/bash/5.2.37/3.fc42", Why: "staging's own"},
		{Path: "packages/curl/8.11.1/4.fc42", Why: `staging's own symlink to "../../../vol/stg_ssd/packages/curl/8.11.1/4.fc42"`},
	}
	if !slices.Equal(r.Kept, want) {
		t.Errorf("kept %+v\nwant %+v", r.Kept, want)
	}
	s.staysOnProd(t, "packages/glibc/2.41/5.fc42")
	// One of our files that staging changed, and one that staging added to our build.
	changed := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
	other := mustRead(t, filepath.Join(s.top, "vol/staged/packages/nginx/1.28.0/1.fc42/x86_64/nginx-1.28.0-1.fc42.x86_64.rpm"))
	damage(t, changed, func([]byte) []byte { return other })
	r = s.mustCopy(t, func(o *hardlink.Options) { o.Audit = true })
	if !slices.Contains(r.Kept, hardlink.Kept{Path: "vol/staged/" + bashDir + "/" + bashRPM, Why: "not as kojisnap left it", Wanted: true}) || r.Builds != 0 {
		t.Errorf("report %+v", r)
	}
	added := filepath.Join(s.top, "vol/staged/packages/nginx/1.28.0/1.fc42/data/signed/deadbeef/mine.rpm")
	if err := os.MkdirAll(filepath.Dir(added), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(added, []byte("staging's"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.input = volumes.Input{}
	r = s.removeRest(t)
	if r.Removed != len(volumestest.Input(t).Builds)-3 { // and the foreign one
		t.Errorf("removed %d", r.Removed)
	}
	for _, p := range []string{own, foreign, added, changed} {
		if !strings.HasSuffix(string(mustRead(t, p)), "staging's") && p != changed {
			t.Errorf("%s was changed", p)
		}
	}
	if target, err := os.Readlink(link); err != nil || !strings.Contains(target, "stg_ssd") {
		t.Errorf("%s -> %s, %v", link, target, err)
	}
	if len(r.Kept) != 2 {
		t.Errorf("kept %+v, want the two builds that staging touched", r.Kept)
	}
}

// If a newer build replaces an older one, the older one moves back to the read-only volume, its symlink
// first.
func TestWhatCanGoGoes(t *testing.T) {
	s := newSite(t)
	all := s.input
	s.mustCopy(t)
	s.input = volumestest.Split(all, func(b volumes.BuildFiles) bool { return b.Name != "bash" })
	r := s.mustCopy(t)
	bashes := len(s.input.Others)
	if r.Links != bashes || r.Builds != 0 || bashes < 2 {
		t.Errorf("report %+v, want %d links switched", r, bashes)
	}
	r = s.removeRest(t)
	if r.Removed != bashes || r.RemovedFiles == 0 || r.RemovedBytes == 0 || r.RemovedLinks != 0 {
		t.Errorf("report %+v, want %d builds removed", r, bashes)
	}
	s.check(t)
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged/packages/bash")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directories stay: %v", err)
	}
	// A build that left the scope keeps its symlink as long as the database may have it.
	s.input.Others = nil
	if r = s.removeRest(t); r.RemovedLinks != 0 || r.Removed != 0 {
		t.Errorf("report %+v", r)
	}
	if r = s.removeRest(t, func(o *hardlink.Options) { o.Rows = noRows }); r.RemovedLinks != bashes || r.Removed != 0 {
		t.Errorf("report %+v", r)
	}
	s.input = all
	s.mustCopy(t)
	s.check(t)
}

// Two runs do not work on one topdir at the same time.
func TestLocked(t *testing.T) {
	s := onlyBash(t)
	var inner error
	s.mustCopy(t, func(o *hardlink.Options) {
		o.Jobs = 1
		o.Progress = &canceller{after: 2, cancel: func() { _, inner = s.copy(t) }}
	})
	if !errors.Is(inner, lockfile.ErrLocked) {
		t.Errorf("error %v, want %v", inner, lockfile.ErrLocked)
	}
}

// A dry run prints all actions in a stable order, as text and as JSON.
func TestActionsPrinted(t *testing.T) {
	s := onlyBash(t)
	s.want.SigKeys = []string{"41526f0e"}
	if err := os.Remove(filepath.Join(s.prod, bashDir, bashSigned)); err != nil {
		t.Fatal(err)
	}
	e := s.engine(t)
	var printed [2]string
	for i := range printed {
		a, err := e.Diff(t.Context(), s.plan(t))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		n, err := a.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Errorf("%d bytes of %d, %v", n, b.Len(), err)
		}
		printed[i] = strings.ReplaceAll(b.String(), s.prod, "PROD")
		if j, err := json.Marshal(a); err != nil || !json.Valid(j) {
			t.Error(err)
		}
	}
	if printed[0] != printed[1] {
		t.Errorf("two dry runs differ:\n%s\n%s", printed[0], printed[1])
	}
	lines := strings.Split(printed[0], "\n")
	for _, want := range []string{
		"link vol/prod/packages -> PROD/packages",
		"link vol/prod_archive01/packages -> PROD/vol/archive01/packages",
		"splice vol/staged/" + bashDir + "/" + bashSigned + " 6439 bytes",
		"hardlink vol/staged/" + bashDir + "/" + bashSig + " 4408 bytes",
		"symlink vol/staged/" + bashDir + "/" + bashRPM + " -> " + s.top + "/vol/prod/" + bashDir + "/" + bashRPM,
		"link " + bashDir + " -> ../../../vol/staged/" + bashDir,
		"link packages/glibc/2.41/1.fc42 -> ../../../vol/prod_archive01/packages/glibc/2.41/1.fc42",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, printed[0])
		}
	}
	if len(files(t, s.top)) != 0 {
		t.Error("a dry run wrote something")
	}
}
