package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestStoreFIFO: what is no regular file in a store is named, and holds nobody.
func TestStoreFIFO(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	at, topdir, tree := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "packages", "bash"), 0o755); err != nil {
		t.Fatal(err)
	}
	kojisnapOK(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-compose", "--event", "419", "--store", at)
	copies := []string{"copy", "--topdir", topdir, "--source", tree, "--writable-source", "--dry-run", "--store", at}
	for _, objects := range []string{"segments/*", "snapshots/*"} {
		found, err := filepath.Glob(filepath.Join(at, objects))
		if err != nil || len(found) == 0 {
			t.Fatal(found, err)
		}
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(name, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, errs, code := kojisnapRun(t, copies...); code == exit.Done || code == exit.NotReady || !strings.Contains(errs, at) || len(lines(errs)) != 1 {
			t.Errorf("copy with FIFOs as %s: %d, %q", objects, code, errs)
		}
	}
}
