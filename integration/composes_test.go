package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes"
)

// removing adds to the flags of a sync that copies which no compose needs go at once, while no compose runs.
func removing(t testing.TB, args ...string) []string {
	t.Helper()
	lock := filepath.Join(t.TempDir(), "composes")
	must(t, os.WriteFile(lock, nil, 0o644))
	return append(args, "--keep-days", "0", "--wait-for", lock)
}

// nextEvent lets production go on: at the event a build is untagged, whose path is returned.
func (w *env) nextEvent(t testing.TB, event int) string {
	t.Helper()
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": event, "time": "2026-11-21 01:00:00+00"}))
	return w.untagLatest(t, event)
}

// TestWaitsForWhom: a sync says with -v who holds the lock that composes hold, and the records say it, too, and
// how long.
func TestWaitsForWhom(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	lock := filepath.Join(t.TempDir(), "composes")
	compose := exec.Command("flock", "-s", lock, "sleep", "600")
	must(t, compose.Start())
	ended := func() { _ = compose.Process.Kill(); _ = compose.Wait() }
	defer ended()
	holds := fmt.Sprintf("pid %d (flock sleep)", compose.Process.Pid)
	// The lock is there once flock(1) has begun what it runs.
	for {
		kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", compose.Process.Pid, compose.Process.Pid))
		if len(kids) > 0 {
			child := strings.Fields(string(kids))[0]
			defer exec.Command("kill", child).Run()
			if comm, _ := os.ReadFile("/proc/" + child + "/comm"); string(comm) == "sleep\n" {
				break
			}
		}
	}
	// A dry run has no reason to wait.
	if o := kojisnapRun(t, "sync", "-c", c, "-n", "--wait-for", lock); o.code != 3 {
		t.Errorf("a dry run: exit code %d, %s", o.code, o.stderr)
	}
	r := start(t, "sync", "-c", c, "-v", "--no-verify", "--progress", "none", "--wait-for", lock)
	r.until("it told of the compose", func() bool { return strings.Contains(r.stderr.String(), holds) })
	// flock(1) has handed its lock to sleep, too, which has to end.
	kids, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", compose.Process.Pid, compose.Process.Pid))
	must(t, err)
	must(t, exec.Command("kill", strings.Fields(string(kids))...).Run())
	must(t, <-r.ended)
	if text := r.stderr.String(); strings.Count(text, holds) != 1 || !strings.Contains(text, lock) {
		t.Errorf("-v said %q", text)
	}
	var status struct {
		Runs []struct {
			Report struct {
				Waited *struct {
					File    string
					Seconds float64
					Holders []string
				}
			}
		}
		Syncs []struct{ Report kojisnap.SyncReport }
	}
	must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &status))
	waited := status.Runs[0].Report.Waited
	if waited == nil || waited.File != lock || waited.Seconds <= 0 || !slices.Equal(waited.Holders, []string{holds}) {
		t.Errorf("the load's record: %+v", waited)
	}
	steps := status.Syncs[0].Report.Steps
	if i := slices.IndexFunc(steps, func(s kojisnap.SyncStep) bool { return s.Waited != nil }); i < 0 || steps[i].Name != "load" || !slices.Equal(steps[i].Waited.Holders, []string{holds}) {
		t.Errorf("the sync's record: %+v", steps)
	}
	if text := succeed(t, "status", "-c", c, "-v"); strings.Count(text, "for "+holds) != 2 {
		t.Errorf("status -v: %s", text)
	}
	// One that need not wait says nothing of it.
	o := kojisnapRun(t, "sync", "-c", c, "-v", "--no-verify", "--progress", "none", "--wait-for", lock)
	if o.code != 0 || strings.Contains(o.stderr, lock) {
		t.Errorf("exit code %d, %s", o.code, o.stderr)
	}
}

// lockSeen notes for the steps of a sync whether composes could begin then.
type lockSeen struct {
	progress.Progress
	t    *testing.T
	lock string

	mu   sync.Mutex // parts of a pull begin together
	free map[string]bool
}

func (l *lockSeen) Begin(name string, total int64) progress.Counter {
	l.mu.Lock()
	defer l.mu.Unlock()
	unlock, err := lockfile.Lock(l.t.Context(), l.lock, false)
	if l.free[name] = err == nil; err == nil {
		unlock()
	}
	return l.Progress.Begin(name, total)
}

// TestComposesWaitForRemoval: composes that hold the lock of --wait-for begin before the load or after the removal,
// and not in between.
func TestComposesWaitForRemoval(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	snap := w.pull(t, lastEvent, "f42-compose")
	w.copy(t, snap, compose.Want{})
	w.load(t, snap)
	w.nextEvent(t, 420)
	seen := &lockSeen{Progress: progress.OrDiscard(nil), t: t, lock: filepath.Join(t.TempDir(), "composes"), free: map[string]bool{}}
	o := kojisnap.SyncOptions{Hub: w.prod,
		Pull:   pull.Options{Tags: []string{"f42-compose"}, Event: 420, Program: "test", Progress: seen},
		Copy:   kojisnap.CopyOptions{Topdir: w.topdir, Sources: []string{w.prodTree}, WritableSource: true, Progress: seen},
		Load:   kojisnap.LoadOptions{DSN: w.dsn, Topdir: w.topdir, WaitFor: seen.lock},
		Verify: verify.Options{Hub: w.staging, Topdir: w.topdir, Progress: seen},
	}
	o.Load.Progress = seen
	r, err := kojisnap.Sync(t.Context(), w.store, o)
	must(t, err)
	if r.Remove.Report.Removed != 1 {
		t.Errorf("removed %d builds", r.Remove.Report.Removed)
	}
	if free, ok := seen.free["remove"]; !ok || free {
		t.Errorf("composes could begin during the removal: %v", seen.free)
	}
	if free, ok := seen.free["merge"]; !ok || free {
		t.Errorf("composes could begin during the load: %v", seen.free)
	}
	for _, step := range []string{"compare files", "verify files"} {
		if !seen.free[step] {
			t.Errorf("composes had to wait for %q: %v", step, seen.free)
		}
	}
	unlock, err := lockfile.Lock(t.Context(), seen.lock, false)
	must(t, err) // it was let go of
	unlock()
}

