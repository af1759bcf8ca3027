package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/volumes/topdir"
)

// If an owner and a mode are configured later, existing files get them, too. Files that share production's
// inode become copies. Then nothing is left to do.
func TestOwnerLater(t *testing.T) {
	needRoot(t)
	s := onlyBash(t)
	before := snapshot(t, s.prod)
	s.mustCopy(t)
	attributes := func(o *hardlink.Options) { o.Attributes = topdir.Attributes{Owner: &someone, Mode: 0o664} }
	for range 2 {
		s.mustCopy(t, attributes)
		s.owned(t, 0o664, 0o775)
	}
	for _, options := range []func(*hardlink.Options){attributes, func(o *hardlink.Options) { attributes(o); audit(o) }, audit} {
		if a := s.diff(t, options); a.Pending() {
			t.Errorf("left to do: %+v", a)
		}
	}
	if snapshot(t, s.prod) != before {
		t.Error("production's tree changed")
	}
}

// An audit reports and corrects owners and modes that somebody changed, even if none are configured.
func TestAuditOwners(t *testing.T) {
	needRoot(t)
	for name, attributes := range map[string]topdir.Attributes{"none": {}, "given": {Owner: &someone, Mode: 0o640}} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			ro := filepath.Join(t.TempDir(), "ro") // another mount, so that no file shares production's inode
			bindReadOnly(t, s.prod, ro)
			options := func(o *hardlink.Options) { o.ReadOnly, o.Attributes = ro, attributes }
			s.mustCopy(t, options)
			rpm := filepath.Join(s.top, "vol/staged", bashDir, bashRPM)
			was := stat(t, rpm)
			must(t, os.Chown(rpm, 7, 7))
			must(t, os.Chmod(rpm, 0o600))
			dir := filepath.Dir(rpm)
			must(t, os.Chmod(dir, 0o700))
			for _, change := range []func(o *hardlink.Options){func(o *hardlink.Options) { options(o); audit(o) }, func(o *hardlink.Options) { o.ReadOnly = ro; audit(o) }} {
				a := s.diff(t, change)
				if len(a.Own) != 2 || !a.Pending() {
					t.Errorf("found %v", a.Own)
				}
			}
			if r := s.mustCopy(t, options, audit); r.Owned != 2 {
				t.Errorf("report %+v", r)
			}
			now, st := stat(t, rpm), func(i os.FileInfo) *syscall.Stat_t { return i.Sys().(*syscall.Stat_t) }
			if now.Mode() != was.Mode() || st(now).Uid != st(was).Uid || stat(t, dir).Mode().Perm() == 0o700 {
				t.Errorf("%v %d, was %v %d", now.Mode(), st(now).Uid, was.Mode(), st(was).Uid)
			}
		})
	}
}

// A default access list of topdir restricts directories no more than files.
func TestDefaultACL(t *testing.T) {
	s := onlyBash(t)
	// user::rwx group::--- other::---
	list := []byte{2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Setxattr(s.top, "system.posix_acl_default", list, 0); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("the file system has no access lists")
		}
		t.Fatal(err)
	}
	s.mustCopy(t)
	for _, dir := range []string{"vol/staged", "vol/staged/" + bashDir, filepath.Dir(bashDir), "packages", filepath.Join("vol/staged", bashDir, filepath.Dir(bashRPM))} {
		if info := stat(t, filepath.Join(s.top, dir)); info.Mode().Perm() != 0o755 {
			t.Errorf("%s: mode %v", dir, info.Mode())
		}
	}
	if info := stat(t, filepath.Join(s.top, "vol/staged", bashDir, bashRPM)); info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
}
