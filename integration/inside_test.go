package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/cmd/kojisnap/jsondoc"
	"kojisnap/kojisnap/trial/inside/insidetest"
	"kojisnap/kojisnap/verify"
)

// insideEnv is a synced staging, and a kojisnap that can run inside images.
type insideEnv struct {
	*env
	program, config string
	tries           int
	images          []string // whose containers are this test's
}

// run runs kojisnap verify, and returns its checks by status. path is $PATH, empty for the test's own.
func (w *insideEnv) run(t *testing.T, path, compose string, began func(cmd *exec.Cmd), args ...string) (by map[verify.Status][]verify.Check, o outcome) {
	t.Helper()
	if compose == "" {
		w.tries++
		compose = filepath.Join(w.topdir, fmt.Sprintf("compose/trial%d", w.tries))
	}
	args = append([]string{"verify", "-c", w.config, "--json", "--compose", compose}, args...)
	cmd := exec.Command(w.program, args...)
	cmd.Env = cleanEnv(t)
	if path != "" {
		cmd.Env = append(cmd.Env, "PATH="+path)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	for done := false; !done; {
		select {
		case err = <-ended:
			done = true
		case <-time.After(10 * time.Millisecond):
			if _, err := os.Stat(filepath.Join(compose, "began")); began != nil && err == nil {
				began(cmd)
				began = nil
			}
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	o = outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	doc, err := jsondoc.Read("../cmd/kojisnap/JSON.md")
	must(t, err)
	if err := doc.Check("verify", o.stdout, o.code); err != nil {
		t.Errorf("%v: %s", err, o.stdout)
	}
	var r verify.Result
	must(t, json.Unmarshal([]byte(o.stdout), &r))
	by = map[verify.Status][]verify.Check{}
	for _, c := range r.Checks {
		by[c.Status] = append(by[c.Status], c)
	}
	if left := insidetest.Containers(t, w.images...); len(left) > 0 {
		t.Errorf("containers are left: %q", left)
	}
	return by, o
}

// TestVerifyInside: verify makes the trial in the image of the tag's release, and tells what is wrong with the image,
// with the directory, with the engine.
func TestVerifyInside(t *testing.T) {
	t.Parallel()
	right := insidetest.Make(t, insidetest.Image{Release: "42"})
	wrong := insidetest.Make(t, insidetest.Image{Release: "43"})
	w := &insideEnv{env: newMarkedEnv(t), program: binary(t), images: []string{right, wrong}}
	w.readOnly(t)
	plain := w.env.config(t, "f42-compose")
	succeed(t, "sync", "-c", plain)
	// The longest pattern counts, and what the environment says goes before.
	w.config = filepath.Join(t.TempDir(), "kojisnap.toml")
	must(t, os.WriteFile(w.config, []byte(strings.Replace(w.read(t, plain), "env    = \"stg\"\n", "", 1)+fmt.Sprintf("in = \"docker\"\n[verify.image]\n\"f42-c*\" = %q\n\"f*\" = %q\n[env]\ndefault = \"stg\"\n[env.stg.verify.image]\n\"f42-c*\" = { image = %q }\n", wrong, wrong, right)), 0o644))

	t.Run("right", func(t *testing.T) {
		by, o := w.run(t, "", "", nil, "--compose-run", "test -f f42-compose/x86_64/repodata/repomd.xml")
		ok := by[verify.StatusOK]
		if o.code != 0 || o.stderr != "" || !has(ok, "image", "") || !has(ok, "environment", "fedora 42, createrepo_c 0.") || !has(ok, "environment", right+" (sha256:") ||
			!has(ok, "trial", " 0 files copied") || !has(ok, "rpm -K", "read whole by rpm") || !has(ok, "compose-run", "") ||
			!has(by[verify.StatusWarning], "closure", "broken-app-1.0-1.fc42.x86_64: libmissing >= 2.0; broken-app-1.0-1.fc42.x86_64: no-such-capability") {
			t.Errorf("exit code %d, %s, %s", o.code, o.stdout, o.stderr)
		}
		for _, c := range by[verify.StatusWarning] {
			if c.Name == "closure" && c.Bad != 2+2 { // those that are planted, and what the module requires of other repositories
				t.Errorf("unmet: %+v", c)
			}
		}
	})
	t.Run("wrong release", func(t *testing.T) {
		by, o := w.run(t, "", "", nil, "--image", "f42*="+wrong)
		if o.code != 3 || !has(by[verify.StatusFailed], "environment", "f42-compose: wants fedora 42, and the image is fedora 43") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("without programs", func(t *testing.T) {
		bare := insidetest.Make(t, insidetest.Image{Release: "42", Without: []string{"createrepo_c", "rpm"}})
		by, o := w.run(t, "", "", nil, "--image", "f42*="+bare, "--compose-run", "echo last words; exit 9")
		failed := by[verify.StatusFailed]
		if o.code != 3 || !has(failed, "environment", "createrepo_c is not in $PATH; rpm is not in $PATH") || !has(failed, "trial", "createrepo_c") ||
			!has(failed, "rpm -K", "rpm is not in $PATH") || !has(failed, "compose-run", "its last lines: last words") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("split mounts", func(t *testing.T) {
		by, o := w.run(t, "", filepath.Join(t.TempDir(), "compose"), nil)
		if o.code != 3 || !has(by[verify.StatusFailed], "trial", "put the compose directory below topdir") || !has(by[verify.StatusFailed], "trial", "rpms were copied") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("no pattern", func(t *testing.T) {
		by, o := w.run(t, "", "", nil, "--image", "f43*="+wrong)
		if o.code != 3 || !has(by[verify.StatusFailed], "image", "f42-compose x86_64: no pattern of [verify.image] matches") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("foreign", func(t *testing.T) {
		if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-s390x"); err == nil {
			t.Skip("this machine can run s390x")
		}
		foreign := insidetest.Make(t, insidetest.Image{Release: "42", Arch: "s390x"})
		by, o := w.run(t, "", "", nil, "--image", "f42*="+foreign)
		if o.code != 0 || !has(by[verify.StatusUnproven], "environment", "is for s390x") || has(by[verify.StatusOK], "environment", "") || has(by[verify.StatusOK], "trial", "") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("no image", func(t *testing.T) {
		if _, o := w.run(t, "", "", nil, "--image", "f42*=kojisnap-inside-test:none"); o.code != 2 || !strings.Contains(o.stderr, "docker pull kojisnap-inside-test:none") {
			t.Errorf("exit code %d, %s", o.code, o.stderr)
		}
	})
	t.Run("no engine", func(t *testing.T) {
		if _, o := w.run(t, t.TempDir(), "", nil); o.code != 2 || !strings.Contains(o.stderr, "docker is not in $PATH") {
			t.Errorf("exit code %d, %s", o.code, o.stderr)
		}
	})
	t.Run("killed", func(t *testing.T) {
		_, o := w.run(t, "", "", func(*exec.Cmd) {
			_ = exec.Command("docker", append([]string{"kill"}, insidetest.Containers(t, w.images...)...)...).Run()
		}, "--compose-run", "echo > began; sleep 600")
		if o.code != 1 || !strings.Contains(o.stderr, `ended during the step "compose-run": it was killed`) {
			t.Errorf("exit code %d, %s", o.code, o.stderr)
		}
	})
	t.Run("SIGTERM", func(t *testing.T) {
		_, o := w.run(t, "", "", func(cmd *exec.Cmd) { must(t, cmd.Process.Signal(syscall.SIGTERM)) }, "--compose-run", "echo > began; sleep 600")
		if o.code != 1 || !strings.Contains(o.stderr, "interrupted") {
			t.Errorf("exit code %d, %s", o.code, o.stderr)
		}
	})
	t.Run("too long", func(t *testing.T) {
		by, o := w.run(t, "", "", nil, "--compose-run", "sleep 600", "--compose-timeout", "20s")
		if o.code != 3 || !has(by[verify.StatusFailed], "compose-run", "--compose-timeout") {
			t.Errorf("exit code %d, %s", o.code, o.stdout)
		}
	})
	t.Run("mock", w.mock)
}

// mock runs the trial with a program that takes mock's place, as Debian has none: it runs the trial on this machine, in no
// chroot. So this test shows the command line that mock gets, and what becomes of its answer, not that mock does it.
func (w *insideEnv) mock(t *testing.T) {
	bin := t.TempDir()
	script(t, filepath.Join(bin, "mock"), `#!/bin/sh
printf '%s\n' "$@" > "$0.args"
for a; do case $a in
--plugin-option=bind_mount:dirs=*) program=$(printf %s "$a" | sed 's/^[^"]*"\([^"]*\)".*/\1/') ;;
gone-*) echo "ERROR: Could not find required config file: /etc/mock/$a.cfg" >&2; exit 2 ;;
esac; job=$a; done
echo "INFO: mock.py version 5.6 starting"
exec "$program" __trial "$job"
`)
	path := bin + ":" + os.Getenv("PATH")
	var release string
	for line := range strings.Lines(w.read(t, "/etc/os-release")) {
		if v, ok := strings.CutPrefix(line, "VERSION_ID="); ok {
			release = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	own := w.config
	defer func() { w.config = own }()
	w.config = filepath.Join(t.TempDir(), "kojisnap.toml")
	config := w.read(t, own)
	must(t, os.WriteFile(w.config, []byte(config[:strings.LastIndex(config, "[env.stg")]+fmt.Sprintf("[env.stg.verify.image]\n\"f42-compose\" = { image = \"fedora-42-x86_64\", release = %q }\n", release)), 0o644))
	by, o := w.run(t, path, "", nil, "--in", "mock")
	if o.code != 0 || !has(by[verify.StatusOK], "environment", "fedora-42-x86_64: ") || !has(by[verify.StatusOK], "trial", " 0 files copied") {
		t.Errorf("exit code %d, %s, %s", o.code, o.stdout, o.stderr)
	}
	args := w.read(t, filepath.Join(bin, "mock.args"))
	if !strings.Contains(args, "--root\nfedora-42-x86_64\n") || !strings.Contains(args, fmt.Sprintf("(%q, %q)", w.topdir, w.topdir)) || !strings.Contains(args, "--chroot\n--\n/run/kojisnap-trial\n__trial\n") {
		t.Errorf("mock got %s", args)
	}
	if _, o := w.run(t, path, "", nil, "--in", "mock", "--image", "f42*=gone-1"); o.code != 2 || !strings.Contains(o.stderr, "Could not find required config file") {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
}