// TestNoRemovalUnderComposes: that copies go at once needs a lock on which composes are waited for.
func TestNoRemovalUnderComposes(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	configured := func(text string) string {
		path := filepath.Join(t.TempDir(), "kojisnap.toml")
		must(t, os.WriteFile(path, []byte(strings.Replace(w.read(t, c), "[copy]\n", text, 1)), 0o644))
		return path
	}
	zero := configured("[copy]\nkeep-days = 0\n")
	before := w.state(t)
	for _, args := range [][]string{
		{"sync", "-c", c, "--keep-days", "0"}, {"sync", "-c", zero}, {"sync", "-c", zero, "-n"},
		{"copy", "-c", c, "--keep-days", "0"}, {"copy", "-c", zero},
	} {
		if o := kojisnapRun(t, args...); o.code != 2 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, "--keep-days 0") || !strings.Contains(o.stderr, "--wait-for") {
			t.Errorf("%v: exit code %d, %q", args, o.code, o.stderr)
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("something changed: %s", firstDifference(before, after))
	}
	if o := kojisnapRun(t, "doctor", "-c", zero); o.code != 3 || !strings.Contains(o.stdout, "--keep-days 0") {
		t.Errorf("doctor: exit code %d, %q", o.code, o.stdout)
	}
	lock := filepath.Join(t.TempDir(), "composes")
	for name, text := range map[string]string{
		"load":  fmt.Sprintf("[load]\nwait-for = %q\n[copy]\nkeep-days = 0\n", lock),
		"other": "[copy]\nkeep-days = 1\n",
	} {
		file := configured(text)
		if o := kojisnapRun(t, "sync", "-c", file, "--no-verify"); o.code != 0 {
			t.Errorf("%s: exit code %d, %q", name, o.code, o.stderr)
		}
		if o := kojisnapRun(t, "copy", "-c", file); name == "load" && o.code != 0 && !strings.Contains(o.stderr, "snapshot") {
			t.Errorf("%s: exit code %d, %q", name, o.code, o.stderr)
		}
	}
}

// TestComposeAtAnOlderEvent: a compose that is pinned at an event that was loaded before finds each rpm of that
// event after the copies that only it needs are gone: by the paths that the hub names now, and by those that it
// named before, which the compose, or one whose package set it uses again, may have on record.
func TestComposeAtAnOlderEvent(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	w.readOnly(t)
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	paths := func() map[string]string {
		t.Helper()
		v, err := w.staging.Call(t.Context(), hub.Call{Method: "listTaggedRPMS", Args: []any{"f42-compose"}, Kwargs: map[string]any{"event": lastEvent, "inherit": true, "latest": true}})
		must(t, err)
		dirs := map[int64]string{}
		for _, b := range v.Index(1).Items() {
			id, _ := b.Field("build_id").Int()
			text := func(name string) string { s, _ := b.Field(name).Str(); return s }
			dirs[id], err = volumes.Build{Volume: text("volume_name"), Name: text("name"), Version: text("version"), Release: text("release")}.Dir()
			must(t, err)
		}
		found := map[string]string{}
		for _, r := range v.Index(0).Items() {
			build, _ := r.Field("build_id").Int()
			text := func(name string) string { s, _ := r.Field(name).Str(); return s }
			rpm := volumes.RPM{Name: text("name"), Version: text("version"), Release: text("release"), Arch: text("arch")}
			rel, err := rpm.Path()
			must(t, err)
			found[rpm.File()] = dirs[build] + "/" + rel
		}
		return found
	}
	before := paths()
	gone := w.nextEvent(t, 420)
	succeed(t, removing(t, "sync", "-c", c, "--event", "420")...)
	if info, err := os.Lstat(filepath.Join(w.topdir, "vol/staged/packages", gone)); err != nil || info.IsDir() {
		t.Fatalf("the copy of %s is there: %v, %v", gone, info, err)
	}
	after := paths()
	if len(before) < 100 || len(after) != len(before) {
		t.Fatalf("%d rpms before, %d after", len(before), len(after))
	}
	moved := 0
	for rpm, was := range before {
		if strings.Contains(was, "/"+gone+"/") {
			moved++
		}
		for _, path := range []string{was, after[rpm]} {
			info, err := os.Stat(filepath.Join(w.topdir, path))
			if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
				t.Errorf("%s: %v, %v", path, info, err)
			}
		}
	}
	if moved == 0 {
		t.Errorf("no rpm was of %s", gone)
	}
}
