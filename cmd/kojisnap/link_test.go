package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

func TestLinkCommand(t *testing.T) {
	dir := t.TempDir()
	src, to := filepath.Join(dir, "a.rpm"), filepath.Join(dir, "compose")
	write(t, src, "content")
	mkdir(t, to)
	for range 2 {
		if out, errs, code := kojisnapRun(t, "link", "-n", src, to); out != "hardlink "+src+"\n" || errs != "" || code != exit.NotReady {
			t.Errorf("dry run: %d, %q, %q", code, out, errs)
		}
	}
	for _, want := range []string{"hardlink", "present"} {
		if got := kojisnapOK(t, "link", src, to); got != want+" "+src+"\n" {
			t.Errorf("standard output %q, want %s", got, want)
		}
	}
	if got := kojisnapOK(t, "link", "-n", src, to); got != "present "+src+"\n" {
		t.Errorf("dry run with nothing to do: %q", got)
	}
	if got := kojisnapOK(t, "link", "-q", src, to); got != "" {
		t.Errorf("-q prints %q", got)
	}
	var done linkResult
	if err := json.Unmarshal([]byte(kojisnapOK(t, "link", "--json", src, to)), &done); err != nil || !slices.Equal(done.Files, []linked{{src, "present"}}) {
		t.Errorf("%v, %v", done, err)
	}
}

// Each SRC that cannot be had is one line; the others are made. A dry run says the same, and
// leaves DIR as it is.
func TestLinkBadSources(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"one", "two", "to", "a.dir"} {
		mkdir(t, at(d))
	}
	write(t, at("one/a.rpm"), "content")
	write(t, at("two/a.rpm"), "another")
	write(t, at("one/b.rpm"), "same")
	write(t, at("two/b.rpm"), "same")
	write(t, at("one/mine.rpm"), "theirs")
	write(t, at("to/mine.rpm"), "mine")
	write(t, at("one/link.rpm"), "file")
	mkdir(t, at("to/dir.rpm"))
	write(t, at("one/dir.rpm"), "file")
	for link, target := range map[string]string{"dangling.rpm": "nowhere", "loop.rpm": "loop.rpm", "to/link.rpm": "../one/link.rpm"} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("fifo.rpm"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"link", at("a.dir"), at("absent.rpm"), at("dangling.rpm"), at("loop.rpm"), at("fifo.rpm"), at("one/a.rpm"), at("one/a.rpm") + "/", at("two/a.rpm"),
		at("one/mine.rpm"), at("one/link.rpm"), at("one/dir.rpm"), at("one/b.rpm"), at("two/b.rpm"), at("to")}
	wantErrs := strings.ReplaceAll(`kojisnap: open DIR/a.dir: is not a regular file but d---------
kojisnap: open DIR/absent.rpm: no such file or directory
kojisnap: open DIR/dangling.rpm: no such file or directory
kojisnap: open DIR/loop.rpm: too many levels of symbolic links
kojisnap: open DIR/fifo.rpm: is not a regular file but p---------
kojisnap: open DIR/one/a.rpm/: not a directory
kojisnap: link DIR/two/a.rpm to DIR/to/a.rpm: file already exists, with other content
kojisnap: link DIR/one/mine.rpm to DIR/to/mine.rpm: file already exists, with other content
kojisnap: link DIR/one/link.rpm to DIR/to/link.rpm: file already exists, and is not a regular file but L---------
kojisnap: link DIR/one/dir.rpm to DIR/to/dir.rpm: file already exists, and is not a regular file but d---------
`, "DIR", dir)
	wantOut := strings.ReplaceAll("hardlink DIR/one/a.rpm\nhardlink DIR/one/b.rpm\npresent DIR/two/b.rpm\n", "DIR", dir)
	for _, dry := range []bool{true, false} {
		run := args
		if dry {
			run = append([]string{"link", "--dry-run"}, args[1:]...)
		}
		out, errs, code := kojisnapRun(t, run...)
		if out != wantOut || errs != wantErrs || code != exit.Error {
			t.Errorf("dry %v: code %d\n%s%s\nwant\n%s%s", dry, code, out, errs, wantOut, wantErrs)
		}
		want := []string{"a.rpm", "b.rpm", "dir.rpm", "link.rpm", "mine.rpm"}
		if dry {
			want = want[2:]
		}
		if got := names(t, at("to")); !slices.Equal(got, want) {
			t.Errorf("dry %v: %q in DIR, want %q", dry, got, want)
		}
	}
	if b, err := os.ReadFile(at("to/mine.rpm")); string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// A DIR that is missing, a file, read-only or full.
func TestLinkBadTarget(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.rpm"), filepath.Join(dir, "b.rpm")
	write(t, a, strings.Repeat("a", 100<<10))
	write(t, b, "b")
	check := func(code int, out, errs string, args ...string) {
		t.Helper()
		tell := strings.NewReplacer("TMP/", dir+"/")
		gotOut, gotErrs, got := kojisnapRun(t, append([]string{"link"}, args...)...)
		if gotOut != tell.Replace(out) || gotErrs != tell.Replace(errs) || got != code {
			t.Errorf("%q: %d, %q, %q, want %d, %q, %q", args, got, gotOut, gotErrs, code, out, errs)
		}
	}
	check(exit.Error, "", "kojisnap: link: directory TMP/absent: no such file or directory\n", a, filepath.Join(dir, "absent"))
	check(exit.Usage, "", "kojisnap: link: TMP/b.rpm is not a directory\n", a, b)
	check(exit.Usage, "", "kojisnap: link: want SRC… DIR\n", a)
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount(2)")
	}
	ro, full := filepath.Join(dir, "ro"), filepath.Join(dir, "full")
	mountAt(t, ro, "tmpfs", syscall.MS_RDONLY, "")
	for _, dry := range []string{"--dry-run=false", "--dry-run"} {
		check(exit.Error, "", "kojisnap: link TMP/a.rpm to TMP/ro/a.rpm: read-only file system\nkojisnap: link TMP/b.rpm to TMP/ro/b.rpm: read-only file system\n", dry, a, b, ro)
	}
	mountAt(t, full, "tmpfs", 0, "size=64k")
	check(exit.NotReady, "copy TMP/a.rpm\ncopy TMP/b.rpm\n", "", "-n", a, b, full)
	check(exit.Error, "copy TMP/b.rpm\n", "kojisnap: link TMP/a.rpm to TMP/full/a.rpm: no space left on device\n", a, b, full)
	if got := names(t, full); !slices.Equal(got, []string{"b.rpm"}) {
		t.Errorf("%q in DIR", got)
	}
	check(exit.Done, "present TMP/b.rpm\n", "", b, full)

	// Production's mount: EXDEV, though it is the same file system.
	prod, to := filepath.Join(dir, "prod"), filepath.Join(dir, "to")
	mkdir(t, to)
	mountAt(t, prod, "", syscall.MS_BIND, dir)
	if err := syscall.Mount("", prod, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(prod, "a.rpm")
	out := kojisnapOK(t, "link", src, to)
	if how, _, _ := strings.Cut(out, " "); how != "copy" && how != "reflink" {
		t.Errorf("from a read-only mount: %q", out)
	}
	check(exit.Done, "present TMP/prod/a.rpm\n", "", src, to)
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mountAt mounts for the time of the test: a file system of that kind with these options, or
// with MS_BIND the directory.
func mountAt(t *testing.T, target, kind string, flags uintptr, data string) {
	t.Helper()
	mkdir(t, target)
	source := kind
	if flags&syscall.MS_BIND != 0 {
		source, data = data, ""
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(target, syscall.MNT_DETACH) })
}
