package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap"
)

// nobody runs kojisnap as a user whom modes mean something to. It gives that user topdir, the store
// and the right to read production's tree.
func (w *env) nobody(t testing.TB, environ ...string) func(args ...string) outcome {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root runs kojisnap as another user")
	}
	const nobody = 65534
	open := t.TempDir()
	program := filepath.Join(open, "kojisnap")
	must(t, os.Chmod(open, 0o755))
	must(t, exec.Command("cp", binary(t), program).Run())
	must(t, exec.Command("chmod", "-R", "a+rX", w.prodTree).Run())
	store := strings.TrimPrefix(w.store.String(), "file://")
	must(t, exec.Command("chown", "-R", "nobody", store, w.topdir).Run())
	for _, dir := range []string{store, w.topdir, w.prodTree, open} {
		for dir = filepath.Dir(dir); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	return func(args ...string) outcome {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Env = append(environ, "PATH="+os.Getenv("PATH"), "HOME=/nonexistent")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
}

// namedOnce holds lines to naming each of some things in one of them.
func namedOnce(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		n := 0
		for line := range strings.Lines(text) {
			if strings.Contains(line, name) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is named %d times:\n%s", name, n, text)
		}
	}
}

// spoil puts into production's tree and below topdir what bars a copy from one directory after the
// other. It returns what each is named by, and the builds that cannot be copied for it.
func (w *env) spoil(t *testing.T) (names, held []string) {
	t.Helper()
	dir := func(build string) string {
		found, err := filepath.Glob(filepath.Join(w.prodTree, "packages", build, "*/*"))
		must(t, err)
		if len(found) == 0 {
			t.Fatal("no build of ", build)
		}
		return found[len(found)-1]
	}
	logs := filepath.Join(dir("coreutils"), "data/extra")
	must(t, os.MkdirAll(filepath.Join(logs, "x86_64"), 0o755))
	must(t, os.WriteFile(filepath.Join(logs, "x86_64/build.log"), nil, 0o644))
	must(t, os.Chmod(logs, 0o700))
	// A package's directory.
	must(t, os.Chmod(filepath.Join(w.prodTree, "packages/filesystem"), 0o700))
	// A directory that is a symlink to itself, and one that leads to another disk.
	loop := filepath.Join(dir("systemd"), "x86_64")
	must(t, os.Rename(loop, loop+".away"))
	must(t, os.Symlink("x86_64", loop))
	signed := filepath.Join(dir("bash"), "data/signed/41526f0e")
	disk := filepath.Join(filepath.Dir(w.prodTree), "disk2")
	must(t, os.Rename(signed, disk))
	must(t, os.Symlink(disk, signed))
	// A directory in the place of a file.
	rpms := glob(t, filepath.Join(dir("nginx"), "src/*.rpm"), filepath.Join(dir("nginx"), "data/signed/*/src/*.rpm"))
	for _, rpm := range rpms {
		must(t, os.Remove(rpm))
		must(t, os.Mkdir(rpm, 0o755))
	}
	if len(rpms) == 0 {
		t.Fatal("no source rpm of nginx")
	}
	// Below topdir: in the way of a copy, and of a symlink on DEFAULT.
	must(t, os.MkdirAll(filepath.Join(w.topdir, "vol/staged/packages"), 0o755))
	must(t, os.Symlink("/nonexistent", filepath.Join(w.topdir, "vol/staged/packages/gcc")))
	must(t, os.MkdirAll(filepath.Join(w.topdir, "packages"), 0o755))
	must(t, os.WriteFile(filepath.Join(w.topdir, "packages/zlib"), nil, 0o644))
	must(t, exec.Command("chown", "-R", "-h", "nobody", w.topdir).Run())
	// What an earlier run left, and that cannot be removed.
	left := filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp")
	must(t, os.MkdirAll(filepath.Join(left, "17/x86_64"), 0o755))
	return []string{"data/extra", "packages/filesystem", "systemd-", "nginx-", "gcc-", "packages/zlib/"}, []string{"filesystem", "systemd", "nginx", "gcc"}
}

func glob(t testing.TB, patterns ...string) (paths []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		must(t, err)
		paths = append(paths, found...)
	}
	return paths
}

