package integration_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/seedtest"
)

// TestFullImportKilled kills kojisnap amid a full import of everything, at each of its stages: no command but a load of
// the same snapshot can use the database, each says so in one line, and the last run completes. The hub then answers
// as after a merge.
func TestFullImportKilled(t *testing.T) {
	w := newHubEnv(t)
	production := dbtest.Fresh(t)
	sourcetest.Fill(t, production, w.prodRows)
	everything := strings.TrimSpace(succeed(t, "pull", "--hub", w.prodURL, "--from-db", production, "--everything", "--event", "419", "--store", w.store.String()))
	some := w.pull(t, lastEvent, "f42-compose").ID
	w.addMarked(t)
	conn, err := pgx.Connect(t.Context(), w.dsn)
	must(t, err)
	defer conn.Close(t.Context())
	load, other := w.loadArgs("--snapshot", everything), w.loadArgs("--snapshot", some)
	if o := kojisnapRun(t, append(load, "-n")...); o.code != 3 || !strings.Contains(o.stdout, "insert") || !strings.Contains(o.stdout, "full import") {
		t.Errorf("dry run: %+v", o)
	}
	stages := seedtest.Some([]string{
		"SELECT EXISTS (SELECT FROM kojisnap.import)",
		"SELECT count(*) >= 2 FROM kojisnap.import_table",
		"SELECT count(*) >= 9 FROM kojisnap.import_table",
		"SELECT count(*) FILTER (WHERE done) >= 20 FROM kojisnap.import_object",
		"SELECT bool_or(done) FROM kojisnap.import_object WHERE kind = 'foreign'",
	}, 3)
	for i, stage := range stages {
		r := start(t, load...)
		r.until(stage, func() (met bool) { return conn.QueryRow(t.Context(), stage).Scan(&met) == nil && met })
		r.end(syscall.SIGKILL)
		// A server needs a moment, on a busy machine a longer one, to see that a client has gone.
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			var held bool
			must(t, conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))").Scan(&held))
			if !held {
				break
			} else if time.Now().After(end) {
				t.Fatal("a server still holds the lock of who was killed")
			}
		}
		if i > 0 && i < len(stages)-1 {
			continue // it takes long to ask all
		}
		for _, c := range []struct {
			args []string
			says string
		}{
			{other, "--import restart"},
			{append(other, "-n"), "--import restart"},
			{[]string{"status", "--event", "--db", w.dsn}, "kojisnap load --snapshot " + everything},
			{[]string{"diff", "staging", "--db", w.dsn}, "is not whole"},
			{[]string{"verify", "--db", w.dsn, "--hub", w.stagingURL, "--topdir", w.topdir, "--store", w.store.String(), "--snapshot", everything, "--tag", "f42-compose"}, "is not whole"},
		} {
			o := kojisnapRun(t, c.args...)
			if o.code != 4 || !strings.Contains(o.stderr, c.says) || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("%v: exit code %d, %q", c.args, o.code, o.stderr)
			}
		}
		if o := kojisnapRun(t, "status", "--db", w.dsn); o.code != 0 || !strings.Contains(o.stdout, "full import") || !strings.Contains(o.stdout, "NOT READY") {
			t.Errorf("status: %+v", o)
		}
		if o := kojisnapRun(t, "status", "--db", w.dsn, "--json"); o.code != 0 || !strings.Contains(o.stdout, `"importing"`) {
			t.Errorf("status: %+v", o)
		}
	}
	succeed(t, load...)
	if o := kojisnapRun(t, append(load, "-n", "--audit")...); o.code != 0 {
		t.Errorf("changes are pending: %s%s", o.stdout, o.stderr)
	}
	succeed(t, append(other, "--import", "never")...)
}
