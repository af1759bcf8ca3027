package hardlink_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/seedtest"
)

// In these tests the kernel itself returns the errors of the table in the package's comment.

// moveTo moves both trees to another file system.
func (s *site) moveTo(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", s.prod, dir+"/prod").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.prod, s.top = dir+"/prod", dir+"/koji"
	must(t, os.Mkdir(s.top, 0o755))
}

// someWayElse checks a copy in which one file could not be linked.
func (s *site) someWayElse(t *testing.T) {
	t.Helper()
	r := s.mustCopy(t)
	if n := s.check(t); r.Linked != n-1 || r.Copied+r.Reflinked != 1 {
		t.Errorf("report %+v, want one of %d files copied", r, n)
	}
}

// EMLINK: an inode of ext4 can have 65,000 links.
func TestTooManyLinks(t *testing.T) {
	s := onlyBash(t)
	s.moveTo(t, loopMount(t, "ext4", 128<<20))
	rpm := filepath.Join(s.prod, bashDir, bashRPM)
	links := filepath.Join(filepath.Dir(s.prod), "links")
	must(t, os.Mkdir(links, 0o755))
	var err error
	for n := 0; err == nil; n++ {
		err = unix.Link(rpm, fmt.Sprintf("%s/%d", links, n))
	}
	if err != unix.EMLINK {
		t.Fatalf("link(2): %v, want EMLINK", err)
	}
	s.someWayElse(t)
	if how, err := link(t, rpm, s.top); how != hardlink.OpCopy || err != nil {
		t.Errorf("kojisnap link: %q, %v", how, err)
	}
}

// EPERM: an immutable file gets no further links.
func TestImmutable(t *testing.T) {
	s := onlyBash(t)
	rpm := filepath.Join(s.prod, bashDir, bashRPM)
	damage(t, rpm, func(b []byte) []byte { return b }) // an inode of its own
	f, err := os.Open(rpm)
	must(t, err)
	defer f.Close()
	const immutable = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|immutable))
	}
	if err != nil {
		t.Skipf("needs: root, and a file system with immutable files: %v", err)
	}
	defer unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags))
	if err := os.Link(rpm, filepath.Join(s.top, "x")); !errors.Is(err, unix.EPERM) {
		t.Fatalf("link(2): %v, want EPERM", err)
	}
	s.someWayElse(t)
	if how, err := link(t, rpm, s.top); how != hardlink.OpCopy && how != hardlink.OpReflink || err != nil {
		t.Errorf("kojisnap link: %q, %v", how, err)
	}
}

// EPERM by fs.protected_hardlinks: a user who neither owns a file nor may write it cannot link it.
func TestProtectedHardlinks(t *testing.T) {
	if b, err := os.ReadFile("/proc/sys/fs/protected_hardlinks"); err != nil || string(b) != "1\n" || os.Geteuid() != 0 {
		t.Skipf("needs: root, and the sysctl fs.protected_hardlinks=1, which is %q, %v", b, err)
	}
	const nobody = 65534
	s := onlyBash(t)
	must(t, os.Chown(s.top, nobody, nobody))
	for _, dir := range []string{s.prod, s.top} {
		must(t, os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755)) // the test's own directory
	}
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		return cmd
	}
	if out, err := as("ln", filepath.Join(s.prod, bashDir, bashRPM), filepath.Join(s.top, "x")).CombinedOutput(); !strings.Contains(string(out), "not permitted") {
		t.Fatalf("ln: %v: %s, want EPERM", err, out)
	}
	cmd := as("/proc/self/exe") // only root can reach the directory of the test's binary
	job{Options: hardlink.Options{Topdir: s.top, ReadOnly: s.prod, WritableSource: true}, Plan: s.plan(t), Bench: true}.tell(t, cmd)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var result benchResult
	must(t, json.Unmarshal(out, &result))
	if n := s.check(t); result.Report.Linked != 0 || result.Report.Copied+result.Report.Reflinked != n {
		t.Errorf("report %+v, want %d copied", result.Report, n)
	}
}

// EROFS: topdir becomes read-only after the check.
func TestReadOnlyMeanwhile(t *testing.T) {
	s := onlyBash(t)
	mount(t, s.top, s.top, "", unix.MS_BIND, "")
	e := s.engine(t)
	a, err := e.Diff(t.Context(), s.plan(t))
	must(t, err)
	must(t, unix.Mount("", s.top, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if _, err := e.Apply(t.Context(), a); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), s.top) {
		t.Errorf("error %v, want one of %v", err, unix.EROFS)
	}
	must(t, unix.Mount("", s.top, "", unix.MS_BIND|unix.MS_REMOUNT, ""))
	if got := files(t, s.top); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	s.mustCopy(t)
	s.check(t)
}

