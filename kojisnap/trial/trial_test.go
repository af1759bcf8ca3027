package trial_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/trial"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bash are the binary rpms of a build, in a directory that is new.
func bash(t testing.TB) []string {
	t.Helper()
	if _, err := exec.LookPath("createrepo_c"); err != nil {
		t.Skip("needs createrepo_c: package createrepo_c (Fedora, EL) or createrepo-c (Debian, Ubuntu)")
	}
	dir := t.TempDir()
	must(t, kojiprod.ExtractTree(dir))
	rpms, err := filepath.Glob(filepath.Join(dir, "packages/bash/5.3.0/2.fc42/x86_64/*.rpm"))
	must(t, err)
	if len(rpms) != 4 {
		t.Fatalf("%d rpms", len(rpms))
	}
	return rpms
}

func tmpfs(t testing.TB, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount(2)")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs the right to mount: CAP_SYS_ADMIN")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestMake(t *testing.T) {
	rpms := bash(t)
	var size int64
	for _, path := range rpms {
		info, err := os.Stat(path)
		must(t, err)
		size += info.Size()
	}
	for _, test := range []struct {
		name         string
		dir          string
		first, again trial.Repo
	}{
		{"same mount", filepath.Join(filepath.Dir(rpms[0]), "compose"), trial.Repo{RPMs: 4, Linked: 4}, trial.Repo{RPMs: 4, Linked: 4}},
		// A file that is copied is copied once, and linked from then on.
		{"other mount", tmpfs(t, "8m"), trial.Repo{RPMs: 4, Copied: 4, Bytes: size}, trial.Repo{RPMs: 4, Linked: 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The same file twice in a repository is accepted.
			trees := []trial.Tree{{Dir: "f42/x86_64", RPMs: append(rpms[:4:4], rpms[0])}, {Dir: "f42/i386", RPMs: rpms}, {Dir: "f42/empty"}}
			got, err := trial.Make(t.Context(), trial.Options{Dir: test.dir, Trees: trees})
			must(t, err)
			test.first.Dir, test.again.Dir = filepath.Join(test.dir, "f42/x86_64"), filepath.Join(test.dir, "f42/i386")
			if want := []trial.Repo{test.first, test.again, {Dir: filepath.Join(test.dir, "f42/empty")}}; !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			for _, path := range rpms {
				a, err := os.Stat(path)
				must(t, err)
				b, err := os.Lstat(filepath.Join(test.dir, "f42/i386/Packages/b", filepath.Base(path)))
				must(t, err)
				if os.SameFile(a, b) != (test.first.Linked > 0) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || a.Mode() != b.Mode() {
					t.Errorf("%s became %v %v %v", path, b.Size(), b.ModTime(), b.Mode())
				}
			}
		})
	}
}

// Whatever ends a compose ends a trial, with one clear line.
func TestMakeFails(t *testing.T) {
	rpms := bash(t)
	for _, test := range []struct {
		name  string
		setup func(t *testing.T, dir string) (composeDir string, rpms []string)
		is    error
		text  string
	}{
		{"disk full", func(t *testing.T, dir string) (string, []string) { return tmpfs(t, "24k"), rpms }, syscall.ENOSPC, "copy "},
		{"createrepo_c fails", func(t *testing.T, dir string) (string, []string) {
			t.Setenv("PATH", program(t, "echo 'C_CREATEREPOLIB: Critical: no' >&2; exit 1"))
			return dir, rpms
		}, nil, `exit status 1: "C_CREATEREPOLIB: Critical: no"`},
		{"createrepo_c makes nothing", func(t *testing.T, dir string) (string, []string) {
			t.Setenv("PATH", program(t, "exit 0"))
			return dir, rpms
		}, fs.ErrNotExist, "repomd.xml"},
		{"createrepo_c leaves an rpm out", func(t *testing.T, dir string) (string, []string) {
			real, err := exec.LookPath("createrepo_c")
			must(t, err)
			t.Setenv("PATH", program(t, "exec "+real+` -x '*bash-doc*' "$@"`))
			return dir, rpms
		}, nil, "1 of 4 rpms are not in primary.xml: Packages/b/bash-doc-5.3.0-2.fc42.x86_64.rpm first"},
		{"not an rpm", func(t *testing.T, dir string) (string, []string) {
			bad := filepath.Join(t.TempDir(), "bad-1-1.noarch.rpm")
			must(t, os.WriteFile(bad, []byte("no rpm"), 0o644))
			return dir, []string{rpms[0], bad}
		}, nil, "bad-1-1.noarch.rpm"},
		{"symlink", func(t *testing.T, dir string) (string, []string) {
			link := filepath.Join(t.TempDir(), "link-1-1.noarch.rpm")
			must(t, os.Symlink(rpms[0], link))
			return dir, []string{link}
		}, nil, "not a regular file"},
		{"missing", func(t *testing.T, dir string) (string, []string) {
			return dir, []string{filepath.Join(dir, "gone-1-1.noarch.rpm")}
		}, fs.ErrNotExist, "gone-1-1"},
		{"two files of a name", func(t *testing.T, dir string) (string, []string) {
			other := filepath.Join(t.TempDir(), filepath.Base(rpms[0]))
			b, err := os.ReadFile(rpms[0])
			must(t, err)
			must(t, os.WriteFile(other, b, 0o644))
			must(t, os.Chtimes(other, time.Unix(1, 0), time.Unix(1, 0)))
			return dir, []string{rpms[0], other}
		}, nil, "another file of this name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, files := test.setup(t, t.TempDir())
			repos, err := trial.Make(t.Context(), trial.Options{Dir: dir, Trees: []trial.Tree{{Dir: "x", RPMs: files}}})
			if err == nil || len(repos) > 0 || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") ||
				test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, %v; want %q", repos, err, test.text)
			}
		})
	}
}

