package integration_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kojisnap/cmd/kojisnap/jsondoc"
	"kojisnap/integration/programtest"
)

// withoutDebug is a flag of go build: what debuggers need, and packages do not have, takes longest to link.
const withoutDebug = "-ldflags=-s -w"

// built is kojisnap, built once, as packages have it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "kojisnap-bin-"); built.err != nil {
			return
		}
		built.err = programtest.Build(filepath.Join(built.dir, "kojisnap"))
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "kojisnap")
}

// script writes a program of the shell. A process that another test starts at that moment would have the file open for
// writing until it runs its own program, and such a file cannot be run.
func script(t testing.TB, path, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	must(t, os.WriteFile(path, []byte(text), 0o755))
}

// outcome is what a run of kojisnap came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// cleanEnv has no configuration of this machine's, and no PG… of the environment, but what s3test says of its server, and
// how often memory is collected: scripts/test has that less often, as processes that end soon need it.
func cleanEnv(t testing.TB) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "AWS_") || strings.HasPrefix(setting, "GOGC=") {
			env = append(env, setting)
		}
	}
	return env
}

func kojisnapRun(t testing.TB, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = cleanEnv(t)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o := outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	if section := jsondoc.Section(args); section != "" && t.Context().Err() == nil {
		doc, err := jsondoc.Read("../cmd/kojisnap/JSON.md")
		must(t, err)
		if err := doc.Check(section, o.stdout, o.code); err != nil {
			t.Errorf("%q: %v: %s", args, err, o.stdout)
		}
	}
	return o
}

// succeed runs kojisnap and wants silence on standard error: without a terminal only trouble is told.
func succeed(t testing.TB, args ...string) string {
	t.Helper()
	o := kojisnapRun(t, args...)
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("kojisnap %v: exit code %d\n%s%s", args, o.code, o.stdout, o.stderr)
	}
	return o.stdout
}
