package integration_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

const mergeRounds = 35

// mergeSeeds are the seeds of TestMerge. Together they do hundreds of rounds, and all kinds of
// change.
var mergeSeeds = []uint64{1, 2, 3, 4, 5, 6}

// mergeScopes are the tags that are pulled, by turns.
var mergeScopes = [][]string{
	{"f42-candidate", "f42-compose", "f42-infra", "f43-build"},
	{"f42-compose"},
	{"f42-candidate", "f42-infra"},
	{"f43-build"},
}

// TestMerge changes production and staging at random, pulls and loads, and judges each load.
func TestMerge(t *testing.T) {
	var mu sync.Mutex
	var did []string
	var ran []uint64
	t.Run("seeds", func(t *testing.T) {
		seedtest.Each(t, mergeSeeds, func(t *testing.T, seed uint64) {
			t.Parallel()
			d := testMerge(t, seed)
			mu.Lock()
			defer mu.Unlock()
			did, ran = append(did, d...), append(ran, seed)
		})
	})
	slices.Sort(ran)
	if t.Failed() || !slices.Equal(ran, mergeSeeds) {
		return // somebody looks for something else
	}
	for _, kind := range mergeKinds {
		if !slices.ContainsFunc(did, regexp.MustCompile(kind).MatchString) {
			t.Errorf("of %d changes none was like %s", len(did), kind)
		}
	}
}

// mergeKinds are what must all have happened, by what is told of it.
var mergeKinds = []string{
	// Production, the scope of pulls, and loads.
	"^production: tagged ", "^production: untagged ", "^production: retagged ", "^production: moved ", "^production: new build ", "^production: build .* ended in state 1",
	"^production: deleted build ", "^production: reset build ", "^production: recycled build ", "^production: rebuilt ", "^production: imported rpm ",
	"^production: signed ", "^production: removed the signature ", "^production: moved build .* to volume", "^production: promoted draft ", "^production: the import of event .* committed",
	"^production: tag .* swap names", "^production: users .* swap names", "^production: .* takes its name", "^production: tag .* is renamed", "^production: deleted tag ",
	"^production: new target ", "^production: new external repo ", "^production: new channel ", "^production: new permission ", "^production: maven info ",
	"^production: edited tag ", "^production: edited group ", "^production: edited how ", "^production: changed the owner of build ",
	"^the scope is .*f42-compose\"\\]", "^the scope is .*f43-build\"\\]", "^an older snapshot: ", "^a pull that is not loaded", "^refused for conflicts",
	// Staging.
	"^staging: new build of ", "^staging: imported .*production's build ", "^staging: imported production's rpm ", "^staging: tagged build .* as production did", "^staging: tagged build \\d+ into \\d+$",
	"^staging: untagged ", "^staging: new tag ", "^staging: deleted tag ", "^staging: renamed tag ", "^staging: renamed users ", "^staging: swapped the names of ",
	"^staging: new users ", "^staging: new package ", "^staging: new target ", "^staging: edited target ", "^staging: edited the config ", "^staging: edited extra ",
	"^staging: edited how ", "^staging: listed package ", "^staging: edited group ", "^staging: edited the url ", "^staging: tag .* uses external repo ",
	"^staging: resubmitted ", "^staging: finished ", "^staging: deleted build ", "^staging: reset build ", "^staging: promoted draft ", "^staging: signed ", "^staging: imported what draft ", "^staging: imported an rpm of draft ", "^staging: signed .*as production did", "^staging: removed signature ",
	"^staging: moved build ", "^staging: build .* is user ", "^staging: new image ", "^staging: used buildroot ", "^staging: imported an rpm ", "^staging: maven info ",
	"^staging: took back the edit ", "^staging: renamed build ", "^staging: blocked or unblocked ",
	// What loads found, by relation and reason.
	"^build: .* is staging's id ", "^build: .*staging made the build its own", "^build: .*staging changed it", "^build: .*staging moved it",
	"^build: .*it is promoted, but ", "^rpminfo: .* is staging's id ", "^rpminfo: .*production deleted it, but ", "^rpmsigs: .*staging deleted it", "^rpmsigs: .*staging has one of its own",
	"^tag: .*staging changed it", "^tag: .* is staging's id ", "^users: .* is staging's id ", "^channels: .*it is staging's ", "^tag_listing: .*staging revoked it", "^tag_listing: .*staging has an active row",
	"^tag_config: .*staging has an active row", "^tag_listing: .*its build .* was left out",
}

