package topdir

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMounts(t *testing.T) {
	got, err := parseMounts(strings.NewReader(`22 27 0:21 / /proc rw,relatime shared:7 master:1 - proc proc rw
37 22 0:44 /koji /mnt/a\040b\134c ro,nosuid - nfs4 nfs:/srv/koji rw,vers=4.2
38 22 0:45 / /mnt/d rw - nfs4 nfs:/x\040y ro,vers=3
39 22 0:46 / /mnt/e rw,noatime - tmpfs none rw,size=ro
`))
	want := []Mount{
		{22, "0:21", "/", "/proc", "proc", "proc", false, []string{"rw"}}, {37, "0:44", "/koji", `/mnt/a b\c`, "nfs4", "nfs:/srv/koji", true, []string{"rw", "vers=4.2"}},
		{38, "0:45", "/", "/mnt/d", "nfs4", "nfs:/x y", true, []string{"ro", "vers=3"}}, {39, "0:46", "/", "/mnt/e", "tmpfs", "none", false, []string{"rw", "size=ro"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for _, bad := range []string{"x", "1 2 3 4 5 6 7", "x 27 0:21 / /proc rw - proc proc rw"} {
		if _, err := parseMounts(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// CheckReadOnlyVolume finds out from the real mount table what is mounted as production's tree.
func TestCheckReadOnlyVolume(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount(2)")
	}
	base := t.TempDir()
	mount := func(name, source, kind string, flags uintptr) string {
		t.Helper()
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(source, dir, kind, flags, ""); err != nil {
			t.Skipf("needs the right to mount: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		return dir
	}
	tree := filepath.Join(base, "tree")
	empty := filepath.Join(base, "empty")
	for _, dir := range []string{tree + "/packages", empty} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bound := mount("bound with blank", tree, "", unix.MS_BIND)
	readOnly := mount("ro", tree, "", unix.MS_BIND)
	if err := unix.Mount("", readOnly, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(readOnly, link); err != nil {
		t.Fatal(err)
	}
	hollow := mount("hollow", "kojitest", "tmpfs", 0)
	other := mount("other", "kojitest", "tmpfs", 0)
	if err := os.WriteFile(filepath.Join(other, "packages"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, point string
		readOnly   bool
		err        string
	}{
		{tree, "", false, ""},
		{bound, bound, false, ""},
		{readOnly, readOnly, true, ""},
		{link, readOnly, true, ""},
		{empty, "", false, "nothing is mounted there: it is an empty directory of /"},
		{hollow, hollow, false, "kojitest is mounted there (tmpfs), and is empty"},
		{other, other, false, "is not laid out as Koji's topdir: it has no directory packages (kojitest, tmpfs"},
		{filepath.Join(base, "absent"), "", false, "does not exist"},
	} {
		v, err := CheckReadOnlyVolume(c.dir)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: error %v, want %q", c.dir, err, c.err)
		}
		if v.ReadOnly != c.readOnly || c.point != "" && v.Point != c.point {
			t.Errorf("%s: %+v, want %+v", c.dir, v, c)
		}
	}
}
