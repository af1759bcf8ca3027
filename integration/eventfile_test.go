package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/seedtest"
)

// served is what staging's web server has of topdir.
func (w *env) served(t testing.TB, path string) (int, string) {
	t.Helper()
	r, err := http.Get(strings.TrimSuffix(w.stagingURL, "/kojihub") + "/kojifiles/" + path)
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	return r.StatusCode, string(body)
}

// TestEventToPin: status --event and the file that topdir's web server serves have the event to pin, alone, from
// the first load on, whatever a kill left, and back again with a rollback.
func TestEventToPin(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	if o := kojisnapRun(t, "status", "-c", c, "--event"); o.code != 3 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, "nothing was loaded yet") {
		t.Errorf("before the first load: exit code %d, %q, %q", o.code, o.stdout, o.stderr)
	}
	for _, more := range []string{"--json", "--nagios"} {
		if o := kojisnapRun(t, "status", "-c", c, "--event", more); o.code == 0 || !strings.Contains(o.stdout+o.stderr, "--event prints the event alone") {
			t.Errorf("%s: exit code %d, %q, %q", more, o.code, o.stdout, o.stderr)
		}
	}
	if o := kojisnapRun(t, "status", "-c", c, "--event", "--env", "other"); o.code != 1 || o.stdout != "" {
		t.Errorf("another environment: exit code %d, %q", o.code, o.stdout)
	}
	file := filepath.Join(w.topdir, "kojisnap-event")
	check := func(event int) {
		t.Helper()
		want := fmt.Sprintf("%d\n", event)
		if out := succeed(t, "status", "-c", c, "--event"); out != want {
			t.Errorf("status --event: %q, want %q", out, want)
		}
		if code, body := w.served(t, "kojisnap-event"); code != 200 || body != want {
			t.Errorf("served: %d, %q, want %q", code, body, want)
		}
		if info, err := os.Lstat(file); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if o := kojisnapRun(t, "sync", "-c", c, "-n"); o.code != 3 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if _, err := os.Lstat(file); err == nil {
		t.Error("a dry run wrote the event")
	}
	succeed(t, "sync", "-c", c)
	check(lastEvent)

	// Where nothing changed it is not written anew; what a kill after the commit left, is.
	before, err := os.Stat(file)
	must(t, err)
	succeed(t, "load", "-c", c)
	if now, err := os.Stat(file); err != nil || !os.SameFile(before, now) {
		t.Errorf("written anew: %v", err)
	}
	for _, left := range seedtest.Some([]func() error{
		func() error { return os.Remove(file) },
		func() error { return os.WriteFile(file, nil, 0o644) },
		func() error { return os.WriteFile(file, []byte("1\n"), 0o600) },
	}, 2) {
		must(t, left())
		succeed(t, "load", "-c", c)
		check(lastEvent)
	}
	var record kojisnap.SyncRecord
	must(t, json.Unmarshal([]byte(w.read(t, filepath.Join(w.topdir, ".kojisnap/sync.json"))), &record))
	if record.Report.Pin != lastEvent {
		t.Errorf("the record has the event %d", record.Report.Pin)
	}

	// Production goes on, and a load goes back.
	w.nextEvent(t, 420)
	succeed(t, "sync", "-c", c, "--event", "420")
	check(420)
	older := ""
	for line := range strings.Lines(succeed(t, "snapshots", "-c", c)) {
		if strings.HasPrefix(line, "419-") {
			older = strings.Fields(line)[0]
		}
	}
	// While it goes back, and whatever becomes of it, the later event is not offered any longer.
	conn, err := pgx.Connect(t.Context(), w.dsn)
	must(t, err)
	_, err = conn.Exec(t.Context(), "BEGIN; LOCK TABLE tag_listing IN EXCLUSIVE MODE")
	must(t, err)
	r := start(t, "load", "-c", c, "--snapshot", older, "--rollback")
	r.until("the file was gone", func() bool { _, err := os.Lstat(file); return os.IsNotExist(err) })
	if code, _ := w.served(t, "kojisnap-event"); code != 404 {
		t.Errorf("served: %d", code)
	}
	r.end(syscall.SIGKILL)
	must(t, conn.Close(t.Context()))
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("after a kill: %v", err)
	}
	succeed(t, "sync", "-c", c, "--event", "420")
	check(420)
	succeed(t, "load", "-c", c, "--snapshot", older, "--rollback", "--topdir", w.topdir)
	check(lastEvent)

	// A load into another staging's database, which is refused, does not bring that one's event here.
	other := newHubEnv(t)
	other.addDatabase(t)
	succeed(t, "init", "--db", other.dsn, "--env", "other")
	for _, rollback := range []string{"--rollback=false", "--rollback"} {
		if o := kojisnapRun(t, "load", "-c", c, "--db", other.dsn, "--snapshot", older, rollback); o.code != 1 || !strings.Contains(o.stderr, "other") {
			t.Errorf("another staging: exit code %d, %q", o.code, o.stderr)
		}
		check(lastEvent)
	}

	// On a host without topdir there is none, unless somebody names one.
	must(t, os.Remove(file))
	args := []string{"load", "--db", w.dsn, "--env", "stg", "--store", w.store.String(), "--snapshot", older}
	succeed(t, args...)
	if _, err := os.Lstat(file); err == nil {
		t.Error("it was written without a topdir")
	}
	named := filepath.Join(t.TempDir(), "event")
	succeed(t, append(args, "--event-file", named)...)
	if got := w.read(t, named); got != "419\n" {
		t.Errorf("%s has %q", named, got)
	}
	if o := kojisnapRun(t, append(args, "--event-file", "event")...); o.code != 2 || !strings.Contains(o.stderr, "--event-file") {
		t.Errorf("exit code %d, %q", o.code, o.stderr)
	}
	succeed(t, "load", "-c", c, "--snapshot", older, "--event-file", "")
	if _, err := os.Lstat(file); err == nil {
		t.Error("it was written though there is to be none")
	}
}

