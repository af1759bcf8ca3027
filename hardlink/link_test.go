package hardlink_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
		if how, err := link(t, filepath.Join(src, c.name), dir); how != c.want || err != nil {
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
	if _, err := link(t, filepath.Join(src, "c.rpm"), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if got := string(mustRead(t, filepath.Join(dir, "c.rpm"))); got != "mine" {
		t.Errorf("another file was replaced: %q", got)
	}

	ro, other := filepath.Join(root, "ro"), filepath.Join(root, "other")
	bindReadOnly(t, src, ro)
	must(t, os.Mkdir(other, 0o755))
	duplicated := func(how hardlink.Op) bool { return how == hardlink.OpCopy || how == hardlink.OpReflink }
	if how := dryLink(t, filepath.Join(ro, "a.rpm"), other); !duplicated(how) {
		t.Errorf("dry run from a read-only mount: %q", how)
	}
	if how, err := link(t, filepath.Join(ro, "a.rpm"), other); err != nil || !duplicated(how) {
		t.Errorf("from a read-only mount: %q, %v", how, err)
	}
	info, err := os.Stat(filepath.Join(other, "a.rpm"))
	if err != nil || info.Mode() != 0o640 || !info.ModTime().Equal(mtime) || info.Size() != 7 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	// The copy counts like the link.
	if how, err := link(t, filepath.Join(ro, "a.rpm"), other); how != hardlink.OpPresent || err != nil {
		t.Errorf("again: %q, %v", how, err)
	}
	if how := dryLink(t, filepath.Join(ro, "a.rpm"), other); how != hardlink.OpPresent {
		t.Errorf("a dry run after the copy: %q", how)
	}
	damage(t, filepath.Join(other, "a.rpm"), flip(-1))
	if _, err := link(t, filepath.Join(ro, "a.rpm"), other); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if got := files(t, other); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

func link(t testing.TB, src, dir string) (hardlink.Op, error) {
	l := hardlink.Linker{Dir: dir}
	return l.Link(t.Context(), src)
}

func dryLink(t testing.TB, src, dir string) hardlink.Op {
	t.Helper()
	l := hardlink.Linker{Dir: dir, DryRun: true}
	how, err := l.Link(t.Context(), src)
	must(t, err)
	return how
}

// A full target or a source that is being written gives an error, and nothing is left behind.
func TestLinkToFullDisk(t *testing.T) {
	src, dir := filepath.Join(t.TempDir(), "a.rpm"), filepath.Join(t.TempDir(), "full")
	must(t, os.WriteFile(src, make([]byte, 300<<10), 0o644))
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=256k")
	_, err := link(t, src, dir)
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), ".kojisnap-link") {
		t.Errorf("error %v, want one of %v without the temporary name", err, syscall.ENOSPC)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"))
	if how, err := link(t, src, dir); how != hardlink.OpCopy || err != nil {
		t.Errorf("%q, %v", how, err)
	}
}

// until is a context that calls a function after a number of questions whether it is done. If the function
// says so, the context is canceled.
type until struct {
	context.Context
	asked int
	do    func() error
}

func (u *until) Err() error {
	if u.asked--; u.asked >= 0 {
		return nil
	}
	return u.do()
}

// A copy is interrupted by a cancellation, or by a source that grows, shrinks or is overwritten.
func TestLinkInterrupted(t *testing.T) {
	const size = 40 << 20 // several parts
	for name, c := range map[string]struct {
		do   func(src string) error
		want string
	}{
		"cancelled": {func(string) error { return context.Canceled }, "context canceled"},
		"grows":     {func(src string) error { os.Truncate(src, size+1); return nil }, "it changed while it was read"},
		"shrinks":   {func(src string) error { os.Truncate(src, size/2+1); return nil }, "it changed while it was read"},
		"rewritten": {func(src string) error { os.Chtimes(src, time.Now(), time.Now()); return nil }, "it changed while it was read"},
	} {
		t.Run(name, func(t *testing.T) {
			src, dir := filepath.Join(t.TempDir(), "a.rpm"), filepath.Join(t.TempDir(), "dir")
			must(t, os.WriteFile(src, nil, 0o644))
			must(t, os.Truncate(src, size))
			must(t, os.Chtimes(src, time.Unix(1600000000, 0), time.Unix(1600000000, 0)))
			mount(t, "tmpfs", dir, "tmpfs", 0, "size=64m")
			during := -1 // no question was asked while copying
			ctx := &until{Context: t.Context(), asked: 2, do: func() error {
				during = len(files(t, dir))
				return c.do(src)
			}}
			l := hardlink.Linker{Dir: dir}
			_, err := l.Link(ctx, src)
			if err == nil || !strings.Contains(err.Error(), src) || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("error %v, want one that ends in %q", err, c.want)
			}
			if got := files(t, dir); len(got) != 0 || during != 0 {
				t.Errorf("files %q; %d while it was copied", got, during)
			}
		})
	}
}

// Where files need names, as on NFS, only a kill leaves one behind, and nothing is replaced.
func TestLinkByTemporaryName(t *testing.T) {
	dir := t.TempDir()
	make := func(to string) error {
		t.Helper()
		f, name, err := hardlink.Named(dir)
		must(t, err)
		defer f.Close()
		defer name("")
		if n := len(files(t, dir)); n == 0 {
			t.Error("no temporary name")
		}
		if to == "" {
			return nil
		}
		return name(to)
	}
	must(t, make(""))
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	must(t, make(filepath.Join(dir, "a.rpm")))
	if err := make(filepath.Join(dir, "a.rpm")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if got := files(t, dir); len(got) != 1 || filepath.Base(got[0]) != "a.rpm" {
		t.Errorf("files %q", got)
	}
}
