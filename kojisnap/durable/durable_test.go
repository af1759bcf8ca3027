package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kojisnap/kojisnap/durable"
)

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, content := range []string{"first", "second, longer", ""} {
		if err := durable.WriteFile(path, text(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != content {
			t.Errorf("content %q, want %q", got, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o644 {
		t.Errorf("mode %v, want 0644", info.Mode())
	}
	wantNames(t, dir, "a")
}

func TestWriteFileFailureLeavesAllAsItWas(t *testing.T) {
	broken := errors.New("broken source")
	half := func(w io.Writer) error {
		io.WriteString(w, "half")
		return broken
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := durable.WriteFile(path, half); !errors.Is(err, broken) {
		t.Fatalf("error %v, want the writer's", err)
	}
	wantNames(t, dir)
	if err := durable.WriteFile(path, text("old")); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, half); !errors.Is(err, broken) {
		t.Fatalf("error %v, want the writer's", err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("content %q, want the old one", got)
	}
	wantNames(t, dir, "a")
	// A directory is in the way of the rename.
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "d"), text("x")); err == nil {
		t.Error("a directory was replaced")
	}
	wantNames(t, dir, "a", "d")
}

func TestWriteFileSeesNoPart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	err := durable.WriteFile(path, func(w io.Writer) error {
		io.WriteString(w, "half")
		names := list(t, dir)
		if len(names) != 1 || !durable.IsTemp(names[0]) {
			return fmt.Errorf("while writing: %q", names)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteFileNames(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("n", 255)
	if err := durable.WriteFile(filepath.Join(dir, long), text("x")); err != nil {
		t.Errorf("a name of 255 bytes: %v", err)
	}
	if err := durable.WriteFile(dir+"/", text("x")); err == nil {
		t.Error("a path without a file name was accepted")
	}
	wantNames(t, dir, long)
}

func TestCreateFileOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			err := durable.CreateFile(path, text(fmt.Sprint(i)))
			switch {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("error %v, want fs.ErrExist", err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d writers succeeded, want 1", made.Load())
	}
	wantNames(t, dir, "a")
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := durable.WriteFile(path, text("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := durable.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, dir)
}

func TestRenameAcrossDirectories(t *testing.T) {
	dir := t.TempDir()
	if err := durable.MkdirAll(filepath.Join(dir, "x/y"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "a"), text("v")); err != nil {
		t.Fatal(err)
	}
	if err := durable.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "x/y/b")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, "x")
	if got := read(t, filepath.Join(dir, "x/y/b")); got != "v" {
		t.Errorf("content %q", got)
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}
