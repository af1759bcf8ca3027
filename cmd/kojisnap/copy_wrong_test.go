package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/cmd/kojisnap/exit"
)

// TestCopyNoServer: a source that does not answer is told by the same text each time, though another file is
// the first to learn it.
func TestCopyNoServer(t *testing.T) {
	s := newCopySite(t)
	sourcePause = time.Millisecond
	t.Cleanup(func() { sourcePause = 0 })
	var first string
	for run := range 2 {
		_, errs, code := kojisnapRun(t, "copy", "--store", s.store, "--topdir", t.TempDir(), "--source", "http://127.0.0.1:1/tree", "--tag", "f42-compose", "--env", fmt.Sprint("run", run))
		if run == 0 {
			first = errs
		}
		if code != exit.Later || errs != first || strings.Contains(errs, "/packages/") || !strings.Contains(errs, "connection refused") {
			t.Errorf("exit code %d: %s\nand before: %s", code, errs, first)
		}
	}
}

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
		if code != exit.NotReady || len(lines(errs)) != 3 || !strings.Contains(errs, "is --source production's topdir, where Koji's topurl leads") || !strings.Contains(errs, "and 48 more") {
			t.Errorf("%s: exit code %d, %d lines: %s", source, code, len(lines(errs)), errs)
		}
	}
}
