package integration_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/dbsource/sourcetest"
)

// TestSyncFromDB: a sync that reads production's database, with the hub out of reach, makes staging ready; a sync that
// asks the hub goes on from its snapshot and finds nothing to load, and so does one from the database after that.
// doctor asks the database.
func TestSyncFromDB(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	production := dbtest.Fresh(t)
	sourcetest.Fill(t, production, w.prodRows)
	config := w.config(t, "f42-compose")
	text, err := os.ReadFile(config)
	must(t, err)
	fromDB := strings.Replace(config, ".toml", "-db.toml", 1)
	must(t, os.WriteFile(fromDB, []byte(strings.Replace(string(text), "[pull]\n", "[pull]\nfrom-db = \""+production+"\"\n", 1)), 0o644))

	var r kojisnap.SyncResult
	sync := func(c string, rows int64) {
		t.Helper()
		o := kojisnapRun(t, "sync", "--json", "-c", c)
		r = kojisnap.SyncResult{}
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != 0 {
			t.Fatalf("exit code %d, %v\n%s%s", o.code, err, o.stdout, o.stderr)
		}
		in, up, gone := r.Load.Totals()
		if rows == 0 && in+up+gone > 0 || in < rows {
			t.Errorf("%d rows inserted, %d updated, %d removed; want %d inserted", in, up, gone, rows)
		}
	}
	sync(fromDB, 500)
	if r.Pull.Source == nil || r.Pull.Asked.Requests > 0 {
		t.Errorf("the pull asked the hub: %+v", r.Pull.Asked)
	}
	first := r.Snapshot
	sync(config, 0)
	if r.Pull.Source != nil || r.Pull.Base != first || r.Pull.Asked.Requests == 0 {
		t.Errorf("the hub's pull: base %q, want %s; %+v", r.Pull.Base, first, r.Pull.Asked)
	}
	second := r.Snapshot
	sync(fromDB, 0)
	if r.Pull.Base != second {
		t.Errorf("the database's pull: base %q, want %s", r.Pull.Base, second)
	}
	o := kojisnapRun(t, "doctor", "-c", fromDB)
	if o.code != 0 || !strings.Contains(o.stdout, "database of "+w.prodURL+": Koji 1.35, event 419") {
		t.Errorf("doctor: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}