// merging is one run of the test.
type merging struct {
	*world
	rnd     *rand.Rand
	db      *database
	model   *model
	mutator *hubtest.Mutator
	worker  *worker
	tags    []string
	old     []*snapfile.Snapshot
	known   map[string]map[int]bool // production's events when a snapshot was pulled
	read    map[string]*wanted
	did     []string
}

func testMerge(t *testing.T, seed uint64) []string {
	g := &merging{world: newHubWorld(t), rnd: rand.New(rand.NewPCG(seed, 0x6d65726765)), tags: mergeScopes[0], known: map[string]map[int]bool{}, read: map[string]*wanted{}}
	g.addDatabase(t)
	g.init(t)
	g.db = openDatabase(t, g.dsn)
	g.model = newModel(g.db.read())
	var err error
	g.mutator, err = hubtest.NewMutator(g.prodRows, hubtest.MutatorOptions{Seed: seed, Tags: mergeScopes[0], Pace: 5 * time.Minute, Late: time.Hour, Rare: true})
	must(t, err)
	g.worker = &worker{database: g.db, rnd: g.rnd, prod: g.prodRows, model: g.model, user: g.db.strings("SELECT id FROM users WHERE name = 'stgadmin'")[0][0]}
	replaces := seed%3 == 0
	for round := range mergeRounds {
		g.round(t, fmt.Sprintf("seed %d, round %d", seed, round), round, replaces && g.rnd.IntN(3) == 0)
		if t.Failed() {
			t.FailNow()
		}
	}
	return g.did
}

func (g *merging) note(t *testing.T, did string) {
	t.Log(did)
	g.did = append(g.did, did)
}

