package integration_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store/dir"
)

// TestEverythingLoads: production changes day by day, and is pulled whole. An environment that loads each snapshot, one
// that loads every other, and one that loads some tags alone hold what is theirs: the first two the same view of all
// tags, though some were deleted in between, the third one what a pull of its tags gives.
func TestEverythingLoads(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addMarked(t)
	other := func() *env {
		e := &env{prodRows: w.prodRows, prod: w.prod, prodURL: w.prodURL, topdir: t.TempDir(), store: w.store}
		e.addMarked(t)
		return e
	}
	seldom, some, alone := other(), other(), other()
	var err error
	alone.store, err = dir.Open(filepath.Join(t.TempDir(), "alone"))
	must(t, err)
	m, err := generate.NewMutator(w.prodRows, generate.MutatorOptions{Seed: 7, Pace: time.Minute})
	must(t, err)
	tags := []string{"f42-compose"}
	deltas := 0
	var did []string
	rounds := 3
	if seedtest.Long() {
		rounds = 5
	}
	for round := range rounds {
		o := pull.Options{Event: newestEvent(t, w.prodRows), Sweep: 1, Program: "test", Everything: true}
		r, err := pull.Pull(t.Context(), w.prod, w.store, o)
		must(t, err)
		snap, err := repository.Open(t.Context(), w.store, r.Snapshot)
		must(t, err)
		load := func(e *env, tags []string, audit bool) string {
			part, err := narrow.To(t.Context(), snap, tags)
			must(t, err)
			rep, err := kojisnap.Load(t.Context(), part, w.store, kojisnap.LoadOptions{LoadOptions: dbsync.LoadOptions{Env: "stg", Tags: tags, Audit: audit}, DSN: e.dsn})
			must(t, err)
			if audit && rep.Changed() {
				t.Errorf("round %d: an audit changes %+v", round, rep.Relations)
			}
			return rep.Mode
		}
		if mode := load(w, nil, false); mode == "delta" {
			deltas++
		}
		load(some, tags, false)
		when := fmt.Sprintf("round %d, event %d", round, o.Event)
		o.Everything = false
		alone.loadOf(t, o, tags, nil, false)
		sameRelations(t, when+", some tags", some.relations(t), alone.relations(t))
		if round%2 == 0 {
			load(seldom, nil, false)
			sameRelations(t, when+", seldom loaded", seldom.activeRows(t), w.activeRows(t))
		}
		if round%2 == 0 && seedtest.Long() || round == rounds-1 {
			load(w, nil, true)
		}
		if round == rounds-1 {
			break
		}
		for range 40 {
			step, err := m.Step()
			must(t, err)
			did = append(did, step)
		}
	}
	if deltas < rounds/2 {
		t.Errorf("only %d loads read what changed alone", deltas)
	}
	for _, kind := range []string{"deleted tag ", "deleted build "} {
		if !slices.ContainsFunc(did, func(s string) bool { return strings.HasPrefix(s, kind) }) {
			t.Errorf("no change was of the kind %q", kind)
		}
	}
	untagged := 0
	must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), "SELECT count(*) FROM build WHERE state = 1 AND NOT EXISTS (SELECT FROM tag_listing l WHERE l.build_id = build.id)").Scan(&untagged))
	if untagged == 0 {
		t.Error("no build without a tag was loaded")
	}
}

// activeRows are production's active rows that a database has, by versioned relation.
func (w *env) activeRows(t *testing.T) map[string][]string {
	t.Helper()
	conn := dbtest.Connect(t, w.dsn)
	all := map[string][]string{}
	for _, rel := range relation.All() {
		if !rel.Versioned {
			continue
		}
		rows, err := conn.Query(t.Context(), "SELECT t::text FROM "+rel.Name+" t WHERE active AND create_event < (SELECT floor FROM kojisnap.mark) ORDER BY 1")
		must(t, err)
		all[rel.Name], err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
	}
	return all
}
