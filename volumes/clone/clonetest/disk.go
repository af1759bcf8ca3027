// Package clonetest gives tests of clones real file systems, and holds providers to their contract.
package clonetest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Need skips a test that lacks something that can be installed, or fails it where KOJISNAP_TEST_ALL is set. What only
// the machine can give, such as root and the right to mount, is skipped everywhere.
func Need(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatalf("needs: "+format, args...)
	}
	t.Skipf("needs: "+format, args...)
}

// Disk makes a file system (xfs, btrfs, ext4) in a sparse file, and mounts it for the time of the test. What the test
// mounts below it is unmounted, too.
func Disk(t testing.TB, kind string, size int64) string {
	t.Helper()
	mkfs := map[string][]string{
		"xfs": {"mkfs.xfs", "-q", "-m", "reflink=1"}, "btrfs": {"mkfs.btrfs", "-q"}, "ext4": {"mkfs.ext4", "-q"},
	}[kind]
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		Need(t, "%v: package xfsprogs, btrfs-progs or e2fsprogs", err)
	}
	image, target := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(image)
	must(t, err)
	must(t, f.Truncate(size&^(1<<20-1)))
	must(t, f.Close())
	must(t, os.Mkdir(target, 0o755))
	command(t, append(mkfs, image)...)
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("needs a loop device: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", loop).Run() })
	if out, err := exec.Command("mount", "-t", kind, loop, target).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount %s: %v: %s", kind, err, out)
	}
	t.Cleanup(func() { UnmountAll(t, target) })
	return target
}

// UnmountAll unmounts what is mounted at and below a directory.
func UnmountAll(t testing.TB, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if point := strings.Fields(lines[i])[4]; point == dir || strings.HasPrefix(point, dir+"/") {
			if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", point, err)
			}
		}
	}
}

// ReadOnly mounts a directory read-only at another place for the time of the test, as production's tree is.
func ReadOnly(t testing.TB, dir string) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "ro")
	must(t, os.Mkdir(target, 0o755))
	must(t, unix.Mount(dir, target, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
	must(t, unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	return target
}

// Tree makes a tree as production's in a directory, with so many rpms of a size, and returns their paths in it.
func Tree(t testing.TB, dir string, rpms int, size int64) []string {
	t.Helper()
	return Builds(t, dir, rpms, 1, size)
}

// Builds is Tree with several rpms in each build.
func Builds(t testing.TB, dir string, builds, rpms int, size int64) []string {
	t.Helper()
	var all []string
	content := make([]byte, size)
	for i := range builds {
		for j := range rpms {
			rand.Read(content) // never fails
			rel := fmt.Sprintf("packages/pkg%d/1/1.fc42/noarch/pkg%d-part%d-1-1.fc42.noarch.rpm", i, i, j)
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, rel)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, rel), content, 0o644))
			all = append(all, rel)
		}
	}
	Sync(t, dir)
	return all
}

// Sync writes the file system of a directory to the disk.
func Sync(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	must(t, unix.Syncfs(int(f.Fd())))
}

// Used returns the bytes that are in use on the file system of a directory.
func Used(t testing.TB, dir string) int64 {
	t.Helper()
	Sync(t, dir)
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// Snapshot makes a read-only snapshot of a Btrfs subvolume with btrfs(8).
func Snapshot(t testing.TB, subvolume, target string) string {
	t.Helper()
	command(t, "btrfs", "subvolume", "snapshot", "-r", subvolume, target)
	return target
}

// Subvolume makes a Btrfs subvolume with btrfs(8).
func Subvolume(t testing.TB, dir string) string {
	t.Helper()
	command(t, "btrfs", "subvolume", "create", dir)
	return dir
}

// List returns names, types, modes, sizes and times of all that is below a directory, to see whether it changed.
func List(t testing.TB, dir string) string {
	t.Helper()
	return command(t, "find", dir, "-printf", `%P %y %m %s %T@ %l\n`)
}

func command(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		Need(t, "%q: %v: %s%s", args, err, out, said.String())
	}
	return strings.TrimSpace(string(out))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