// round is some work on both sides, a pull, and loads of what it gave.
func (g *merging) round(t *testing.T, name string, round int, replace bool) {
	for range g.rnd.IntN(25) {
		did, err := g.mutator.Step()
		must(t, err)
		g.note(t, "production: "+did)
	}
	opt := dbsync.LoadOptions{}
	if replace {
		opt.OnConflict = dbsync.Replace
	}
	var snap *snapfile.Snapshot
	switch {
	case round > 3 && g.rnd.IntN(8) == 0:
		snap = g.old[g.rnd.IntN(len(g.old))]
		opt.Rollback = true
		g.note(t, "an older snapshot: "+snap.ID)
	default:
		if g.rnd.IntN(5) == 0 {
			g.tags = mergeScopes[g.rnd.IntN(len(mergeScopes))]
			g.note(t, fmt.Sprintf("the scope is %q", g.tags))
		}
		if snap = g.pullNow(t); snap == nil {
			return
		}
		g.old = append(g.old, snap)
		if g.rnd.IntN(6) == 0 {
			g.note(t, "a pull that is not loaded")
			return
		}
	}
	opt.Staged = g.staged()
	opt.Rollback = true
	start := g.db.read()
	if round > 0 {
		for range g.rnd.IntN(16) {
			g.note(t, "staging: "+g.worker.step())
		}
	}
	before := g.db.read()
	g.model.worked(start, before)
	want := readSnapshot(t, snap)
	g.read[snap.ID] = want

	listed := map[string]bool{}
	listings, err := g.prodRows.Select("tag_listing", nil)
	must(t, err)
	for _, l := range listings {
		listed[fmt.Sprint(l["create_event"], " ", l["build_id"])] = true
	}

	check := func(what string, found []string) {
		t.Helper()
		for i, p := range found {
			if i < 12 {
				t.Errorf("%s, %s: %s", name, what, p)
			}
		}
		if len(found) > 0 {
			t.FailNow()
		}
	}
	load := func(what string, opt dbsync.LoadOptions) *dbsync.LoadReport {
		t.Helper()
		rep, err := g.loadIt(t, snap, opt)
		var conflict *dbsync.ConflictError
		switch {
		case errors.As(err, &conflict) && opt.OnConflict == dbsync.Fail:
			g.note(t, "refused for conflicts")
			check("a load that may not meet conflicts", differences(before, g.db.read()))
			return nil
		case err != nil:
			t.Fatalf("%s, %s: %v", name, what, err)
		}
		after := g.db.read()
		t.Logf("%s: %s: %+v", name, what, *rep)
		if !rep.Skipped {
			for _, e := range slices.Concat(rep.Conflicts, rep.LeftOut, rep.Kept) {
				g.did = append(g.did, e.Relation+": "+e.What)
			}
			j := &judge{m: g.model, before: before, after: after, want: want, base: g.read[rep.Base], opt: opt, rep: rep, refs: g.db.refs, listed: listed}
			check(what, j.judgeLoad())
			g.model.load(j)
			g.model.loaded = append(g.model.loaded, loaded{int(snap.Manifest.Event), j.scope, g.known[snap.ID]})
			before = after
		}
		return rep
	}
	if g.rnd.IntN(6) == 0 {
		fail := opt
		fail.OnConflict = dbsync.Fail
		load("load without conflicts", fail)
	}
	load("load", opt)
	for _, what := range []string{"again", "audit"} {
		if what == "again" && g.rnd.IntN(3) > 0 {
			continue // an audit finds all that this would
		}
		opt.Audit = what == "audit"
		if rep := load(what, opt); rep.Changed() {
			t.Errorf("%s, %s: nothing changed, but: %+v", name, what, *rep)
		}
	}
}

// pullNow takes a snapshot, nil if the hub cannot give one.
func (g *merging) pullNow(t *testing.T) *snapfile.Snapshot {
	events, err := g.prodRows.Select("events", nil)
	must(t, err)
	last, known := int64(0), map[int]bool{}
	for _, e := range events {
		last = max(last, e["id"].(int64))
		known[int(e["id"].(int64))] = true
	}
	r, err := kojisnap.Pull(t.Context(), g.prod, g.store, kojisnap.PullOptions{Tags: g.tags, Event: last, Sweep: 3, Overlap: 90 * time.Minute, Program: "test"})
	if err != nil {
		g.note(t, fmt.Sprintf("the pull failed: %v", err))
		return nil
	}
	g.known[r.Snapshot] = known
	snap, err := kojisnap.OpenSnapshot(t.Context(), g.store, r.Snapshot)
	must(t, err)
	return snap
}

// loadIt is how every load of the test is made.
func (g *merging) loadIt(t *testing.T, snap *snapfile.Snapshot, opt dbsync.LoadOptions) (*dbsync.LoadReport, error) {
	return kojisnap.Load(t.Context(), snap, g.store, kojisnap.LoadOptions{LoadOptions: opt, DSN: g.dsn})
}

// staged says which builds were copied: it is not known, or none, or some.
func (g *merging) staged() []dbsync.NVR {
	switch g.rnd.IntN(4) {
	case 0:
		return nil
	case 1:
		return []dbsync.NVR{}
	}
	var out []dbsync.NVR
	for _, f := range g.db.strings("SELECT p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id WHERE b.state = 1 ORDER BY b.id") {
		if g.rnd.IntN(5) == 0 {
			out = append(out, dbsync.NVR{Name: f[0], Version: f[1], Release: f[2]})
		}
	}
	return out
}
