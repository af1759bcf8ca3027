package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/seedtest"
)

// running is a kojisnap that was started.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan error
}

// output is what a process says, while it runs, too.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.CommandContext(t.Context(), binary(t), args...), ended: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.Env = cleanEnv(t)
	must(t, r.cmd.Start())
	go func() { r.ended <- r.cmd.Wait() }()
	return r
}

// until waits for a condition, as long as kojisnap runs.
func (r *running) until(what string, met func() bool) {
	r.t.Helper()
	for !met() {
		select {
		case err := <-r.ended:
			r.t.Fatalf("it ended before %s: %v, %s", what, err, r.stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// end sends a signal and gives back how it ended: -1 is by the signal.
func (r *running) end(signal os.Signal) outcome {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(signal))
	var exit *exec.ExitError
	if err := <-r.ended; err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return outcome{r.cmd.ProcessState.ExitCode(), r.stdout.String(), r.stderr.String()}
}

// TestLoadKilled stops kojisnap amid a load, where it writes to one table or another, by a trigger
// that sleeps. Meanwhile a second one is turned away. Whether it is killed or interrupted, the
// database is as it was, and the next run completes.
func TestLoadKilled(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addMarked(t)
	w.load(t, w.pull(t, 380, "f42-compose"))
	w.pull(t, lastEvent, "f42-compose")
	dbtest.Exec(t, w.dsn, "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END'")
	conn, err := pgx.Connect(t.Context(), w.dsn)
	must(t, err)
	defer conn.Close(t.Context())
	type point struct {
		table  string
		signal syscall.Signal
	}
	before := w.database(t, "")                  // and after each of them
	for _, point := range seedtest.Some([]point{ // the first, the third and the last are one of each signal
		{"rpminfo", syscall.SIGTERM}, {"events", syscall.SIGKILL}, {"tag_updates", syscall.SIGINT}, {"build", syscall.SIGKILL}, {"rpmsigs", syscall.SIGKILL},
		{"kojisnap.tag", syscall.SIGKILL},
	}, 3) {
		t.Run(fmt.Sprint(point.table, " ", point.signal), func(t *testing.T) {
			dbtest.Exec(t, w.dsn, "CREATE TRIGGER stall BEFORE INSERT OR UPDATE ON "+point.table+" FOR EACH STATEMENT EXECUTE FUNCTION stall()")
			var pid int32
			r := start(t, w.loadArgs()...)
			r.until("it stalled", func() bool {
				err := conn.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity
					WHERE datname = current_database() AND application_name = 'kojisnap' AND wait_event = 'PgSleep'`).Scan(&pid)
				return err == nil
			})
			if o := kojisnapRun(t, w.loadArgs()...); o.code != 4 || !strings.Contains(o.stderr, "another kojisnap") {
				t.Errorf("a second one: exit code %d, %q", o.code, o.stderr)
			}
			o := r.end(point.signal)
			if point.signal != syscall.SIGKILL && (o.code != 1 || !strings.Contains(o.stderr, "interrupted") || strings.Count(o.stderr, "\n") != 1) {
				t.Errorf("exit code %d, %q", o.code, o.stderr)
			}
			// The server learns of a client that is gone when it would answer; here it sleeps.
			_, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend($1, 5000)", pid)
			must(t, err)
			dbtest.Exec(t, w.dsn, "DROP TRIGGER stall ON "+point.table)
			if after := w.database(t, ""); withoutSequences(after) != withoutSequences(before) {
				t.Errorf("something changed: %s", firstDifference(before, after))
			}
		})
	}
	succeed(t, w.loadArgs()...)
	if o := kojisnapRun(t, w.loadArgs("-n", "--audit")...); o.code != 0 {
		t.Errorf("changes are pending: %s%s", o.stdout, o.stderr)
	}
}

// withoutSequences drops from a database's state what a rollback does not undo.
func withoutSequences(state string) string {
	var out []string
	for line := range strings.Lines(state) {
		if !strings.Contains(line, "_seq ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestWaitFor: a load waits for a compose that holds the lock, can be interrupted while it waits,
// goes on when the compose is done, and keeps others out as long as it works.
func TestWaitFor(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addMarked(t)
	w.pullOnce(t, "f42")
	lock := filepath.Join(t.TempDir(), "compose.lock")
	f, err := os.Create(lock)
	must(t, err)
	defer f.Close()
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_SH))
	waits := func(r *running) func() bool {
		return func() bool {
			// It has the file open.
			fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.cmd.Process.Pid))
			must(t, err)
			for _, fd := range fds {
				if to, err := os.Readlink(fd); err == nil && to == lock {
					return true
				}
			}
			return false
		}
	}
	before := w.database(t, "")
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r := start(t, w.loadArgs("--wait-for", lock)...)
		r.until("it waited", waits(r))
		if o := r.end(signal); o.code != 1 || !strings.Contains(o.stderr, "interrupted") || !strings.Contains(o.stderr, lock) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q", signal, o.code, o.stderr)
		}
	}
	if after := w.database(t, ""); after != before {
		t.Errorf("something changed: %s", firstDifference(before, after))
	}
	r := start(t, w.loadArgs("--wait-for", lock)...)
	r.until("it waited", waits(r))
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
	if err := <-r.ended; err != nil || len(r.stderr.String()) > 0 {
		t.Errorf("after the compose: %v, %s", err, r.stderr.String())
	}
	if after := w.database(t, ""); after == before {
		t.Error("nothing was loaded")
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "no", "such"), t.TempDir()} {
		if o := kojisnapRun(t, w.loadArgs("--wait-for", bad)...); o.code != 1 || !strings.Contains(o.stderr, bad) {
			t.Errorf("--wait-for %s: exit code %d, %q", bad, o.code, o.stderr)
		}
	}
	_, err = lockfile.Lock(t.Context(), lock, false)
	must(t, err) // nobody holds it any longer
}
