package hardlink_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

const (
	bashDir    = "packages/bash/5.3.0/2.fc42"
	bashSigned = "data/signed/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
	bashSig    = "data/sigcache/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm.sig"
	bashRPM    = "x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
)

// onlyBash is a site where one build is copied.
func onlyBash(t testing.TB) *site {
	s := newSite(t, "bash", "glibc")
	s.input = volumestest.Split(s.input, func(b volumes.BuildFiles) bool { return b.NVR() == "bash-5.3.0-2.fc42" })
	return s
}

// every is how far apart the points are at which tests end a run or let an operation fail: each one of them is for the
// long form. Cases that differ in little begin at different points.
func every() int {
	if seedtest.Long() {
		return 1
	}
	return 3
}

// damage replaces a file by a changed one with the same time.
func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// staysOnProd checks that a build that is left out is on the read-only volume.
func (s *site) staysOnProd(t *testing.T, dir string) {
	t.Helper()
	if target, err := os.Readlink(filepath.Join(s.top, dir)); target != "../../../vol/prod/"+dir {
		t.Errorf("DEFAULT: -> %q, %v", target, err)
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// noRows is a database without builds.
func noRows(context.Context, []volumes.Build) (map[string]string, error) { return nil, nil }

// removeRest does what a run does at its end.
func (s *site) removeRest(t testing.TB, change ...func(*hardlink.Options)) hardlink.Report {
	t.Helper()
	e := s.engine(t, change...)
	a, err := e.DiffRemove(t.Context(), s.plan(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
