package integration_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
)

// TestWholeSync: what status and monitoring say is what the whole sync came to, verify included, until a
// load by itself says something else.
func TestWholeSync(t *testing.T) {
	t.Parallel()
	w := newPulledEnv(t)
	c := w.config(t, "f42-compose")
	type syncs struct {
		Syncs        []book.SyncRun
		LastGoodSync *book.SyncRun `json:"last_good_sync"`
	}
	read := func(exits ...int) syncs {
		t.Helper()
		var s syncs
		must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &s))
		var got []int
		for _, r := range s.Syncs {
			got = append(got, r.Exit)
		}
		if !slices.Equal(got, exits) {
			t.Errorf("exit codes %v, want %v", got, exits)
		}
		return s
	}
	file := func() (r kojisnap.SyncRecord) {
		t.Helper()
		must(t, json.Unmarshal([]byte(w.read(t, filepath.Join(w.topdir, ".kojisnap/sync.json"))), &r))
		return r
	}
	read()
	kojisnapRun(t, "sync", "-c", c, "--dry-run")
	read()

	// All is well. Verify's warnings are on record, too.
	succeed(t, "sync", "-c", c)
	s := read(0)
	run := s.Syncs[0]
	report, err := kojisnap.ReadSyncReport(run)
	must(t, err)
	var steps []string
	for _, step := range report.Steps {
		steps = append(steps, step.Name)
		if step.Seconds <= 0 || len(step.Counts) == 0 || step.Error != "" {
			t.Errorf("step %+v", step)
		}
	}
	if !slices.Equal(steps, []string{"pull", "copy", "load", "remove", "verify"}) || report.Store != w.store.String() || s.LastGoodSync == nil || s.LastGoodSync.ID != run.ID ||
		!strings.HasPrefix(run.Snapshot, "419-") || run.Event != lastEvent || run.Error != "" || run.Version == "" || !strings.Contains(run.Who, "@") || run.LastLoad != 1 ||
		!run.Finished.After(run.Started) || !has(report.Checks, "channel createrepo", "no enabled host") {
		t.Errorf("%+v\n%+v", run, report)
	}
	if f := file(); f.Exit != 0 || f.Snapshot != run.Snapshot || len(f.Report.Steps) != 5 || f.Who != run.Who {
		t.Errorf("beside the ledger: %+v", f)
	}
	plugin(t, 0, "last success", "-c", c)

	// Verify finds something: the loads are as good as ever.
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size + 1 WHERE id = 53")
	for range 2 {
		if o := kojisnapRun(t, "sync", "-c", c); o.code != 3 {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
	}
	read(3, 3, 0)
	const what = "rpms f42-compose x86_64: 1 of 109"
	plugin(t, 2, "the last sync found staging not compose-ready (exit code 3): "+what, "-c", c)
	if text := succeed(t, "status", "-c", c); !strings.Contains(text, "exit code 3: "+what) || !strings.Contains(text, "last success  ") || strings.Contains(text, "run 2, snapshot") {
		t.Errorf("status: %s", text)
	}
	if text := succeed(t, "status", "-c", c, "-v"); strings.Count(text, what) < 2 || !strings.Contains(text, "step verify") || !strings.Contains(text, "channel createrepo") {
		t.Errorf("status -v: %s", text)
	}
	if f := file(); f.Exit != 3 || f.Error == "" || !has(f.Report.Checks, "rpms", "bash-5.3.0-2.fc42.x86_64") {
		t.Errorf("beside the ledger: %+v", f)
	}
	// A load by itself does not look at it, and no more than warns.
	succeed(t, "load", "-c", c)
	plugin(t, 1, "a load succeeded since", "-c", c)
	dbtest.Exec(t, w.dsn, "UPDATE rpminfo SET size = size - 1 WHERE id = 53")
	succeed(t, "sync", "-c", c)
	read(0, 3, 3, 0)
	plugin(t, 0, "last success", "-c", c)

	// A sync that fails is a warning, and in time, for no sync succeeds any more, worse.
	down := brokenHub(t)
	failed := []string{"sync", "-c", c, "--hub", down, "--hub-moved", down}
	if o := kojisnapRun(t, failed...); o.code != 5 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	s = read(5, 0, 3, 3, 0)
	if report, err := kojisnap.ReadSyncReport(s.Syncs[0]); err != nil || len(report.Steps) != 1 || report.Steps[0].Error == "" || s.Syncs[0].Snapshot != "" {
		t.Errorf("%+v, %v", report, err)
	}
	plugin(t, 1, "the last sync failed (exit code 5): pull: ", "-c", c)
	plugin(t, 2, "last success", "-c", c, "--warning", "0s", "--critical", "0s")
	// A command line that is wrong is no sync; that its words mean nothing is found on the way.
	kojisnapRun(t, "sync", "-c", c, "--no-such-flag")
	kojisnapRun(t, "sync", "-c", c, "--keep-days", "-1")
	kojisnapRun(t, "sync", "-c", c, "--arch", "x86-64")
	read(2, 5, 0, 3, 3, 0)
	plugin(t, 1, "(exit code 2): copy: no rpm of arch x86-64", "-c", c)

	// Files that production has lost.
	lost, err := filepath.Glob(filepath.Join(w.prodTree, "packages/coreutils/*/*/data/signed/*/x86_64/*.rpm"))
	must(t, err)
	plain, err := filepath.Glob(filepath.Join(w.prodTree, "packages/coreutils/*/*/x86_64/*.rpm"))
	must(t, err)
	for _, path := range append(lost, plain...) {
		must(t, os.Remove(path))
	}
	must(t, os.RemoveAll(filepath.Join(w.topdir, "vol/staged/packages/coreutils")))
	if o := kojisnapRun(t, "sync", "-c", c); o.code != 3 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if s := read(3, 2, 5, 0, 3, 3, 0); !strings.Contains(s.Syncs[0].Error, "no source has ") || !strings.Contains(s.Syncs[0].Error, "files f42-compose x86_64:") {
		t.Errorf("%+v", s.Syncs[0])
	}
	plugin(t, 2, "no source has ", "-c", c)

	// The database that is not there does not remember, topdir does.
	if o := kojisnapRun(t, "sync", "-c", c, "--db", "host=127.0.0.1 port=1 dbname=koji connect_timeout=2"); o.code != 5 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if f := file(); f.Exit != 5 || !strings.Contains(f.Error, "database koji") {
		t.Errorf("beside the ledger: %+v", f)
	}
	read(3, 2, 5, 0, 3, 3, 0)
}
