package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
)

// halves writes the configurations of two hosts that share a sync by a store: the one that pulls, and the one that
// applies. Neither has a key of the other's.
func (w *env) halves(t testing.TB, store string, tags ...string) (pulls, applies string) {
	t.Helper()
	dir := t.TempDir()
	pulls, applies = filepath.Join(dir, "pull.toml"), filepath.Join(dir, "apply.toml")
	must(t, os.WriteFile(pulls, []byte(fmt.Sprintf(`
store = %q
[pull]
hub   = %q
tag   = ["%s"]
event = %d
[sync]
only  = "pull"
stamp = %q
`, store, w.prodURL, strings.Join(tags, `", "`), lastEvent, filepath.Join(dir, "pulled"))), 0o644))
	must(t, os.WriteFile(applies, []byte(fmt.Sprintf(`
env    = "stg"
store  = %q
db     = %q
topdir = %q
[copy]
source = [%q]
writable-source = true # a directory of this machine
sigkey = ["41526f0e", ""]
[verify]
hub    = %q
[sync]
only   = "apply"
stamp  = %q
`, store, w.dsn, w.topdir, w.prodTree, w.stagingURL, filepath.Join(dir, "applied"))), 0o644))
	return pulls, applies
}

// onlyReads mounts a directory over itself, read-only.
func onlyReads(t testing.TB, dir string) {
	t.Helper()
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("no mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	must(t, syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
}

func stampOf(t testing.TB, config, name string) int64 {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(filepath.Dir(config), name))
	must(t, err)
	at, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
	must(t, err)
	return at
}

