package dir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/storetest"
)

func TestContract(t *testing.T) {
	open := func(t *testing.T) store.Store {
		s, err := dir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Run(t, open)
	storetest.RunCreator(t, open)
}

func TestOpen(t *testing.T) {
	tmp := t.TempDir()
	if _, err := dir.Open(filepath.Join(tmp, "missing", "store")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("parent missing: %v", err)
	}
	if _, err := dir.OpenExisting(filepath.Join(tmp, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("store missing: %v", err)
	}
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Open(file); err == nil {
		t.Error("a file was opened as a store")
	}
}