// EDQUOT: a quota of btrfs, which also limits root.
func TestQuota(t *testing.T) {
	disk := loopMount(t, "btrfs", 512<<20)
	s := newSite(t)
	s.top = filepath.Join(disk, "koji")
	btrfs := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("btrfs", args...).CombinedOutput(); err != nil {
			t.Skipf("needs: btrfs %q: %v: %s", args, err, out)
		}
	}
	btrfs("subvolume", "create", s.top)
	btrfs("quota", "enable", disk)
	btrfs("qgroup", "limit", "1M", s.top)
	_, err := s.copy(t)
	var space *hardlink.SpaceError
	if !errors.As(err, &space) {
		t.Fatalf("error %v, want a SpaceError", err)
	}
	if space.Free < 2*space.Need {
		t.Errorf("%v: it was the disk, not the quota", err)
	}
	s.wholeOrAbsent(t)
	btrfs("qgroup", "limit", "none", s.top)
	s.mustCopy(t)
	s.check(t)
}

// EIO: the disk fails during a copy (ext4 is shut down, and what is in memory is lost). Afterwards each build
// is whole or absent.
func TestDiskGone(t *testing.T) {
	for _, after := range seedtest.Some([]int32{3, 40, 150}, 2) {
		s := newSite(t)
		s.top = loopMount(t, "ext4", 128<<20)
		device, err := exec.Command("findmnt", "-no", "SOURCE", s.top).Output()
		must(t, err)
		shutdown := func() {
			f, err := os.Open(s.top)
			if err == nil {
				defer f.Close()
				const ioctl, noLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
				err = unix.IoctlSetPointerInt(int(f.Fd()), ioctl, noLogFlush)
			}
			if err != nil {
				t.Error(err)
			}
		}
		t.Run(fmt.Sprint("after ", after), func(t *testing.T) {
			_, err := s.copy(t, func(o *hardlink.Options) {
				o.Jobs, o.BatchFiles, o.Progress = 1, 10, &canceller{after: after, cancel: shutdown}
			})
			if !errors.Is(err, unix.EIO) {
				t.Errorf("error %v, want %v", err, unix.EIO)
			}
		})
		must(t, unix.Unmount(s.top, 0))
		must(t, unix.Mount(strings.TrimSpace(string(device)), s.top, "ext4", 0, ""))
		s.wholeOrTemp(t)
		s.mustCopy(t)
		s.check(t)
	}
}

// A file of the source is truncated, overwritten or replaced while it is read, linked or copied: what is
// published is as the database says, or nothing is.
func TestSourceChangesWhileRead(t *testing.T) {
	write := func(t *testing.T, path string, at int64, b byte) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte{b}, at)
		must(t, err)
	}
	replace := func(t *testing.T, path string, change func([]byte) []byte) {
		b := change(mustRead(t, path))
		must(t, os.WriteFile(path+".new", b, 0o644))
		must(t, os.Rename(path+".new", path))
	}
	const at = 4500 // bytes have been read by then
	cases := map[string]struct {
		change         func(t *testing.T, path string)
		byLink, byCopy string // What of the DigestError; "": the file is copied
	}{
		"truncated": {func(t *testing.T, path string) { must(t, os.Truncate(path, at+500)) }, "size", "size"},
		"emptied":   {func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, "format", "format"},
		// A link is opened again and found damaged; a copy has got the good bytes already.
		"written behind the reader": {func(t *testing.T, path string) { write(t, path, 0, 0) }, "format", ""},
		"written before the reader": {func(t *testing.T, path string) { write(t, path, at+500, 0xaa) }, "sigmd5", "sigmd5"},
		"written as it was":         {func(t *testing.T, path string) { write(t, path, 0, 0xed) }, "", ""},
		"replaced by another":       {func(t *testing.T, path string) { replace(t, path, flip(-1)) }, "", ""},
		"replaced by the same":      {func(t *testing.T, path string) { replace(t, path, func(b []byte) []byte { return b }) }, "", ""},
		"removed":                   {func(t *testing.T, path string) { must(t, os.Remove(path)) }, "", ""},
	}
	good, err := extracted()
	must(t, err)
	for name, c := range cases {
		for _, way := range []string{"link", "copy"} {
			t.Run(name+", "+way, func(t *testing.T) {
				s := onlyBash(t)
				s.want.SigKeys = []string{""}
				want := c.byLink
				if way == "copy" {
					mount(t, "tmpfs", s.top, "tmpfs", 0, "size=16m")
					want = c.byCopy
				}
				path := filepath.Join(s.prod, bashDir, bashRPM)
				damage(t, path, func(b []byte) []byte { return b }) // an inode of its own
				e := s.engine(t)
				a, err := e.Diff(t.Context(), s.plan(t))
				must(t, err)
				times := 0
				e.WhileRead(bashRPM, at, func() {
					if times++; times == 1 {
						c.change(t, path)
					}
				})
				_, err = e.Apply(t.Context(), a)
				have := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
				if times == 0 {
					t.Error("the file was not read")
				}
				if want == "" {
					must(t, err)
					if sum(t, have) != sum(t, filepath.Join(good, bashDir, bashRPM)) {
						t.Errorf("%s is not as the database says", have)
					}
					return
				}
				var digest *content.DigestError
				if !errors.As(err, &digest) || digest.What != want || digest.Path != path {
					t.Errorf("error %v, want a DigestError about the %s of %s", err, want, path)
				}
				if _, err := os.Lstat(have); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it is there: %v", err)
				}
				s.staysOnProd(t, bashDir)
			})
		}
	}
}
