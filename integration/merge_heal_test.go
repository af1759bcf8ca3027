package integration_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
)

// TestEarlier: a database that an earlier kojisnap loaded is healed by its next load, and loads
// that follow judge it like any other.
//
// testdata/earlier.zip is what the kojisnap of commit 87f5847 left behind: production's tables, the store,
// and a dump of staging's database after six loads. Before each load TestMerge's production and staging had
// changed much, often the same keys; after the last load staging changed more.
func TestEarlier(t *testing.T) {
	t.Parallel()
	g, loads := earlier(t)
	start := g.db.read()
	g.model.removed, g.model.own = foundRemovals(start), foundOwn(start)
	before := healed(start)
	g.model.truth = readTruth(t, g.prodRows)
	ids := readMapping(start)
	for _, id := range loads {
		snap, err := repository.Open(t.Context(), g.store, id)
		must(t, err)
		g.pulled = append(g.pulled, readSnapshot(t, snap, g.model.truth))
	}
	for _, b := range g.pulled[len(loads)-1].view["build"] {
		g.model.stands[b["id"]] = standing{state: b["state"]}
	}
	wrong := func(s state) (n int, all map[string]bool) {
		all = map[string]bool{}
		for _, w := range g.pulled[:len(loads)] {
			j := &judge{m: g.model, after: s, want: w, ids: ids}
			l := j.newLoaded()
			l.view, j.want = g.trueView(l), &wanted{}
			for _, r := range relation.All() {
				if r.Versioned {
					for key := range j.pinnedAt(l, r, productionRows(r, s, ids)) {
						all[fmt.Sprintf("at %d: %s %s", l.event, r.Name, key)] = true
					}
				}
			}
		}
		return len(all), all
	}
	n, bad := wrong(start)
	if n < 20 {
		t.Fatalf("only %d rows are not as production had them: nothing to heal", n)
	}
	g.produce(t)
	g.model.truth = readTruth(t, g.prodRows)
	for round := range 2 {
		want := g.pullNow(t, "pull")
		if want == nil {
			t.Fatal("no pull")
		}
		rep, err := g.loadIt(t, want.snap, dbsync.LoadOptions{})
		must(t, err)
		after := g.db.read()
		j := &judge{m: g.model, before: before, after: after, want: want, base: g.byID(rep.Base), pulled: g.pulled, rep: rep, refs: g.db.refs}
		g.check(t, fmt.Sprintf("load %d", round), j.judgeVersioned())
		if mode := []string{"full", "delta"}[round]; rep.Mode != mode {
			t.Errorf("load %d is a %s one, not %s", round, rep.Mode, mode)
		}
		g.model.load(j)
		m, now := wrong(after)
		for what := range now {
			if !bad[what] {
				t.Errorf("load %d: %s is as in production no longer", round, what)
			}
		}
		if m > n/4 {
			t.Errorf("load %d: of %d rows that were not as in production %d are not yet: %v", round, n, m, sorted(now)[:10])
		}
		if rep, err := g.loadIt(t, want.snap, dbsync.LoadOptions{Audit: true}); err != nil || rep.Changed() {
			t.Errorf("audit: %+v, %v", rep, err)
		}
		g.produce(t)
		start := g.db.read()
		for range 15 {
			g.note(t, "staging: "+g.worker.step())
		}
		before = g.db.read()
		g.model.worked(start, before)
	}
}