// TestHalves: one host pulls on a neutral network, another one applies beside the hub, and a directory that both have
// is all that they share. Each checks only what it needs, is content without the other's keys, and tells how the other
// is; a pull host that stopped is found out, though each apply succeeds.
func TestHalves(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	shared := w.store.String()
	pulls, applies := w.halves(t, shared, "f42-compose")

	// Before the first pull.
	if o := kojisnapRun(t, "sync", "-c", applies); o.code != 1 || !strings.Contains(o.stderr, "holds no snapshot; kojisnap pull makes one") {
		t.Errorf("apply of nothing: exit code %d: %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "doctor", "-c", applies, "--json"); o.code != 3 || !strings.Contains(o.stdout, "holds no snapshot") {
		t.Errorf("doctor of apply before a pull: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if out := succeed(t, "doctor", "-c", pulls); strings.Count(out, "not needed by --only pull") != 5 {
		t.Errorf("doctor of pull: %s", out)
	}
	if o := kojisnapRun(t, "sync", "-c", pulls, "-n"); o.code != 3 || !strings.HasPrefix(o.stdout, "# pull\n") || strings.Contains(o.stdout, "# load") || o.stderr != "" {
		t.Errorf("dry run of pull: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}

	var r kojisnap.SyncResult
	must(t, json.Unmarshal([]byte(succeed(t, "sync", "-c", pulls, "--json")), &r))
	if r.Only != kojisnap.OnlyPull || r.Pull == nil || r.Snapshot != r.Pull.Snapshot || r.Event != lastEvent || len(r.Steps) != 1 || r.Copy != nil || r.Load != nil || r.Verify != nil {
		t.Errorf("%+v", r)
	}
	if stampOf(t, pulls, "pulled") == 0 {
		t.Error("the pull left no stamp")
	}
	if out := succeed(t, "doctor", "-c", applies); strings.Count(out, "not needed by --only apply") != 1 || !strings.Contains(out, "the latest is "+r.Snapshot) {
		t.Errorf("doctor of apply: %s", out)
	}
	if o := kojisnapRun(t, "sync", "-c", applies, "-n"); o.code != 3 || strings.Contains(o.stdout, "# pull") || !strings.Contains(o.stdout, "# load of snapshot "+r.Snapshot) || o.stderr != "" {
		t.Errorf("dry run of apply: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}

	// The first apply does it all, the second one finds nothing to do, and verifies all the same.
	for i := range 2 {
		var a kojisnap.SyncResult
		must(t, json.Unmarshal([]byte(succeed(t, "sync", "-c", applies, "--json")), &a))
		var steps []string
		for _, s := range a.Steps {
			steps = append(steps, s.Name)
		}
		if got := strings.Join(steps, " "); got != "copy load remove verify" || a.Only != kojisnap.OnlyApply || a.Pull != nil || a.Snapshot != r.Snapshot || a.Load.Skipped != (i == 1) || !a.Verify.Ready() || a.Changed() != (i == 0) {
			t.Errorf("apply %d: %q, %+v", i, got, a)
		}
	}
	if stampOf(t, applies, "applied") == 0 {
		t.Error("the apply left no stamp")
	}
	if o := kojisnapRun(t, "sync", "-c", applies, "-n"); o.code != 0 {
		t.Errorf("dry run without news: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	plugin(t, 0, "last pull ", "-c", applies)
	if out := succeed(t, "status", "-c", applies); !strings.Contains(out, "last pull") || !strings.Contains(out, "last success") {
		t.Errorf("status: %s", out)
	}

	// The pull host stops; then its network does.
	p, err := repository.ReadPulled(t.Context(), w.store, w.prodURL, []string{"f42-compose"})
	must(t, err)
	if p == nil || p.Exit != 0 || p.Snapshot != r.Snapshot || p.Version == "" || !strings.Contains(p.Who, "@") {
		t.Fatalf("%+v", p)
	}
	old := *p
	old.Finished = time.Now().Add(-30 * time.Hour)
	must(t, repository.PutPulled(t.Context(), w.store, old))
	plugin(t, 1, "last pull 30 h ago", "-c", applies)
	plugin(t, 2, "last pull 30 h ago", "-c", applies, "--critical", "28h")
	plugin(t, 2, "last pull 30 h ago", "-c", applies, "--critical", "28h", "--all")
	if o := kojisnapRun(t, "sync", "-c", pulls, "--hub", brokenHub(t)); o.code != 5 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	succeed(t, "sync", "-c", applies)
	plugin(t, 1, "event 419 of", "-c", applies, "--max-event-age", "1h", "--warning", "100h", "--critical", "200h")

	// A store that this host may only read.
	onlyReads(t, shared)
	succeed(t, "sync", "-c", applies)
	if o := kojisnapRun(t, "sync", "-c", applies, "-v"); o.code != 0 || strings.Count(o.stderr, "the store takes no notes from this host") != 1 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if o := kojisnapRun(t, "doctor", "-c", applies); o.code != 0 || !strings.Contains(o.stdout, "apply can do without") {
		t.Errorf("doctor: exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
}

// TestStatusAll: environments leave their records in the store, and status --all shows them without their databases:
// one that is ready, one that is not, one that an earlier kojisnap loaded, one that is gone.
func TestStatusAll(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	if out := succeed(t, "status", "--all", "-c", c); !strings.Contains(out, "no environment is on record") {
		t.Errorf("%q", out)
	}
	succeed(t, "sync", "-c", c)
	must(t, w.store.Put(t.Context(), "held/old", strings.NewReader(fmt.Sprintf(`{"hub":%q,"event":400,"loaded":"2020-01-01T00:00:00Z"}`, w.prodURL))))
	hostile := "x\nstg\t\x1b[31m|<b>"
	must(t, repository.UpdateEnvironment(t.Context(), w.store, "dev", func(e *repository.Environment) {
		e.Hub, e.Event, e.Snapshot, e.Tags, e.Loaded = w.prodURL, 300, hostile, []string{"f42-compose"}, time.Now().Add(-time.Hour)
		e.Sync = &repository.EnvironmentSync{Finished: time.Now().Add(-time.Minute), Exit: 3, Error: hostile}
	}))
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size + 1 WHERE id = 53")
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 3 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	// No database, no environment of the configuration's own.
	out := succeed(t, "status", "--all", "--store", w.store.String())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || strings.ContainsAny(out, "\x1b\t") {
		t.Fatalf("%q", out)
	}
	for i, says := range []string{"ENVIRONMENT", "(exit code 3): x stg", "loaded, never synced", "not compose-ready (exit code 3): rpms f42-compose x86_64: 1 of"} {
		if !strings.Contains(lines[i], says) {
			t.Errorf("line %d: %q, want %q", i, lines[i], says)
		}
	}
	for i, says := range map[int]string{1: "119 events", 2: "19 events", 3: "nothing"} {
		if !strings.Contains(lines[i], says) {
			t.Errorf("line %d: %q, want %q", i, lines[i], says)
		}
	}
	var all struct {
		Environments []kojisnap.EnvironmentStatus
	}
	must(t, json.Unmarshal([]byte(succeed(t, "status", "--all", "--store", w.store.String(), "--json")), &all))
	if e := all.Environments[2]; e.Name != "stg" || e.Event != lastEvent || e.Newest != e.Snapshot || e.Behind != 0 || e.Pin != lastEvent || e.Version == "" || e.Sync.Checks["failed"] == 0 || e.Sync.Succeeded.IsZero() || e.Sync.Exit != 3 {
		t.Errorf("%+v", e)
	}
	plugin(t, 2, "dev: the last sync found staging not compose-ready (exit code 3): x stg", "--all", "--store", w.store.String())
	// Environments may have stores of their own: each store is read once.
	second := filepath.Join(t.TempDir(), "second")
	must(t, os.Mkdir(second, 0o755))
	other, err := dir.Open(second)
	must(t, err)
	must(t, repository.UpdateEnvironment(t.Context(), other, "qa", func(e *repository.Environment) { e.Hub, e.Event, e.Loaded = w.prodURL, 7, time.Now() }))
	own := filepath.Join(t.TempDir(), "own.toml")
	must(t, os.WriteFile(own, []byte(fmt.Sprintf("[env.stg]\nstore = %[1]q\n[env.dev]\nstore = %[1]q\n[env.qa]\nstore = %[2]q\n", w.store, second)), 0o644))
	if out := succeed(t, "status", "--all", "-c", own); strings.Count(out, "\n") != 5 || !strings.Contains(out, second) || !strings.Contains(out, "STORE") {
		t.Errorf("%s", out)
	}
	for _, args := range [][]string{{"--event"}, {"--prometheus"}, {"--nagios", "--json"}} {
		if o := kojisnapRun(t, append([]string{"status", "--all", "-c", own}, args...)...); o.code != 2 && o.code != 3 {
			t.Errorf("%v: exit code %d", args, o.code)
		}
	}
	// Prune names those that nobody has seen for a month, and forgets on demand.
	o := kojisnapRun(t, "prune", "--keep", "1", "--store", w.store.String(), "--json")
	if o.code != 0 || strings.Count(o.stderr, "was not loaded or synced for 30 days") != 1 || !strings.Contains(o.stdout, `"unseen"`) {
		t.Errorf("prune: %d %s%s", o.code, o.stdout, o.stderr)
	}
	succeed(t, "prune", "--keep", "1", "--store", w.store.String(), "--forget", "old", "--forget", "dev")
	if out := succeed(t, "status", "--all", "--store", w.store.String()); strings.Count(out, "\n") != 2 {
		t.Errorf("%q", out)
	}
	if _, err := store.Store.Get(w.store, t.Context(), "held/old"); err == nil {
		t.Error("held/old is still there")
	}
}
