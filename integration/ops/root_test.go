package ops_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// root is the root of a host: the programs of this machine, in a layer that takes writes, and an /etc, /var and /run of
// its own. It is a made root: no daemon runs in it, and systemd is not its init.
type root string

// newRoot makes a root. users are added to the users of this machine.
func newRoot(t *testing.T, users ...string) root {
	t.Helper()
	needRoot(t)
	work := t.TempDir()
	for dir := work; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755)) // other users run programs in the root
	}
	// A layer of an overlay cannot be on every file system, but on this one it can.
	mount(t, "tmpfs", work, "tmpfs", 0, "mode=755")
	r := root(filepath.Join(work, "root"))
	for _, dir := range []string{"dev", "etc/cron.d", "etc/systemd/system", "home", "mnt", "opt", "proc", "root", "run", "srv", "usr", "var/cache", "var/lib", "var/log"} {
		must(t, os.MkdirAll(r.at(dir), 0o755))
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		must(t, os.Mkdir(r.at(dir), 0o755))
		must(t, os.Chmod(r.at(dir), 0o777|fs.ModeSticky))
	}
	for _, dir := range []string{"upper", "work"} {
		must(t, os.Mkdir(filepath.Join(work, dir), 0o755))
	}
	mount(t, "overlay", r.at("usr"), "overlay", 0, "lowerdir=/usr,upperdir="+work+"/upper,workdir="+work+"/work")
	for _, link := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if to, err := os.Readlink("/" + link); err == nil {
			must(t, os.Symlink(to, r.at(link)))
		}
	}
	for _, dir := range []string{"proc", "dev"} { // not what is mounted below: that may be this root itself
		mount(t, "/"+dir, r.at(dir), "", syscall.MS_BIND, "")
	}
	mount(t, "tmpfs", r.at("dev/shm"), "tmpfs", 0, "mode=1777")
	for _, name := range []string{"alternatives", "debian_version", "group", "ld.so.cache", "login.defs", "nsswitch.conf", "pam.d", "passwd", "shadow", "security"} {
		if _, err := os.Lstat("/etc/" + name); err == nil {
			must(t, exec.Command("cp", "-a", "/etc/"+name, r.at("etc")).Run())
		}
	}
	for _, file := range []string{"etc/passwd", "etc/group"} { // a kojisnap that this machine has
		write(t, r.at(file), regexp.MustCompile(`(?m)^kojisnap:.*\n`).ReplaceAllString(read(t, r.at(file)), ""))
	}
	for _, user := range users {
		if !regexp.MustCompile(`(?m)^` + user + `:`).MatchString(read(t, r.at("etc/passwd"))) {
			r.run(t, nil, "useradd", "--system", user).done(t)
		}
	}
	for _, mine := range []string{"usr/bin/kojisnap", "usr/share/kojisnap"} {
		must(t, os.RemoveAll(r.at(mine)))
	}
	return r
}

// at is a path of the root as this machine sees it.
func (r root) at(path string) string { return filepath.Join(string(r), path) }

// run runs a program in the root.
func (r root) run(t testing.TB, environ []string, name string, args ...string) outcome {
	t.Helper()
	environ = append([]string{"PATH=/usr/sbin:/usr/bin", "HOME=/root", "TMPDIR=/tmp"}, environ...)
	return run(t, "/", environ, "chroot", append([]string{string(r), name}, args...)...)
}

// done fails the test unless the exit code is 0.
func (o outcome) done(t testing.TB) outcome {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	return o
}

// written is the directory of what was written below /usr: other programs come and go with this machine's.
const written = "../upper"

// files lists what is below some directories of the root: type, mode, owner, and the target of a symlink.
func (r root) files(t testing.TB, dirs ...string) string {
	t.Helper()
	var list []string
	for _, dir := range dirs {
		list = append(list, r.at(dir))
	}
	out := succeed(t, "find", append(list, "-name", "__pycache__", "-prune", "-o", "-printf", "%P %y %m %u:%g %l\n")...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

// mount mounts for the time of the test. No mount of this machine learns of it, nor of its end.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Skip("needs the right to mount: " + kind + " " + source + ": " + err.Error())
	}
	t.Cleanup(func() { must(t, syscall.Unmount(target, syscall.MNT_DETACH)) })
	must(t, syscall.Mount("", target, "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
}
