package kojiprod_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

func TestExtractTree(t *testing.T) {
	dir := t.TempDir()
	if err := kojiprod.ExtractTree(dir); err != nil {
		t.Fatal(err)
	}
	rpms := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(p) == ".rpm" {
			rpms++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rpms != 554 {
		t.Errorf("got %d rpms, want the 554 that the README of the data counts", rpms)
	}
	// Production has moved this build to another volume: DEFAULT keeps Koji's relative symlink.
	links, err := filepath.Glob(filepath.Join(dir, "vol", "archive01", "packages", "*", "*", "*"))
	if err != nil || len(links) == 0 {
		t.Fatalf("no builds on volume archive01: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "vol", "archive01", "toplink")); err != nil {
		t.Error(err)
	}
}

func TestRows(t *testing.T) {
	names, err := fs.Glob(kojiprod.Rows(), "*.tsv")
	if err != nil || len(names) < 60 {
		t.Fatalf("%d tables, %v", len(names), err)
	}
}