// Without createrepo_c links are proved all the same.
func TestMakeWithoutCreaterepo(t *testing.T) {
	rpms := bash(t)
	dir := filepath.Join(filepath.Dir(rpms[0]), "compose")
	t.Setenv("PATH", t.TempDir())
	repos, err := trial.Make(t.Context(), trial.Options{Dir: dir, Trees: []trial.Tree{{Dir: "a", RPMs: rpms}, {Dir: "b", RPMs: rpms[:2]}}})
	if !errors.Is(err, trial.ErrNoCreaterepo) || !strings.Contains(err.Error(), "install the package") {
		t.Errorf("error %v", err)
	}
	want := []trial.Repo{{Dir: filepath.Join(dir, "a"), RPMs: 4, Linked: 4}, {Dir: filepath.Join(dir, "b"), RPMs: 2, Linked: 2}}
	if !reflect.DeepEqual(repos, want) || trial.Count(repos) != (trial.Repo{RPMs: 6, Linked: 6}) {
		t.Errorf("got %+v, want %+v", repos, want)
	}
}

// program is a directory with a createrepo_c that runs a shell script.
func program(t testing.TB, script string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "createrepo_c"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return dir
}

func TestCheckDir(t *testing.T) {
	top := t.TempDir()
	vol, full := filepath.Join(top, "vol"), filepath.Join(top, "full")
	must(t, os.MkdirAll(filepath.Join(vol, "staged"), 0o755))
	must(t, os.Mkdir(full, 0o755))
	must(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(top, "empty"), 0o755))
	must(t, os.Symlink(vol, filepath.Join(top, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(top, "dangling")))
	for _, test := range []struct{ dir, err string }{
		{"empty", ""},
		{"new", ""},
		{"new/below/new", ""},
		{"volume", ""}, // begins with vol, but is not in it
		{"full", "is not empty"},
		{"full/file", "not a directory"},
		{"vol", "where Koji keeps its files"},
		{"vol/staged", "where Koji keeps its files"},
		{"vol/new/below", "where Koji keeps its files"},
		{"link/staged", "where Koji keeps its files"},
		{"link/new", "where Koji keeps its files"},
		{"dangling", "leads nowhere"},
	} {
		err := trial.CheckDir(filepath.Join(top, test.dir), vol, filepath.Join(top, "absent"))
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %v, want %q", test.dir, err, test.err)
		}
	}
}

// As another user a process has that user's rights, and has its own again afterwards.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: works as another user")
	}
	u, err := trial.LookupUser("nobody")
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte("x"), 0o600))
	for range 100 {
		err := u.Do(func() error { _, err := os.ReadFile(secret); return err })
		if !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("as nobody: %v", err)
		}
		if _, err := os.ReadFile(secret); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
	}
	var none *trial.User
	must(t, none.Do(func() error { _, err := os.ReadFile(secret); return err }))
	if _, err := trial.LookupUser("no such user"); err == nil {
		t.Error("found a user that does not exist")
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	var own *trial.User
	must(t, own.TestLink(file, dir))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := own.TestLink(file, tmpfs(t, "1m")); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("another mount: %v", err)
	}
}
