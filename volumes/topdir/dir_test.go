package topdir

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

func openTop(t *testing.T) *Dir {
	t.Helper()
	top, err := Open(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	return top
}

// openat2, and the walk for kernels without it, refuse the same paths.
func TestNoDirectoryIsReachedThroughASymlink(t *testing.T) {
	top := openTop(t)
	if err := top.Mkdir("a/b/c"); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	for link, target := range map[string]string{"a/out": outside, "a/up": "..", "a/b/d": "c", "loop": "loop"} {
		if err := os.Symlink(target, top.Join(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(top.Join("a/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(string, int) (int, error){"openat2": top.openDir, "walk": func(rel string, flags int) (int, error) { return walk(top.fd, rel, flags) }}
	for name, open := range ways {
		flags := unix.O_PATH
		if name == "walk" {
			flags |= unix.O_DIRECTORY | unix.O_CLOEXEC
		}
		for _, dir := range []string{".", "a", "a/b/c"} {
			fd, err := open(dir, flags)
			if err != nil {
				t.Errorf("%s %q: %v", name, dir, err)
				continue
			}
			unix.Close(fd)
		}
		for _, dir := range []string{"a/out", "a/up", "a/b/d", "a/up/a", "loop", "..", "a/../../x", "/", "a/file", "absent"} {
			fd, err := open(dir, flags)
			if err == nil {
				unix.Close(fd)
				t.Errorf("%s %q: was opened", name, dir)
			}
			if dir == "absent" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %q: %v, want fs.ErrNotExist", name, dir, err)
			}
		}
	}
	for op, err := range map[string]error{
		"mkdir":   top.Mkdir("a/out/x"),
		"symlink": top.Symlink("x", "a/out/x"),
		"rename":  top.Rename("a/file", "a/out/x"),
		"remove":  top.Remove("a/up/a/file"),
	} {
		if err == nil || !strings.Contains(err.Error(), "symlink is in the way") {
			t.Errorf("%s: %v", op, err)
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("written outside: %v, %v", list, err)
	}
	if err := top.RemoveAll("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("removed through a symlink: %v", err)
	}
	if err := top.RemoveAll("a"); err != nil {
		t.Errorf("absent: %v", err)
	}
}

func TestRenameNeverReplacesADirectory(t *testing.T) {
	top := openTop(t)
	if err := top.Mkdir("dir/full"); err != nil {
		t.Fatal(err)
	}
	if err := top.Symlink("x", "link"); err != nil {
		t.Fatal(err)
	}
	if err := top.Rename("link", "dir"); err == nil {
		t.Error("a directory was replaced")
	}
	if err := top.Symlink("y", "other"); err != nil {
		t.Fatal(err)
	}
	if err := top.RenameNew("link", "other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if err := top.Rename("link", "other"); err != nil {
		t.Error(err)
	}
	if target, err := top.Readlink("other"); target != "x" || err != nil {
		t.Errorf("-> %q, %v", target, err)
	}
}

func TestEnsureLink(t *testing.T) {
	top := openTop(t)
	ours := func(target string) bool { return strings.HasPrefix(target, "ours") }
	if err := top.Mkdir("p/real"); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"p/right": "want", "p/old": "ours", "p/foreign": "theirs"} {
		if err := os.Symlink(target, top.Join(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]struct {
		outcome Outcome
		says    string
	}{
		"p/right": {Unchanged, "want"}, "p/old": {Switch, "want"}, "p/foreign": {Keep, "theirs"},
		"p/real": {Keep, ""}, "new/n/v/r": {Make, "want"},
	} {
		got, err := top.EnsureLink(volumes.Link{Path: path, Target: "want"}, "temp", ours)
		if got != want.outcome || err != nil {
			t.Errorf("%s: %v, %v, want %v", path, got, err, want.outcome)
		}
		if says, _ := top.Readlink(path); says != want.says {
			t.Errorf("%s -> %q, want %q", path, says, want.says)
		}
		if _, err := top.Lstat("temp"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the temporary name is left", path)
		}
	}
}

// EnsureCopyVolume makes the volume as Koji's addVolume does.
func TestEnsureCopyVolume(t *testing.T) {
	top := openTop(t)
	for range 2 {
		if err := EnsureCopyVolume(top, "staged"); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := top.Lstat("vol/staged/packages"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("packages: %v", err)
	}
	is, err := os.Stat(top.Join("vol/staged/toplink"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(top.Path())
	if err != nil || !os.SameFile(is, want) {
		t.Errorf("toplink does not lead to topdir: %v", err)
	}
}
