package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// sandbox makes what a unit with ProtectSystem=strict and PrivateTmp sees, in a mount namespace of its own: all mounts
// are read-only but those of some directories, which stay as they are. Then it runs a command as a user without
// privileges. Its arguments are the directories, --, and the command.
const sandbox = `set -e
mount --make-rprivate /
keep=:
while [ "$1" != -- ]; do
	mount --rbind "$1" "$1"
	for inside in $(findmnt -R -n -r -o TARGET "$1"); do keep="$keep$inside:"; done
	shift
done
shift
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
for mounted in $(findmnt -n -r -o TARGET | sort -u); do
	case $keep:/var/tmp: in *:"$mounted":*) continue ;; esac
	mount -o remount,bind,ro "$mounted" || true # what cannot be reached cannot be written
done
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
`

// TestUnitSandbox runs the command of kojisnap@.service as its unit does: only the store and ReadWritePaths can be
// written, by a user without privileges. The sync succeeds; and as production's tree is among those paths, kojisnap
// sees, and refuses, one that this host mounts writable.
func TestUnitSandbox(t *testing.T) {
	for _, program := range []string{"unshare", "setpriv", "findmnt", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			skipOutsideCI(t, "needs "+program+": packages util-linux and mount of Debian")
		}
	}
	body, err := os.ReadFile("../scripts/systemd/kojisnap@.service")
	must(t, err)
	setting := func(name string) string {
		t.Helper()
		found := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(string(body))
		if found == nil {
			t.Fatalf("the unit has no %s", name)
		}
		return found[1]
	}
	w := newMarkedEnv(t)
	w.nobody(t) // gives that user what it needs
	config := w.config(t, "f42-compose")
	text, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, []byte(strings.Replace(string(text), "writable-source = true", "", 1)), 0o644))
	program := filepath.Join(t.TempDir(), "kojisnap")
	must(t, exec.Command("cp", binary(t), program).Run())
	for _, file := range []string{program, config} {
		for dir := filepath.Dir(file); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	must(t, exec.Command("chown", "nobody", filepath.Join(w.prodTree, "packages")).Run())
	store := strings.TrimPrefix(w.store.String(), "file://")
	here := strings.NewReplacer("/var/lib/kojisnap", store, "/usr/bin/kojisnap", program, "%i", "stg",
		"-/mnt/koji", w.topdir, "-/mnt/fedora_koji_prod", w.prodTree, "-/var/lib/prometheus/node-exporter", "")
	command := append(strings.Fields(here.Replace(setting("ExecStart"))), "-c", config)
	run := func(paths []string) outcome {
		t.Helper()
		args := append([]string{"--mount", "sh", "-c", sandbox, "sandbox", store}, paths...)
		cmd := exec.CommandContext(t.Context(), "unshare", append(append(args, "--"), command...)...)
		cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", setting("Environment")}, "/"
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	writable := strings.Fields(here.Replace(setting("ReadWritePaths")))
	if want := fmt.Sprint([]string{w.topdir, w.prodTree}); fmt.Sprint(writable) != want {
		t.Fatalf("ReadWritePaths are %q, want %s", writable, want)
	}
	if o := run(writable); o.code == 0 || !strings.Contains(o.stderr, "writable-source") {
		t.Errorf("production's tree is writable: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if o := run(writable[1:]); o.code != 1 || !strings.Contains(o.stderr, "read-only") {
		t.Errorf("without topdir in the list: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	// If the tree were not in the list, the sandbox would make any tree look like one that is mounted read-only.
	if o := run(writable[:1]); o.code != 0 {
		t.Errorf("without production's tree in the list: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	w.readOnly(t)
	times := 1 // one has succeeded above
	if seedtest.Long() {
		times = 2
	}
	for range times {
		if o := run(writable); o.code != 0 || o.stdout+o.stderr != "" {
			t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
		}
	}
}
