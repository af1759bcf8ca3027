package integration_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLockOfAnother: two users take one lock in a directory that all may write to.
func TestLockOfAnother(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can run kojisnap as others")
	}
	dir, err := os.MkdirTemp("", "kojisnap-lock-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o777|os.ModeSticky))
	store, program := filepath.Join(dir, "store"), filepath.Join(dir, "kojisnap")
	must(t, os.Mkdir(store, 0o755))
	must(t, exec.Command("cp", binary(t), program).Run()) // no process that another test starts has it open for writing
	run := func(uid uint32, umask, lock string) outcome {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask "+umask+`; exec "$@"`, "sh", program, "snapshots", "--store", store, "--lock-file", lock, "--exit-on-lock")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Env = []string{"HOME=" + dir}
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		return outcome{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	}
	for _, first := range []uint32{0, 65534} {
		lock := filepath.Join(dir, "lock")
		for _, uid := range []uint32{first, 65534 - first, first} {
			if o := run(uid, "077", lock); o.code != 0 {
				t.Errorf("uid %d after %d: exit code %d: %s", uid, first, o.code, o.stderr)
			}
		}
		f, err := os.Open(lock)
		must(t, err)
		must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		if o := run(65534-first, "077", lock); o.code != 4 {
			t.Errorf("held: exit code %d: %s", o.code, o.stderr)
		}
		f.Close()
		must(t, os.Remove(lock))
	}
	lock := filepath.Join(dir, "private")
	must(t, os.WriteFile(lock, nil, 0o600))
	if o := run(65534, "022", lock); o.code != 1 || !strings.Contains(o.stderr, "the user root") || !strings.Contains(o.stderr, "0600") {
		t.Errorf("private: exit code %d: %s", o.code, o.stderr)
	}
}
