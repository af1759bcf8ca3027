package integration_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// TestOtherHub: a snapshot of another production is refused before anything is done; a hub that has moved
// is taken if someone says so, and only if it shows to be the same production.
func TestOtherHub(t *testing.T) {
	t.Parallel()
	w := newLoadedEnv(t)
	here := w.config(t, "f42-compose")
	succeed(t, "load", "-c", here) // which writes the event's file
	database := w.dsn

	// production serves the same rows at another address, changed.
	production := func(change func(m *hubtest.Memory)) (url, config string) {
		t.Helper()
		rows, err := hubtest.Rows(kojiprod.Rows())
		must(t, err)
		must(t, generate.AddContentTag(rows))
		change(rows)
		_, url = serve(t, rows, hubtest.Options{})
		body, err := os.ReadFile(here)
		must(t, err)
		config = here + "-" + strings.NewReplacer("/", "", ":", "").Replace(url) + ".toml"
		must(t, os.WriteFile(config, []byte(strings.Replace(string(body), w.prodURL, url, 1)), 0o644))
		return url, config
	}
	update := func(m *hubtest.Memory, table string, where, set hubtest.Values) {
		t.Helper()
		n, err := m.Update(table, where, set)
		must(t, err)
		if n == 0 {
			t.Fatalf("no row of %s is %v", table, where)
		}
	}
	same := &still{w: w}
	succeed := func(t *testing.T, args ...string) string {
		t.Helper()
		same.end(t, "before ", fmt.Sprint(args))
		return succeed(t, args...)
	}
	refused := func(says string, args ...string) {
		t.Helper()
		same.begin(t)
		o := kojisnapRun(t, args...)
		if o.code != 2 || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, says) || !strings.Contains(o.stderr, "another production") {
			t.Errorf("%v: exit code %d, want 2 and %q: %q, %q", args, o.code, says, o.stdout, o.stderr)
		}
		same.refused(t, args)
	}

	// Another production: its events are others'.
	other, c := production(func(m *hubtest.Memory) {
		update(m, "package", hubtest.Values{"id": 1}, hubtest.Values{"name": "renamed"})
		update(m, "events", hubtest.Values{"id": 419}, hubtest.Values{"time": "2026-11-20 01:00:00+00"})
	})
	cure := "if it is the same production under a new address, --hub-moved " + other
	refused(cure, "sync", "-c", c)
	foreign := strings.TrimSpace(succeed(t, "pull", "-c", c))
	refused(cure, "load", "-c", c)
	refused(cure, "load", "-c", here, "--snapshot", foreign)
	refused("--hub-moved says "+w.prodURL, "load", "-c", c, "--hub-moved", w.prodURL)
	refused("happened at another time", "load", "-c", c, "--hub-moved", other)
	refused("happened at another time", "sync", "-c", c, "--hub-moved", other)
	if got := one(t, w.dsn, "SELECT name FROM package WHERE id = 1"); got == "renamed" {
		t.Error("another production's name of a package is in the database")
	}

	// Builds that are others'.
	other, c = production(func(m *hubtest.Memory) {
		update(m, "build", hubtest.Values{}, hubtest.Values{"version": "77"})
	})
	succeed(t, "pull", "-c", c)
	refused("are others (", "load", "-c", c, "--hub-moved", other)

	// The same production, moved.
	other, c = production(func(*hubtest.Memory) {})
	moved := strings.TrimSpace(succeed(t, "pull", "-c", c))
	refused("--hub-moved "+other, "load", "-c", c)
	if out := succeed(t, "load", "-c", c, "--hub-moved", other, "--dry-run"); !strings.Contains(out, "note: production's hub is at "+other+" now") {
		t.Errorf("the same rows at another address: %q", out)
	}
	succeed(t, "load", "-c", c, "--hub-moved", other)
	succeed(t, "load", "-c", c)
	refused("--hub-moved "+w.prodURL, "load", "-c", here)

	// The key may stay in the configuration.
	body, err := os.ReadFile(c)
	must(t, err)
	must(t, os.WriteFile(c, []byte(strings.Replace(string(body), "[pull]", "[load]\nhub-moved = \""+other+"\"\n[pull]", 1)), 0o644))
	succeed(t, "load", "-c", c, "--snapshot", moved)

	// The next event. The first snapshot from another address does not have what was revoked by then.
	next, c2 := production(func(m *hubtest.Memory) {
		must(t, m.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))
	})
	succeed(t, "pull", "-c", c2, "--event", "420")
	if o := kojisnapRun(t, "load", "-c", c2, "--hub-moved", next, "--dry-run"); o.code != 3 || !strings.Contains(o.stdout+o.stderr, "does not tell what was revoked before it") ||
		!strings.Contains(o.stdout+o.stderr, "kojisnap pull --since 419, then kojisnap load") {
		t.Errorf("exit code %d: %q, %q", o.code, o.stdout, o.stderr)
	}

	// A database with nothing that proves anything.
	same.end(t, "the database")
	w.addMarked(t)
	dbtest.Exec(t, w.dsn, `INSERT INTO kojisnap.run SELECT 1, now(), now(), '1-0123456789ab', 1, 'https://koji.example.com/kojihub', 'full', 'changed', '', '', '', NULL`)
	refused("nothing proves them to be of the same production", "load", "-c", c, "--db", w.dsn, "--snapshot", moved, "--hub-moved", other, "--event-file", "")
	same.end(t, "a database with nothing")
	w.dsn = database

	// A database of an earlier kojisnap has no hub on record.
	dbtest.Exec(t, w.dsn, "UPDATE kojisnap.run SET hub = ''")
	succeed(t, "load", "-c", here)
	refused("--hub-moved "+other, "load", "-c", c, "--hub-moved", "")
	same.end(t, "at the end")
}
