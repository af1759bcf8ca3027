package hardlink_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
)

// mount mounts something for the duration of the test. If it cannot, it skips the test.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount(2)")
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs the right to mount: CAP_SYS_ADMIN")
		}
		t.Fatalf("mount %s: %v", target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

// bindReadOnly mounts a directory read-only at another place, like production's.
func bindReadOnly(t testing.TB, source, target string) {
	t.Helper()
	mount(t, source, target, "", unix.MS_BIND, "")
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// loopMount makes a file system in a sparse file below TMPDIR and mounts it for the duration of the test. If
// it cannot, it skips the test.
func loopMount(t testing.TB, kind string, size int64) string {
	t.Helper()
	mkfs := map[string][]string{
		"ext4":  {"mkfs.ext4", "-q"},
		"xfs":   {"mkfs.xfs", "-q", "-m", "reflink=1"},
		"btrfs": {"mkfs.btrfs", "-q"},
	}[kind]
	if os.Geteuid() != 0 {
		t.Skip("needs: root, to mount")
	}
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skipf("needs: %v", err)
	}
	image, target := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(size)
		f.Close()
	}
	if err == nil {
		err = os.Mkdir(target, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Skipf("needs: %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	command(append(mkfs, image)...)
	loop := command("losetup", "--find", "--show", "--direct-io=on", image)
	t.Cleanup(func() { exec.Command("losetup", "-d", loop).Run() })
	command("mount", "-t", kind, "-o", "discard", loop, target)
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
	return target
}

// On a bind mount of the same file system link(2) says EXDEV, so files are copied.
func TestReadOnlyBindMount(t *testing.T) {
	s := newSite(t)
	ro := filepath.Join(t.TempDir(), "ro")
	bindReadOnly(t, s.prod, ro)
	if err := os.WriteFile(filepath.Join(ro, "x"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("the mount is not read-only: %v", err)
	}
	if err := os.Link(filepath.Join(ro, someRPM), filepath.Join(s.top, "x")); !errors.Is(err, syscall.EXDEV) {
		t.Fatalf("link(2) from the mount: %v, want EXDEV", err)
	}
	r := s.mustCopy(t, func(o *hardlink.Options) { o.ReadOnly = ro })
	n := s.check(t)
	if r.Linked != 0 || r.Copied+r.Reflinked != n {
		t.Errorf("report %+v, want %d copied", r, n)
	}
	// Pungi makes hard links from topdir into a compose directory below it.
	compose := filepath.Join(s.top, "compose")
	if err := os.Mkdir(compose, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(s.top, "vol/staged", someRPM), filepath.Join(compose, "bash.rpm")); err != nil {
		t.Error(err)
	}
}

const someRPM = "packages/bash/5.3.0/2.fc42/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"

// Files are copied from another file system, with production mounted at vol/prod itself.
func TestOtherFileSystem(t *testing.T) {
	s := newSite(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=64m")
	bindReadOnly(t, s.prod, filepath.Join(s.top, "vol/prod"))
	r := s.mustCopy(t, func(o *hardlink.Options) { o.ReadOnly = filepath.Join(s.top, "vol/prod") })
	if n := s.check(t); r.Linked != 0 || r.Copied != n {
		t.Errorf("report %+v, want %d copied", r, n)
	}
	if info, err := os.Lstat(filepath.Join(s.top, "vol/prod")); err != nil || !info.IsDir() {
		t.Errorf("vol/prod: %v, %v", info, err)
	}
}

// A disk that is too small is found before the copy, or while it runs.
func TestFullDisk(t *testing.T) {
	s := newSite(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=3m")
	_, err := s.copy(t)
	var space *hardlink.SpaceError
	if !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("error %v, want a SpaceError", err)
	}
	if !strings.Contains(err.Error(), "is full: need ") {
		t.Errorf("error %q", err)
	}
	if got := files(t, filepath.Join(s.top, "vol")); len(got) != 0 {
		t.Errorf("files %q after a refusal", got)
	}
	// There are few blocks: many small files need more blocks than their bytes show.
	if err := unix.Mount("", s.top, "", unix.MS_REMOUNT, "size=7m,nr_inodes=800"); err != nil {
		t.Fatal(err)
	}
	_, err = s.copy(t)
	if !errors.As(err, &space) {
		t.Fatalf("error %v, want a SpaceError", err)
	}
	s.wholeOrAbsent(t)
	if err := unix.Mount("", s.top, "", unix.MS_REMOUNT, "size=64m,nr_inodes=100000"); err != nil {
		t.Fatal(err)
	}
	s.mustCopy(t)
	s.check(t)
}

// wholeOrAbsent checks that each build has all of its files or does not exist, and that no temporary file is
// left.
func (s *site) wholeOrAbsent(t *testing.T) (whole int) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(s.top, "vol/staged/.kojisnap-tmp")); err == nil {
		t.Error("temporary files are left")
	}
	return s.wholeOrTemp(t)
}

// wholeOrTemp is wholeOrAbsent after a kill: temporary files may be left.
func (s *site) wholeOrTemp(t *testing.T) (whole int) {
	t.Helper()
	for _, b := range s.plan(t).Staged {
		src := s.prodDir(t, b.Build)
		b.Build.Volume = "staged"
		dst := filepath.Join(s.top, dir(t, b.Build))
		if _, err := os.Lstat(dst); err != nil {
			continue
		}
		whole++
		for _, f := range b.Files {
			if sum(t, filepath.Join(dst, f.Path)) != sum(t, filepath.Join(src, f.Path)) {
				t.Errorf("%s: %s is not whole", b.Build.NVR(), f.Path)
			}
		}
	}
	return whole
}

func TestTopdirRefused(t *testing.T) {
	s := newSite(t, "bash")
	bind := filepath.Join(t.TempDir(), "again")
	bindReadOnly(t, s.prod, bind)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(s.prod, "repos"), link); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s.prod)
	for name, c := range map[string]struct{ top, ro, want string }{
		"missing":               {filepath.Join(s.top, "absent"), s.prod, "absent: does not exist"},
		"a file":                {file, s.prod, "is not a directory"},
		"none":                  {"", s.prod, "no topdir given"},
		"the volume itself":     {s.prod, s.prod, "is the read-only volume"},
		"below it":              {filepath.Join(s.prod, "repos"), s.prod, "is below the read-only volume"},
		"below it by a symlink": {link, s.prod, "is below the read-only volume"},
		"by another mount":      {s.prod, bind, "is the read-only volume"},
		"a read-only mount":     {bind, "", "is on a read-only mount"},
		"volume missing":        {s.top, filepath.Join(s.top, "absent"), "read-only volume"},
		"volume not mounted":    {s.top, empty, "is production's volume mounted?"},
	} {
		opts := hardlink.Options{Topdir: c.top, ReadOnly: c.ro, WritableSource: true}
		if c.ro == "" {
			opts.Sources = []string{s.prod}
		}
		e, err := hardlink.New(opts)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if snapshot(t, s.prod) != before || len(files(t, s.top)) != 0 {
		t.Error("something was written")
	}
}

// Symlinks and mounts in topdir lead into the read-only volume. Nothing is written through them.
func TestNothingIsWrittenThroughSymlinks(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *site){
		"vol/staged": func(t *testing.T, s *site) {
			mustSymlink(t, s.prod, filepath.Join(s.top, "vol/staged"))
		},
		"packages": func(t *testing.T, s *site) {
			mustSymlink(t, filepath.Join(s.prod, "packages"), filepath.Join(s.top, "packages"))
		},
		"a package": func(t *testing.T, s *site) {
			mustSymlink(t, filepath.Join(s.prod, "repos"), filepath.Join(s.top, "vol/staged/packages/bash"))
		},
		"the ledger's directory": func(t *testing.T, s *site) {
			mustSymlink(t, s.prod, filepath.Join(s.top, ".kojisnap"))
		},
		"temporary files": func(t *testing.T, s *site) {
			mustSymlink(t, s.prod, filepath.Join(s.top, "vol/staged/.kojisnap-tmp"))
		},
		"a mount at vol/staged": func(t *testing.T, s *site) {
			mount(t, s.prod, filepath.Join(s.top, "vol/staged"), "", unix.MS_BIND, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "bash", "nginx")
			prepare(t, s)
			before := snapshot(t, s.prod)
			r, err := s.copy(t)
			if err == nil && name != "temporary files" {
				t.Errorf("no error; report %+v", r)
			}
			if err != nil && !strings.Contains(err.Error(), "in the way") && !strings.Contains(err.Error(), "nothing is written through a symlink") && !strings.Contains(err.Error(), "is the one of the read-only volume") {
				t.Errorf("error %v", err)
			}
			if snapshot(t, s.prod) != before {
				t.Error("production's tree changed")
			}
		})
	}
}

func mustSymlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
