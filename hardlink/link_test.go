package hardlink_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kojisnap/hardlink"
)

func TestLink(t *testing.T) {
	root := t.TempDir()
	src, dir := filepath.Join(root, "src"), filepath.Join(root, "dir")
	for _, d := range []string{src, dir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(src, "a.rpm")
	mtime := time.Unix(1600000000, 123456789)
	if err := os.WriteFile(file, []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, mtime, mtime); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a.rpm", filepath.Join(src, "b.rpm")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want hardlink.Op
	}{{"a.rpm", hardlink.OpLink}, {"a.rpm", hardlink.OpPresent}, {"b.rpm", hardlink.OpLink}} {
		if how, err := hardlink.Link(filepath.Join(src, c.name), dir); how != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.name, how, err, c.want)
		}
	}
	if info, err := os.Lstat(filepath.Join(dir, "b.rpm")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("b.rpm is %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.rpm"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "c.rpm"), []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := hardlink.Link(filepath.Join(src, "c.rpm"), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if got := string(mustRead(t, filepath.Join(dir, "c.rpm"))); got != "mine" {
		t.Errorf("another file was replaced: %q", got)
	}

	ro, other := filepath.Join(root, "ro"), filepath.Join(root, "other")
	bindReadOnly(t, src, ro)
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	how, err := hardlink.Link(filepath.Join(ro, "a.rpm"), other)
	if err != nil || how != hardlink.OpCopy && how != hardlink.OpReflink {
		t.Errorf("from a read-only mount: %q, %v", how, err)
	}
	info, err := os.Stat(filepath.Join(other, "a.rpm"))
	if err != nil || info.Mode() != 0o640 || !info.ModTime().Equal(mtime) || info.Size() != 7 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	if got := files(t, other); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}
