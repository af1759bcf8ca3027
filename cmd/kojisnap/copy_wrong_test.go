package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopyWrongSource: a server that has none of the files is told in one line with what to look at, and not
// in one for each file. One that lacks a few names them: see TestCopyDenied.
func TestCopyWrongSource(t *testing.T) {
	s := newCopySite(t)
	wrong := httptest.NewServer(http.NotFoundHandler())
	defer wrong.Close()
	tree := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(s.prod)))) // a directory too high
	defer tree.Close()
	for env, source := range map[string]string{"none": wrong.URL, "above": tree.URL} {
		_, errs, code := kojisnapRun(t, "copy", "--store", s.store, "--topdir", t.TempDir(), "--source", source, "--tag", "f42-compose", "--env", env)
		if code != exitNotReady || len(lines(errs)) != 3 || !strings.Contains(errs, "is --source production's topdir, where Koji's topurl leads") || !strings.Contains(errs, "and 48 more") {
			t.Errorf("%s: exit code %d, %d lines: %s", source, code, len(lines(errs)), errs)
		}
	}
}
