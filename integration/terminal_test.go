package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/seedtest"
)

// onTerminal runs kojisnap with a terminal of 60 columns as standard output and error, and returns what it shows.
func onTerminal(t *testing.T, environ []string, args ...string) (shown string, code int) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	must(t, err)
	defer master.Close()
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60}))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Stdout, cmd.Stderr = slave, slave
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, environ...)
	must(t, cmd.Start())
	slave.Close()
	var all bytes.Buffer
	_, _ = io.Copy(&all, master) // it ends with EIO when the process has closed the terminal
	_ = cmd.Wait()
	return strings.ReplaceAll(all.String(), "\r\n", "\n"), cmd.ProcessState.ExitCode()
}

// TestTerminal: on a terminal a sync names its steps in their order, with what they did, and says in green that staging
// is ready, or in red that it is not; a warning is yellow. Without colours it says the same words. Lines break at words.
func TestTerminal(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	colours := []string{"TERM=xterm-256color"}
	const steps = `(?s)^pull …\n  [0-9.]+ s: event 419, [0-9]+ rows; .*copy …\n  [0-9.]+ s: [0-9]+ files made, .*load …\n  [0-9.]+ s: [0-9]+ rows inserted` +
		`.*remove …\n  [0-9.]+ s: 0 builds removed.*verify …\n  [0-9.]+ s: [0-9]+ checks ok, [0-9]+ warnings, 0 failed`
	shown, code := onTerminal(t, colours, "sync", "-c", c, "--progress", "none")
	if code != 0 || !regexp.MustCompile(steps).MatchString(shown) {
		t.Errorf("exit code %d: %s", code, shown)
	}
	if !strings.Contains(shown, "\x1b[32mstaging is compose-ready\x1b[0m at event 419\n") || !strings.Contains(shown, "\n\x1b[33mwarning\x1b[0m ") || strings.Contains(shown, "\x1b[31m") {
		t.Errorf("colours: %q", shown)
	}
	for _, environ := range seedtest.Some([][]string{{"TERM=xterm", "NO_COLOR=1"}, nil, {"TERM=dumb"}}, 2) {
		shown, code := onTerminal(t, environ, "sync", "-c", c, "--progress", "none")
		if code != 0 || strings.Contains(shown, "\x1b") || !strings.Contains(shown, "staging is compose-ready at event 419\n") || !strings.Contains(shown, "nothing changed") {
			t.Errorf("%q: exit code %d: %q", environ, code, shown)
		}
	}
	// With bars the steps are named, too.
	if shown, code := onTerminal(t, colours, "sync", "-c", c); code != 0 || !strings.Contains(shown, "verify …\n") {
		t.Errorf("with bars: exit code %d: %q", code, shown)
	}
	shown, code = onTerminal(t, colours, "sync", "-c", c, "--sigkey", "ba2992d4", "--progress", "none")
	if code != 3 || !strings.Contains(shown, "\x1b[31mstaging is not compose-ready\x1b[0m at event 419:") || !strings.Contains(shown, "\n\x1b[31mfailed\x1b[0m ") || strings.Contains(shown, "\x1b[32m") {
		t.Errorf("not ready: exit code %d: %q", code, shown)
	}
	shown, code = onTerminal(t, colours, "load", "-c", c, "--store", "/no/such/directory/at/all", "--snapshot", "419-0123456789ab")
	if code != 1 || !regexp.MustCompile(`^kojisnap: .*\n  [^ ]`).MatchString(shown) {
		t.Errorf("an error: exit code %d: %q", code, shown)
	}
	for line := range strings.Lines(shown) {
		if len([]rune(line)) > 61 {
			t.Errorf("a line of %d columns: %s", len([]rune(line)), line)
		}
	}
	if shown, code := onTerminal(t, colours, "status", "-c", c, "--quiet"); code != 0 || strings.Contains(shown, "\x1b") {
		t.Errorf("status: exit code %d: %q", code, shown)
	}
	// A pipe is no terminal, whatever TERM says.
	if o := runWith(t, []string{"HOME=" + t.TempDir(), "TERM=xterm"}, "sync", "-c", c); o.code != 0 || o.stdout+o.stderr != "" {
		t.Errorf("a pipe: exit code %d, %q, %q", o.code, o.stdout, o.stderr)
	}
}
