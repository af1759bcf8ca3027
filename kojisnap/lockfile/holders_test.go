package lockfile_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/kojisnap/lockfile"
)

// TestLockHolders: who holds a lock is told, however it was taken.
func TestLockHolders(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "composes")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := lockfile.Holders(lock); len(got) != 0 {
		t.Errorf("nobody holds it: %q", got)
	}
	// hold starts a command that holds the lock, and says so on its standard output.
	hold := func(name string, args ...string) (pid int, end func()) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() }
	}
	comm := func(pid int) string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return strings.TrimSpace(string(b))
	}

	// flock(1) runs a command; two at a time.
	first, endFirst := hold("flock", "-s", lock, "sh", "-c", "echo; exec sleep 600", "--password=secret")
	second, endSecond := hold("flock", "-s", lock, "sh", "-c", "echo; exec sleep 600")
	want := []string{fmt.Sprintf("pid %d (flock sh)", first), fmt.Sprintf("pid %d (flock sh)", second)}
	if first > second {
		slices.Reverse(want)
	}
	if got := lockfile.Holders(lock); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	endFirst()
	endSecond()

	// flock(1) locks a descriptor and ends: the lock is whose that descriptor is.
	pid, end := hold("sh", "-c", `exec 9<"$1"; flock -s 9; echo; exec sleep 600`, "sh", lock)
	for comm(pid) != "sleep" {
		time.Sleep(time.Millisecond)
	}
	if got, want := lockfile.Holders(lock), []string{fmt.Sprintf("pid %d (sleep)", pid)}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	end()

	// Another kojisnap.
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := lockfile.Holders(lock); len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("pid %d on ", os.Getpid())) || !strings.Contains(got[0], "(kojisnap ") {
		t.Errorf("%q", got)
	}
	unlock()
	if got := lockfile.Holders(lock); len(got) != 0 {
		t.Errorf("nobody holds it any longer: %q", got)
	}
	if got := lockfile.Holders(lock + ".none"); len(got) != 0 {
		t.Errorf("no such file: %q", got)
	}
}