// TestBadDirectories: one directory that cannot be listed or looked at, a directory symlink, what
// stands in the way below topdir and what cannot be removed there keep back themselves alone. Once they
// are mended the next run makes what was kept back.
func TestBadDirectories(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.pullOnce(t, "f42-compose")
	names, heldBuilds := w.spoil(t)
	run := w.nobody(t)
	must(t, os.Chmod(filepath.Join(w.prodTree, "packages/filesystem"), 0o700))
	must(t, exec.Command("sh", "-c", "chmod 700 "+w.prodTree+"/packages/coreutils/*/*/data/extra").Run())
	must(t, exec.Command("chown", "-R", "root", filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp")).Run())
	args := w.copyArgs("--tag", "f42-compose", "--sigkey", "41526f0e", "--sigkey", "")
	var o outcome
	for _, more := range []string{"--json=false", "--json"} {
		o = run(append(args, more)...)
		if o.code != 3 || strings.Count(o.stderr, "temporary files are left") != 1 {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
		namedOnce(t, o.stderr, names...)
	}
	var r kojisnap.CopyResult
	must(t, json.Unmarshal([]byte(o.stdout), &r))
	if o.code != 3 || len(r.Held) != len(names) {
		t.Errorf("exit code %d, held %+v", o.code, r.Held)
	}
	staged := func(name string) bool {
		found := glob(t, filepath.Join(w.topdir, "vol/staged/packages", name, "*/*"))
		return len(found) > 0
	}
	for _, name := range heldBuilds {
		if staged(name) {
			t.Errorf("%s is copied", name)
		}
		if name == "filesystem" {
			continue // nobody may look
		}
		for _, link := range glob(t, filepath.Join(w.topdir, "packages", name, "*/*")) {
			if target, err := os.Readlink(link); err != nil || !strings.Contains(target, "/vol/prod/") {
				t.Errorf("%s leads to %q, %v", link, target, err)
			}
		}
	}
	for _, name := range []string{"coreutils", "bash", "glibc", "zlib"} {
		if !staged(name) {
			t.Errorf("%s is not copied", name)
		}
	}
	real := glob(t, filepath.Join(w.topdir, "vol/staged/packages/bash/*/*/data/signed/41526f0e"))
	if len(real) == 0 {
		t.Error("bash has no signed copies")
	}
	for _, dir := range real {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
		for _, rpm := range glob(t, dir+"/*/*.rpm") {
			if info, err := os.Lstat(rpm); err != nil || info.Mode().Type() != 0 {
				t.Errorf("%s: %v, %v", rpm, info, err)
			}
		}
	}

	// All is mended.
	must(t, exec.Command("sh", "-c", "chmod 755 "+w.prodTree+"/packages/filesystem "+w.prodTree+"/packages/coreutils/*/*/data/extra").Run())
	for _, loop := range glob(t, filepath.Join(w.prodTree, "packages/systemd/*/*/x86_64.away")) {
		must(t, os.Remove(strings.TrimSuffix(loop, ".away")))
		must(t, os.Rename(loop, strings.TrimSuffix(loop, ".away")))
	}
	must(t, os.Remove(filepath.Join(w.topdir, "vol/staged/packages/gcc")))
	must(t, os.Remove(filepath.Join(w.topdir, "packages/zlib")))
	must(t, os.RemoveAll(filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp")))
	o = run(args...)
	if o.code != 3 || strings.Contains(o.stderr, "temporary files") { // nginx's files are gone
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	for _, name := range []string{"filesystem", "systemd", "gcc"} {
		if !staged(name) {
			t.Errorf("%s is not copied", name)
		}
	}
	log := glob(t, filepath.Join(w.topdir, "vol/staged/packages/coreutils/*/*/data/extra/x86_64/build.log"))
	if len(log) != 1 {
		t.Errorf("log %q", log)
	}
	if left := glob(t, filepath.Join(w.topdir, "vol/staged/.kojisnap-tmp*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := os.Lstat(filepath.Join(w.topdir, "packages/zlib")); errors.Is(err, fs.ErrNotExist) {
		t.Error("zlib has no symlink")
	}
}
