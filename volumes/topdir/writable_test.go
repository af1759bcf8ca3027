package topdir

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHubUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown(2)")
	}
	top := openTop(t)
	if err := os.Chown(top.Path(), 7, 8); err != nil {
		t.Fatal(err)
	}
	if o, err := top.HubUser(); o != (Owner{7, 8}) || err != nil {
		t.Errorf("topdir: %v, %v", o, err)
	}
	if err := os.Mkdir(top.Join("work"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(top.Join("work"), 48, 49); err != nil {
		t.Fatal(err)
	}
	if o, err := top.HubUser(); o != (Owner{48, 49}) || err != nil {
		t.Errorf("work: %v, %v", o, err)
	}
}

func TestWriter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown(2), mount(2)")
	}
	tree := t.TempDir()
	dir := func(name string, uid, gid int, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(tree, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	apache, root := NewWriter(Owner{4848, 4849}), NewWriter(Owner{0, 0})
	for _, c := range []struct {
		dir          string
		apache, root bool
	}{
		{dir("own", 4848, 0, 0o755), true, true},
		{dir("own, not writable", 4848, 4849, 0o577), false, true}, // for the owner only the owner's bits count
		{dir("group", 0, 4849, 0o775), true, true},
		{dir("group, not writable", 0, 4849, 0o757), false, true},
		{dir("others", 0, 0, 0o757), true, true},
		{dir("root's", 0, 0, 0o755), false, true},
	} {
		for w, want := range map[*Writer]bool{apache: c.apache, root: c.root} {
			if got, err := w.Could(c.dir); got != want || err != nil {
				t.Errorf("%s, user %v: %v, %v; want %v", c.dir, w.Owner, got, err, want)
			}
		}
	}
	// An access list that names the user, see acl(5), version 2: u::rwx u:4848:rwx g::r-x m::rwx o::r-x.
	listed := dir("listed", 0, 0, 0o755)
	acl := []byte{2, 0, 0, 0,
		1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xf0, 0x12, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255}
	if err := unix.Setxattr(listed, "system.posix_acl_access", acl, 0); err != nil {
		t.Logf("no access lists here: %v", err)
	} else if got, err := apache.Could(listed); !got || err != nil {
		t.Errorf("an access list: %v, %v", got, err)
	}
	ro := filepath.Join(t.TempDir(), "ro")
	if err := os.Mkdir(ro, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(tree, ro, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(ro, unix.MNT_DETACH) })
	if err := unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*Writer{apache, root} {
		if got, err := w.Could(filepath.Join(ro, "own")); got || err != nil {
			t.Errorf("a read-only mount, user %v: %v, %v", w.Owner, got, err)
		}
	}
	if _, err := apache.Could(filepath.Join(tree, "absent")); err == nil {
		t.Error("an absent directory")
	}
}
