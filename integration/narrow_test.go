package integration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// relations are production's rows that a database has, by relation, and what kojisnap noted of tags. Events that no
// other row names do not count: a pull brings along more of them.
func (w *env) relations(t testing.TB) map[string][]string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, w.dsn)
	must(t, err)
	defer conn.Close(ctx)
	all := map[string][]string{}
	for name, sql := range map[string]string{"kojisnap.tag": "SELECT (tag_id, name, event)::text FROM kojisnap.tag ORDER BY 1"} {
		rows, err := conn.Query(ctx, sql)
		must(t, err)
		all[name], err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
	}
	for _, rel := range relation.All() {
		if rel.Name == "events" {
			continue
		}
		where := ""
		if rel.Key[0] == "id" {
			where = " WHERE t.id < (SELECT floor FROM kojisnap.mark)"
		}
		rows, err := conn.Query(ctx, "SELECT t::text FROM "+rel.Name+" t"+where+" ORDER BY 1")
		must(t, err)
		all[rel.Name], err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
	}
	return all
}

// sameRelations wants two databases to hold the same.
func sameRelations(t *testing.T, when string, got, want map[string][]string) {
	t.Helper()
	for name := range want {
		if slices.Equal(got[name], want[name]) {
			continue
		}
		beside := func(a, b []string) []string {
			return slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) })
		}
		too, missing := beside(got[name], want[name]), beside(want[name], got[name])
		t.Errorf("%s: %s: too many %q, missing %q", when, name, too[:min(3, len(too))], missing[:min(3, len(missing))])
	}
}

// TestNarrowLoad: production changes day by day. One environment loads only some tags of a pull of many, another one
// what was pulled for just these. Both databases hold the same rows after each load: after the first one, after
// loads of what changed, when a tag comes, when it leaves the scope, and an audit finds nothing.
func TestNarrowLoad(t *testing.T) {
	t.Parallel()
	for _, since := range []bool{false, true} {
		t.Run(fmt.Sprintf("history %v", since), func(t *testing.T) {
			t.Parallel()
			w := newHubEnv(t)
			w.addMarked(t)
			alone := &env{prodRows: w.prodRows, prod: w.prod, prodURL: w.prodURL, topdir: t.TempDir()}
			var err error
			alone.store, err = dir.Open(filepath.Join(t.TempDir(), "alone"))
			must(t, err)
			alone.addMarked(t)
			m, err := generate.NewMutator(w.prodRows, generate.MutatorOptions{Seed: 3, Tags: []string{"f42-compose", "f42", "f43-build"}, Pace: time.Minute})
			must(t, err)
			some, more := []string{"f42-compose"}, []string{"f42-compose", "f43-build"}
			deltas := 0
			rounds := [][]string{some, some, more, more, some}
			if since && !seedtest.Long() {
				rounds = [][]string{some, more, more} // history makes a difference to each load, whatever the tags
			}
			for round, tags := range rounds {
				event := newestEvent(t, w.prodRows)
				o := pull.Options{Event: event, Sweep: 1, Program: "test"}
				if since {
					o.Since = lastEvent - 50
				}
				got := w.loadOf(t, o, []string{"f42-compose", "f42-infra", "f43-build"}, tags, false)
				want := alone.loadOf(t, o, tags, nil, false)
				when := fmt.Sprintf("round %d, %v, event %d", round, tags, event)
				if got.Mode != want.Mode {
					t.Errorf("%s: mode %s, and %s alone", when, got.Mode, want.Mode)
				}
				if got.Mode == "delta" {
					deltas++
				}
				if !slices.Equal(got.LoadTags, tags) || !slices.Equal(got.Tags, want.Tags) {
					t.Errorf("%s: report %q of %q", when, got.LoadTags, got.Tags)
				}
				sameRelations(t, when, w.relations(t), alone.relations(t))
				if round == 0 || round%2 == 0 && seedtest.Long() {
					if again := w.loadOf(t, o, []string{"f42-compose", "f42-infra", "f43-build"}, tags, false); again.Changed() {
						t.Errorf("%s: once more: %+v", when, again)
					}
				}
				for range 12 {
					_, err := m.Step()
					must(t, err)
				}
			}
			if deltas < len(rounds)/2 {
				t.Errorf("only %d loads read what changed alone", deltas)
			}
			if since && !seedtest.Long() {
				return
			}
			o := pull.Options{Event: newestEvent(t, w.prodRows), Sweep: 1, Program: "test"}
			if since {
				o.Since = lastEvent - 50
			}
			w.loadOf(t, o, []string{"f42-compose", "f42-infra", "f43-build"}, some, false)
			if rep := w.loadOf(t, o, []string{"f42-compose", "f42-infra", "f43-build"}, some, true); rep.Changed() || rep.Mode != "full" {
				t.Errorf("audit: %+v", rep)
			}
		})
	}
}

// loadOf pulls tags, and loads some of them; nil: all.
func (w *env) loadOf(t *testing.T, o pull.Options, pulled, tags []string, audit bool) *book.LoadReport {
	t.Helper()
	o.Tags = pulled
	r, err := pull.Pull(t.Context(), w.prod, w.store, o)
	must(t, err)
	snap, err := repository.Open(t.Context(), w.store, r.Snapshot)
	must(t, err)
	var some *snapfile.Snapshot
	some, err = narrow.To(t.Context(), snap, tags)
	must(t, err)
	rep, err := kojisnap.Load(t.Context(), some, w.store, kojisnap.LoadOptions{LoadOptions: dbsync.LoadOptions{Env: "stg", Tags: tags, Audit: audit}, DSN: w.dsn})
	must(t, err)
	return rep
}

