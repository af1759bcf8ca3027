package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"kojisnap/hardlink/fleet"
	"kojisnap/kojisnap/lockfile"
)

// fleetStatus is what copy --status --queue prints with --json.
func (f *fleetSite) status(t *testing.T) (st fleet.Status, code int) {
	t.Helper()
	o := kojisnapRun(t, "copy", "--builds", "all", "--status", "--topdir", f.topdir, "--queue", f.dsn, "--json")
	if err := json.Unmarshal([]byte(o.stdout), &st); err != nil {
		t.Fatalf("%v: %s%s", err, o.stdout, o.stderr)
	}
	return st, o.code
}

// TestFleet: three workers, which are kojisnap's own processes, copy all builds by a queue while one is killed and one is told
// to stop. Each file is there once and whole, and copy --builds all without the queue finds all done.
func TestFleet(t *testing.T) {
	t.Parallel()
	f := newFleetSite(t, 12, 8, 100_000, "")
	f.pace = rate.NewLimiter(2_000_000, 1<<20)
	if o := kojisnapRun(t, f.args("copy", "127.0.0.1", "--builds", "all", "--dry-run")...); o.code != 3 || !strings.Contains(o.stdout, "queue 12 shards") {
		t.Errorf("dry run: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	if o := kojisnapRun(t, f.args("worker", "127.0.0.1")...); o.code != 2 || !strings.Contains(o.stderr, "is not known to any queue") {
		t.Errorf("a worker before the plan: exit %d, %s", o.code, o.stderr)
	}
	var r fleet.Enqueued
	must(t, json.Unmarshal([]byte(f.enqueue(t, "--json").stdout), &r))
	if r.Shards != 12 || r.Queued != 12 || r.Files != 96 {
		t.Errorf("%+v", r)
	}
	must(t, json.Unmarshal([]byte(f.enqueue(t, "--json").stdout), &r))
	if r.Queued != 0 || r.Waiting != 12 {
		t.Errorf("again: %+v", r)
	}
	args := f.args("worker", "127.0.0.1", "--until-done", "--log-format", "json", "-v")
	workers := []*running{start(t, args...), start(t, args...), start(t, args...)}
	workers[0].until("something was served", func() bool { return f.served.Load() > 1_000_000 })
	if o := workers[0].end(syscall.SIGKILL); o.code != -1 {
		t.Fatalf("the worker ended before it was killed: %d", o.code)
	}
	if o := workers[1].end(syscall.SIGTERM); o.code != 0 {
		t.Errorf("a worker that was told to stop: exit %d: %s", o.code, o.stderr)
	}
	if st, code := f.status(t); code != 3 || st.Complete() || st.Shards.Left == 0 || st.Snapshot != f.snapshot || st.Bytes.Done == 0 {
		t.Errorf("exit %d: %+v", code, st)
	}
	f.pace.SetLimit(rate.Inf)
	select {
	case <-workers[2].ended:
	case <-time.After(2 * time.Minute):
		t.Fatal("the worker does not end")
	}
	if code := workers[2].cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d: %s", code, workers[2].stderr.String())
	}
	f.checkWhole(t)
	if st, code := f.status(t); code != 0 || !st.Complete() || st.Files.Done != 96 {
		t.Errorf("exit %d: %+v", code, st)
	}
	served := f.served.Load()
	local := func(more ...string) outcome {
		return kojisnapRun(t, append([]string{"copy", "--builds", "all", "--store", f.store, "--snapshot", f.snapshot, "--topdir", f.topdir, "--source", f.args("", "127.0.0.1")[10]}, more...)...)
	}
	if o := local("--status"); o.code != 0 || !strings.Contains(o.stdout, "12 of 12 shards whole") {
		t.Errorf("by the ledgers: exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if o := local(); o.code != 0 || f.served.Load() != served {
		t.Errorf("a copy without the queue: exit %d, %d bytes were served again: %s", o.code, f.served.Load()-served, o.stderr)
	}

	// An audit by the queue finds a damaged file, and names its shard; repair makes it again.
	damaged := filepath.Join(f.topdir, "vol/staged/packages/fleet003/1/1/x86_64/fleet003-2-1-1.x86_64.rpm")
	info, err := os.Stat(damaged)
	must(t, err)
	body, err := os.ReadFile(damaged)
	must(t, err)
	body[len(body)-1] ^= 1
	must(t, os.Remove(damaged))
	must(t, os.WriteFile(damaged, body, 0o644))
	must(t, os.Chtimes(damaged, info.ModTime(), info.ModTime()))
	f.enqueue(t, "--verify", "digest")
	o := kojisnapRun(t, args...)
	if o.code != 3 || !strings.Contains(o.stderr, "1 of 12 shards are not done") || !strings.Contains(o.stderr, "fleet003") {
		t.Errorf("audit: exit %d: %s", o.code, o.stderr)
	}
	f.enqueue(t, "--repair")
	if o := kojisnapRun(t, args...); o.code != 0 {
		t.Errorf("repair: exit %d: %s", o.code, o.stderr)
	}
	f.checkWhole(t)
}

// TestFleetPart: the parts of a rolling audit are all shards, each once.
func TestFleetPart(t *testing.T) {
	t.Parallel()
	f := newFleetSite(t, 7, 1, 3000, "")
	f.enqueue(t)
	args := f.args("worker", "127.0.0.1", "--until-done")
	succeed(t, args...)
	sum := 0
	for _, part := range []string{"1/3", "2/3", "3/3"} {
		var r fleet.Enqueued
		must(t, json.Unmarshal([]byte(f.enqueue(t, "--audit", "--verify", "digest", "--part", part, "--json").stdout), &r))
		if r.Queued == 0 || r.Queued > 3 || r.Done != 7-r.Queued {
			t.Errorf("part %s: %+v", part, r)
		}
		sum += r.Queued
		succeed(t, args...)
	}
	if sum != 7 {
		t.Errorf("%d shards were looked at, want 7", sum)
	}
	// Without a queue, too; and only of an audit.
	local := append([]string{"copy"}, f.args("", "127.0.0.1")[1:7]...)
	local = append(local, f.args("", "127.0.0.1", "--builds", "all", "--part", "2/3")[9:]...)
	succeed(t, append(local, "--verify", "digest")...)
	if o := kojisnapRun(t, local...); o.code != 2 || !strings.Contains(o.stderr, "--part: ") {
		t.Errorf("--part without an audit: exit %d, %s", o.code, o.stderr)
	}
}

// TestFleetLock: a lock file in the configuration, which a sync holds, is not the workers'.
func TestFleetLock(t *testing.T) {
	t.Parallel()
	f := newFleetSite(t, 1, 1, 3000, "")
	f.enqueue(t)
	lock, config := filepath.Join(f.dir, "lock"), filepath.Join(f.dir, "c.toml")
	must(t, os.WriteFile(config, []byte("lock-file = '"+lock+"'\nexit-on-lock = true\n"), 0o644))
	unlock, err := lockfile.Lock(t.Context(), lock, false)
	must(t, err)
	defer unlock()
	if o := kojisnapRun(t, f.args("worker", "127.0.0.1", "-c", config, "--until-done", "--lock-file", lock)...); o.code != 4 {
		t.Errorf("with a lock file of its own: exit %d, %s", o.code, o.stderr)
	}
	succeed(t, f.args("worker", "127.0.0.1", "-c", config, "--until-done")...)
	f.checkWhole(t)
}

// TestFleetHeld: a shard of which a file is lost fails at once, is named, and others are copied; the next plan tries it again.
func TestFleetHeld(t *testing.T) {
	t.Parallel()
	f := newFleetSite(t, 4, 3, 3000, "")
	f.hidden.Store("fleet002-1-1-1.x86_64.rpm")
	f.enqueue(t)
	args := f.args("worker", "127.0.0.1", "--until-done", "--json")
	o := kojisnapRun(t, args...)
	if o.code != 3 || !strings.Contains(o.stderr, "1 of 4 shards are not done; failed: 00003;") || !strings.Contains(o.stderr, "fleet002-1-1-1.x86_64.rpm") {
		t.Errorf("exit %d: %s%s", o.code, o.stdout, o.stderr)
	}
	f.checkWhole(t, "fleet002/")
	if st, code := f.status(t); code != 3 || !st.Settled() || len(st.Failures) != 1 || st.Failures[0].Shard != "00003" {
		t.Errorf("exit %d: %+v", code, st)
	}
	f.hidden.Store("")
	f.enqueue(t)
	succeed(t, args...)
	f.checkWhole(t)
}
