package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestCopyDenied: a server that denies what it does not have, as S3 does to those who may not list the
// bucket. A missing file that no compose opens keeps nothing back, one that is wanted its build alone.
// One that denies all is out of order.
func TestCopyDenied(t *testing.T) {
	s := newCopySite(t)
	var all atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := os.ReadFile(filepath.Join(s.prod, filepath.FromSlash(r.URL.Path)))
		if err != nil || all.Load() {
			http.Error(w, "Access Denied", http.StatusForbidden)
			return
		}
		w.Write(body)
	}))
	defer web.Close()
	remove := func(pattern string) (n int) {
		found, err := filepath.Glob(filepath.Join(s.prod, "packages", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if remove("glibc/*/*/data/sigcache/*/*/*.sig") == 0 {
		t.Fatal("glibc has no signature headers")
	}
	args := func(env string) []string {
		return []string{"copy", "--store", s.store, "--topdir", s.topdir, "--source", web.URL, "--tag", "f42-compose", "--env", env}
	}
	kojisnapOK(t, args("web")...)
	glibc := func() bool {
		found, _ := filepath.Glob(filepath.Join(s.topdir, "vol/staged/packages/glibc/*/*/x86_64/*.rpm"))
		return len(found) > 0
	}
	if !glibc() {
		t.Error("glibc is not copied")
	}

	// A file that is wanted.
	s.topdir = t.TempDir()
	if remove("glibc/*/*/x86_64/*.rpm") == 0 {
		t.Fatal("glibc has no rpms")
	}
	_, errs, code := kojisnapRun(t, args("wanted")...)
	if code != exit.NotReady || strings.Count(errs, "glibc-") == 0 || len(lines(errs)) > 4 || !strings.Contains(errs, "it is not there, it wants a login") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if glibc() || len(s.staged()) < 30 {
		t.Errorf("glibc is copied: %v; %d builds", glibc(), len(s.staged()))
	}

	// All is denied.
	s.topdir = t.TempDir()
	all.Store(true)
	if _, errs, code := kojisnapRun(t, args("all")...); code != exit.Error || len(lines(errs)) > 4 || len(s.staged()) > 3 { // of builds without files
		t.Errorf("exit code %d, %q: %s", code, s.staged(), errs)
	}
}