func newestEvent(t *testing.T, rows *hubtest.Memory) int64 {
	t.Helper()
	all, err := rows.Select("events", hubtest.Values{})
	must(t, err)
	last := int64(0)
	for _, row := range all {
		last = max(last, row["id"].(int64))
	}
	return last
}

// TestNarrowSync: two environments share one pull. Each loads, copies and verifies its own tags alone, and the second
// one takes next to no room in the store.
func TestNarrowSync(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose", "f43-build")
	edit(t, c, "[pull]\n", "[load]\ntag = [\"f42-compose\"]\n[pull]\n")
	// The ledger is the environment's own, as its files are: it grows with what is copied, and not with production.
	size := func() (n, ledgers int64) {
		all, err := w.store.List(t.Context(), "")
		must(t, err)
		for _, e := range all {
			if strings.HasPrefix(e.Name, "ledgers/") {
				ledgers += e.Size
			} else {
				n += e.Size
			}
		}
		return n, ledgers
	}
	if o := kojisnapRun(t, "sync", "-c", c, "--dry-run"); o.code != 3 || o.stderr != "" {
		t.Errorf("dry run: %d %s", o.code, o.stderr)
	}
	out := succeed(t, "sync", "-c", c, "--json")
	for _, says := range []string{`"load_tags": [`, `"f43-build"`} {
		if !strings.Contains(out, says) {
			t.Errorf("sync: no %s", says)
		}
	}
	status := succeed(t, "status", "-c", c)
	if !strings.Contains(status, "none: the store's newest snapshot is loaded") || strings.Contains(status, "f43-build") {
		t.Errorf("status: %s", status)
	}
	conn, err := pgx.Connect(t.Context(), w.dsn)
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	var tags int
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM tag_config WHERE tag_id IN (SELECT id FROM tag WHERE name = 'f43-build')").Scan(&tags))
	if tags != 0 {
		t.Error("f43-build was loaded")
	}
	if out := succeed(t, "copy", "-c", c, "--dry-run"); strings.Contains(out, "f43-build") {
		t.Errorf("copy: %s", out)
	}
	if out := succeed(t, "verify", "-c", c, "-v"); strings.Contains(out, "f43-build") || !strings.Contains(out, "f42-compose") {
		t.Errorf("verify: %s", out)
	}
	for _, args := range [][]string{{"load", "-c", c, "--tag", "f44-build"}, {"load", "-c", c, "--tag", "!f42*"}} {
		if o := kojisnapRun(t, args...); o.code != 2 {
			t.Errorf("%v: exit code %d: %s", args, o.code, o.stderr)
		}
	}

	one, ledger := size()
	dev := *w
	dev.topdir = t.TempDir()
	dev.addDatabase(t)
	d := dev.config(t, "f42-compose", "f43-build")
	edit(t, d, "[pull]\n", "[load]\ntag = [\"f43-*\"]\n[pull]\n")
	edit(t, d, `env    = "stg"`, `env    = "dev"`)
	succeed(t, "init", "-c", d)
	succeed(t, "sync", "-c", d)
	two, ledgers := size()
	t.Logf("store: %d bytes with one environment, %d with two: %.2f %% more; ledgers %d, %d", one, two, 100*float64(two-one)/float64(one), ledger, ledgers)
	if (two-one)*20 > one {
		t.Errorf("the second environment takes %d bytes of room, the first one and its snapshot %d", two-one, one)
	}
	// Both in one configuration: the pull is for all, the rest for one.
	shared := filepath.Join(t.TempDir(), "shared.toml")
	must(t, os.WriteFile(shared, []byte(fmt.Sprintf(`
store = %q
[pull]
hub = %q
tag = ["f42-compose", "f43-build"]
event = %d
[copy]
source = [%q]
writable-source = true
[verify]
hub = %q
[env.stg]
db = %q
topdir = %q
[env.stg.load]
tag = ["f42-compose"]
[env.dev]
db = %q
topdir = %q
[env.dev.load]
tag = ["f43-*"]
[env.dev.verify]
hub = %q
`, w.store, w.prodURL, lastEvent, w.prodTree, w.stagingURL, w.dsn, w.topdir, dev.dsn, dev.topdir, dev.stagingURL)), 0o644))
	succeed(t, "sync", "--only", "pull", "-c", shared)
	if o := kojisnapRun(t, "sync", "--only", "apply", "-c", shared); o.code != 2 || !strings.Contains(o.stderr, "dev and stg") {
		t.Errorf("apply for nobody: %d %s", o.code, o.stderr)
	}
	succeed(t, "sync", "--only", "apply", "--env", "dev", "-c", shared)
	if out := succeed(t, "status", "--all", "-c", shared); !strings.Contains(out, "dev ") || !strings.Contains(out, "stg ") || strings.Count(out, "ready") != 2 {
		t.Errorf("%s", out)
	}
}

// edit replaces a text in a file, which must be there once.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	body, err := os.ReadFile(path)
	must(t, err)
	if strings.Count(string(body), from) != 1 {
		t.Fatalf("%q is not there once in %s", from, body)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(body), from, to, 1)), 0o644))
}
