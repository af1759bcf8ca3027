package integration_test

import (
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestRowRefusedByStaging: staging's tables refuse one of production's rows, by a constraint that only
// they have. That build stays out, with what hangs on it, and is named; all else is loaded, at every
// sync, until the row fits.
func TestRowRefusedByStaging(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	dbtest.Exec(t, w.dsn, "ALTER TABLE build ADD CONSTRAINT site_epoch CHECK (epoch IS NULL OR epoch < 9)")
	where := hubtest.Values{"id": w.buildID(t, "bash/5.3.0/2.fc42")}
	w.update(t, "build", where, hubtest.Values{"epoch": 9})

	succeed(t, "pull", "-c", c)
	for _, json := range []string{"--json=false", "--json"} { // it is tried, and named, again
		o := kojisnapRun(t, "load", "-c", c, json)
		if o.code != 3 || strings.Count(o.stderr, "\n") != 2 || !strings.Contains(o.stderr, "left out: build id=") || !strings.Contains(o.stderr, "it does not meet the check site_epoch") {
			t.Errorf("exit code %d: %s", o.code, o.stderr)
		}
		if strings.Contains(o.stdout, `"bad": [`) != (json == "--json") {
			t.Errorf("%s: %s", json, o.stdout)
		}
		var builds, bash int
		must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE id = $1) FROM build`, where["id"]).Scan(&builds, &bash))
		if builds < 30 || bash != 0 {
			t.Errorf("%d builds are there, of the odd one %d", builds, bash)
		}
	}
	w.update(t, "build", where, hubtest.Values{"epoch": nil})
	succeed(t, "pull", "-c", c, "--full")
	succeed(t, "load", "-c", c)
}
