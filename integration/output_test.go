package integration_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// TestOutputLost: a result that could not be written is an error, for every command, whatever is wrong with
// standard output. A reader who has seen enough is told nothing.
func TestOutputLost(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	c := w.config(t, "f42-compose")
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	for _, args := range [][]string{
		{"pull"}, {"snapshots"}, {"show", "latest"}, {"status"}, {"status", "--json"}, {"status", "--nagios"}, {"verify", "-v"}, {"help"}, {"version"}, {"copy", "--help"},
	} {
		all := args
		if args[0] != "help" && args[0] != "version" && args[0] != "copy" {
			all = append(args[:len(args):len(args)], "-c", c)
		}
		want := 1
		if strings.Contains(strings.Join(args, " "), "nagios") {
			want = 3
		}
		ways := map[string]string{"full": `exec "$@" > /dev/full`, "closed": `exec "$@" >&-`}
		// Each command meets one way, and some meet all.
		everyWay := seedtest.Long() || slices.Contains([]string{"snapshots", "status", "help"}, args[0])
		if !everyWay {
			delete(ways, "closed")
		}
		for how, sh := range ways {
			o := shell(t, sh, all...)
			if o.code != want || !strings.Contains(o.stderr, "standard output") {
				t.Errorf("%v, %s: exit code %d: %s", args, how, o.code, o.stderr)
			}
		}
		if !everyWay {
			continue
		}
		if o := shell(t, `exec "$@" > /dev/null`, all...); o.code != 0 {
			t.Errorf("%v to /dev/null: exit code %d: %s", args, o.code, o.stderr)
		}
		if o := shell(t, `exec "$@" < /dev/null 0<> /dev/null >&0 2>&0`, all...); o.code != 0 {
			t.Errorf("%v as a daemon: exit code %d", args, o.code)
		}
		r, pipe, err := os.Pipe()
		must(t, err)
		must(t, r.Close())
		cmd := exec.CommandContext(t.Context(), binary(t), all...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = pipe, &stderr
		err = cmd.Run()
		pipe.Close()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want || stderr.Len() > 0 && args[0] != "verify" {
			t.Errorf("%v to a closed pipe: %v: %s", args, err, &stderr)
		}
	}
}

// shell runs kojisnap by a line of sh, in which "$@" is the command.
func shell(t testing.TB, line string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", line, "sh", binary(t)}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run()
	return outcome{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
}
