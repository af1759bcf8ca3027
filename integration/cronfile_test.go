package integration_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap/lockfile"
)

// crontab is a file of /etc/cron.d: its environment, and the command and user of each line.
type crontab struct {
	environ []string
	jobs    []cronJob
}

type cronJob struct{ user, command string }

// cronField is one of the five fields of a line's time.
var cronField = regexp.MustCompile(`^(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*$`)

// parseCrontab reads a file as cron does: comments, NAME=value, and lines of five fields, a user and a command.
func parseCrontab(t *testing.T, body string) (c crontab) {
	t.Helper()
	if !strings.HasSuffix(body, "\n") {
		t.Error("cron ignores a last line without an end")
	}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := regexp.MustCompile(`^[A-Z]+=\S+$`).FindString(line); m != "" {
			c.environ = append(c.environ, m)
			continue
		}
		f := strings.Fields(line)
		if len(f) < 7 {
			t.Fatalf("line %q has not five fields, a user and a command", line)
		}
		for _, field := range f[:5] {
			if !cronField.MatchString(field) {
				t.Errorf("line %q: %q is no field of a time", line, field)
			}
		}
		if strings.Contains(line, "%") {
			t.Errorf("line %q: cron makes a new line of %%", line)
		}
		c.jobs = append(c.jobs, cronJob{f[5], strings.Join(f[6:], " ")})
	}
	return c
}

// TestCronFile runs the lines of scripts/cron.d/kojisnap as cron does: by its shell, in its environment, as a user who
// is not root. They succeed without a word, also while another sync holds the lock: then cron sends no mail.
func TestCronFile(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../scripts/cron.d/kojisnap")
	must(t, err)
	c := parseCrontab(t, string(body))
	if len(c.jobs) != 2 || !strings.Contains(strings.Join(c.environ, " "), "MAILTO=") {
		t.Fatalf("jobs %q, environment %q", c.jobs, c.environ)
	}
	w := newMarkedEnv(t)
	w.nobody(t) // gives that user what it needs
	w.readOnly(t)
	config := w.config(t, "f42-compose")
	text, err := os.ReadFile(config)
	must(t, err)
	must(t, os.WriteFile(config, []byte(strings.Replace(string(text), "writable-source = true", "", 1)), 0o644))
	open := t.TempDir()
	for _, dir := range []string{open, filepath.Dir(config)} {
		for ; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	must(t, exec.Command("cp", binary(t), filepath.Join(open, "kojisnap")).Run())
	store := strings.TrimPrefix(w.store.String(), "file://")

	run := func(job cronJob) outcome {
		t.Helper()
		command := regexp.MustCompile(`^kojisnap (\w+) `).ReplaceAllString(job.command, "kojisnap $1 -c "+config+" ")
		if command == job.command {
			t.Fatalf("%q does not run kojisnap", job.command)
		}
		command = strings.ReplaceAll(command, "/var/lib/kojisnap", store)
		environ := []string{"HOME=/nonexistent", "LOGNAME=nobody"}
		shell := "/bin/sh"
		for _, e := range c.environ {
			e = strings.Replace(e, "PATH=", "PATH="+open+":", 1) // where the package puts kojisnap
			if s, ok := strings.CutPrefix(e, "SHELL="); ok {
				shell = s
			}
			environ = append(environ, e)
		}
		cmd := exec.CommandContext(t.Context(), shell, "-c", command)
		cmd.Env, cmd.Dir = environ, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	for range 2 {
		for _, job := range c.jobs {
			if job.user != c.jobs[0].user || job.user == "root" {
				t.Errorf("%q runs as %s", job.command, job.user)
			}
			if o := run(job); o.code != 0 || o.stdout+o.stderr != "" {
				t.Errorf("%q: exit code %d, cron would send: %s%s", job.command, o.code, o.stdout, o.stderr)
			}
		}
	}
	unlock, err := lockfile.Lock(t.Context(), filepath.Join(store, "stg.lock"), false)
	must(t, err)
	defer unlock()
	if o := run(c.jobs[0]); o.code != 4 || o.stdout+o.stderr != "" {
		t.Errorf("locked: exit code %d, cron would send: %s%s", o.code, o.stdout, o.stderr)
	}
}
