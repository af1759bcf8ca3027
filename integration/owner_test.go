package integration_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOwner copies as root for the hub's user, as the configuration says, and as somebody who cannot
// give files away.
func TestOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives files to another user")
	}
	w := newHubEnv(t)
	w.addTree(t)
	w.pull(t, lastEvent, "f42-compose")
	c := w.config(t, "f42-compose")
	body, err := os.ReadFile(c)
	must(t, err)
	must(t, os.WriteFile(c, []byte(strings.Replace(string(body), "[copy]\n", "[copy]\nowner = \"48:49\"\nmode = \"0664\"\nselinux = \"httpd_sys_rw_content_t\"\n", 1)), 0o644))
	succeed(t, "copy", "-c", c)
	w.ownedBy(t, 48, 49)
	info, err := os.Stat(filepath.Join(w.topdir, "vol/staged/packages/bash/5.3.0/2.fc42/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"))
	must(t, err)
	if info.Mode() != 0o664 {
		t.Errorf("mode %v", info.Mode())
	}

	// nobody may write into a topdir of his own, and is told once that the files stay his.
	const nobody = 65534
	for dir := filepath.Dir(w.topdir); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	open := t.TempDir()
	for _, dir := range []string{filepath.Dir(open), filepath.Dir(w.prodTree), filepath.Dir(c)} {
		must(t, os.Chmod(dir, 0o755))
	}
	top, program := filepath.Join(open, "koji"), filepath.Join(open, "kojisnap")
	must(t, os.Mkdir(top, 0o755))
	must(t, os.Chown(top, nobody, nobody))
	must(t, os.Chmod(open, 0o755))
	must(t, exec.Command("cp", binary(t), program).Run())
	must(t, exec.Command("chmod", "-R", "a+rX", filepath.Dir(w.prodTree)).Run())
	store := strings.TrimPrefix(w.store.String(), "file://")
	must(t, exec.Command("chown", "-R", "nobody", store).Run())
	for dir := filepath.Dir(store); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.CommandContext(t.Context(), program, "copy", "-c", c, "--topdir", top, "--env", "other")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "only root gives files to another user") != 1 || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v: %q", err, out)
	}
	w.topdir = top
	w.ownedBy(t, nobody, nobody)
}

// ownedBy checks that all below topdir but vol itself, and the note of what
// the store has, belongs to a user and a group.
func (w *env) ownedBy(t *testing.T, uid, gid uint32) {
	t.Helper()
	n := 0
	must(t, filepath.WalkDir(w.topdir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == w.topdir || path == filepath.Join(w.topdir, "vol") || path == filepath.Join(w.topdir, ".kojisnap/stored") {
			return err
		}
		info, err := d.Info()
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid {
			t.Errorf("%s is %d:%d's", path, st.Uid, st.Gid)
		}
		n++
		return nil
	}))
	if n < 200 {
		t.Errorf("only %d files", n)
	}
}