// earlier restores what an earlier kojisnap left, and tells which snapshots it had loaded.
func earlier(t *testing.T) (g *merging, loads []string) {
	t.Helper()
	z, err := zip.OpenReader("testdata/earlier.zip")
	must(t, err)
	t.Cleanup(func() { z.Close() })
	sub := func(name string) fs.FS {
		files, err := fs.Sub(z, name)
		must(t, err)
		return files
	}
	g = &merging{env: &env{topdir: t.TempDir()}, rnd: rand.New(rand.NewPCG(1, 1)), tags: mergeScopes[0]}
	g.prodRows, err = hubtest.Rows(sub("production"))
	must(t, err)
	srv := httptest.NewServer(hubtest.New(g.prodRows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	// Snapshots tell which hub they are of.
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	g.prod, err = hub.New("http://koji.example.org/kojihub", hub.Options{Retries: -1, HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}}})
	must(t, err)
	path := filepath.Join(t.TempDir(), "store")
	must(t, os.CopyFS(path, sub("store")))
	g.store, err = dir.Open(path)
	must(t, err)

	g.dsn = dbtest.Empty(t)
	sql, err := fs.ReadFile(z, "staging.sql")
	must(t, err)
	dbtest.Exec(t, g.dsn, string(sql))
	dbtest.Exec(t, g.dsn, `UPDATE kojisnap.mark SET database = current_database(), oid = (SELECT oid FROM pg_database WHERE datname = current_database()),
		system_identifier = (SELECT system_identifier::text FROM pg_control_system())`)
	g.db = openDatabase(t, g.dsn)
	g.model = newModel(state{})
	g.worker = &worker{database: g.db, rnd: g.rnd, prod: g.prodRows, model: g.model, admin: g.db.strings("SELECT id FROM users WHERE name = 'stgadmin'")[0][0]}
	g.mutator, err = generate.NewMutator(g.prodRows, generate.MutatorOptions{Seed: 1, Tags: mergeScopes[0], Pace: 5 * time.Minute, Rare: true})
	must(t, err)

	var told []struct{ Snapshot string }
	body, err := fs.ReadFile(z, "loaded.json")
	must(t, err)
	must(t, json.Unmarshal(body, &told))
	for _, l := range told {
		loads = append(loads, l.Snapshot)
	}
	return g, loads
}

// foundRemovals are what staging removed, by what its tables show: an earlier kojisnap may have
// made it active again since, by a later row of production's, and so it stays.
func foundRemovals(s state) removals {
	all := newRemovals()
	for rel := range all {
		r := relation.Get(rel)
		active := map[string]bool{}
		for _, d := range s[rel] {
			active[subject(r, d)] = active[subject(r, d)] || d["active"] == "t"
		}
		for _, d := range s[rel] {
			x := subject(r, d)
			if !isHidden(d) || active[x] {
				continue
			}
			if all[rel][x] == nil {
				all[rel][x] = &removal{key: pick(d, subjectOf(r)), by: map[by]bool{}}
			}
			all[rel][x].by[revoked(d)] = true
		}
	}
	return all
}

// foundOwn are the rows of staging's own, by their ids and by what stands for one of production's.
func foundOwn(s state) map[string]map[string]bool {
	own, made := newModel(s).own, map[string]bool{}
	for _, x := range s["kojisnap.idmap"] {
		made[x["relation"]+" id="+x["staging_id"]] = x["made"] == "t"
	}
	for _, r := range relation.All() {
		for key, d := range s[r.Name] {
			stands, known := made[r.Name+" "+key]
			if r.Versioned && !isOwn(d) || !r.Versioned && (d.id("id") < floor && !known || stands) {
				delete(own[r.Name], key)
			}
		}
	}
	return own
}

// healed has the rows by which earlier versions told Pungi that a tag changed where the later ones
// have them.
func healed(s state) state {
	out := state{}
	for table, rows := range s {
		if out[table] == nil {
			out[table] = map[string]row{}
		}
		for key, d := range rows {
			if user := s["users"]["id="+d["creator_id"]]; table == "tag_listing" && isOwn(d) && d["create_event"] == d["revoke_event"] && user["name"] == "kojisnap" {
				d = row{"tag_id": d["tag_id"], "parent_id": d["tag_id"], "priority": "0", "intransitive": "f", "noconfig": "f",
					"create_event": d["create_event"], "revoke_event": d["revoke_event"], "creator_id": d["creator_id"], "revoker_id": d["revoker_id"]}
				if out["tag_inheritance"] == nil {
					out["tag_inheritance"] = map[string]row{}
				}
				out["tag_inheritance"][keyOf("tag_inheritance", d)] = d
				continue
			}
			out[table][key] = d
		}
	}
	return out
}

// trueView is what production had in the scope of a load at its event, as far as no reset deleted it.
func (g *merging) trueView(l *loaded) state {
	view := state{}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		view[r.Name] = map[string]row{}
		for key, d := range g.model.truth.rows[r.Name] {
			if visible(d, l.event) && l.in.has(r, d) {
				view[r.Name][key] = d
			}
		}
	}
	return view
}

// judgeVersioned judges what a load made of the versioned relations alone.
func (j *judge) judgeVersioned() []string {
	j.readBook()
	j.mapView()
	for _, r := range relation.All() {
		if r.Versioned {
			j.mergedNow(r)
			j.noted(r)
		}
	}
	j.pinned()
	return j.problems
}
