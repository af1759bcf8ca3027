// Package ops_test holds what scripts/ ships for operators (units, cron, Kubernetes, Ansible, the image, packages) to
// the tools that know their formats, and installs and runs it.
package ops_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/integration/programtest"
)

func TestMain(m *testing.M) {
	code := dbtest.Main(m)
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// scripts is the directory of what is tested.
const scripts = "../../scripts"

// built is the program as packages and the image have it, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "kojisnap-ops-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		built.err = programtest.Build(filepath.Join(built.dir, "kojisnap"))
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "kojisnap")
}

// need skips a test that lacks a program, or fails it where KOJISNAP_TEST_ALL is set.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, "needs the program "+program+"; .ci/run says which package of Debian has it")
		}
	}
}

// needRoot skips a test without the right to mount, chroot and give files away, which no package gives.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func lacking(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// outcome is what a program came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a program in the directory dir; its environment has more than PATH and HOME only if the test says so.
func run(t testing.TB, dir string, environ []string, name string, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &stdout, &stderr, dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8"}, environ...)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// succeed is run for a program that must succeed. It returns standard output.
func succeed(t testing.TB, name string, args ...string) string {
	t.Helper()
	o := run(t, "", nil, name, args...)
	if o.code != 0 {
		t.Fatalf("%s %q: exit code %d\n%s%s", name, args, o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

// silent is run for a program that must succeed without a word.
func silent(t testing.TB, name string, args ...string) {
	t.Helper()
	if o := run(t, "", nil, name, args...); o.code != 0 || o.stdout+o.stderr != "" {
		t.Errorf("%s %q: exit code %d\n%s%s", name, args, o.code, o.stdout, o.stderr)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	must(t, err)
	return string(body)
}

func write(t testing.TB, path, body string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(body), 0o644))
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	must(t, err)
	if len(found) == 0 {
		t.Fatalf("there is no %s", pattern)
	}
	return found
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaceAll replaces what must be there.
func replaceAll(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %q in\n%s", old, text)
	}
	return strings.ReplaceAll(text, old, new)
}