// TestEventFileOfOthers: what is in the place of the event file and not kojisnap's stays. By the default
// name that is told; of a file that somebody named it is an error before the first step.
func TestEventFileOfOthers(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.WriteFile(elsewhere, []byte("419\n"), 0o644))
	for name, lay := range seedtest.SomeOf(map[string]func(path string) error{
		"a directory":      func(p string) error { return os.Mkdir(p, 0o755) },
		"a symlink":        func(p string) error { return os.Symlink(elsewhere, p) },
		"a dangling one":   func(p string) error { return os.Symlink("nowhere", p) },
		"a fifo":           func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"text":             func(p string) error { return os.WriteFile(p, []byte("not an event\n"), 0o644) },
		"two numbers":      func(p string) error { return os.WriteFile(p, []byte("1\n2\n"), 0o644) },
		"a large file":     func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o644) },
		"a number, no \\n": func(p string) error { return os.WriteFile(p, []byte("7"), 0o644) },
	}, 4) {
		t.Run(name, func(t *testing.T) {
			file, named := filepath.Join(w.topdir, "kojisnap-event"), filepath.Join(w.topdir, "pin")
			must(t, lay(file))
			must(t, lay(named))
			before := w.files(t)
			o := kojisnapRun(t, "sync", "-c", c, "--event-file", "pin")
			if o.code != 1 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, named) || !strings.Contains(o.stderr, "--event-file") {
				t.Errorf("asked for: exit code %d, %q", o.code, o.stderr)
			}
			if o := kojisnapRun(t, "doctor", "-c", c, "--event-file", "pin"); o.code != 3 || !strings.Contains(o.stdout, named) {
				t.Errorf("doctor: exit code %d, %q", o.code, o.stdout)
			}
			if now := w.files(t); now != before {
				t.Errorf("a file changed: %s", firstDifference(before, now))
			}
			o = kojisnapRun(t, "sync", "-c", c, "--no-verify")
			if o.code != 0 || strings.Count(o.stderr, file) != 1 || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("by default: exit code %d, %q", o.code, o.stderr)
			}
			was, err := os.Lstat(file)
			must(t, err)
			if name == "a symlink" && w.read(t, elsewhere) != "419\n" {
				t.Error("what the symlink leads to changed")
			}
			must(t, os.RemoveAll(named))
			must(t, lay(named))
			is, err := os.Lstat(named)
			must(t, err)
			if was.Mode() != is.Mode() || was.Mode().IsRegular() && was.Size() != is.Size() {
				t.Errorf("%s is %v now", file, was)
			}
			must(t, os.RemoveAll(file))
			must(t, os.RemoveAll(named))
		})
	}
}
