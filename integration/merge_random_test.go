package integration_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// mergeRounds is how often a seed loads something new.
func mergeRounds() int {
	if seedtest.Long() {
		return 9
	}
	return 6
}

// mergeSeeds are the seeds of TestMerge. Together they do all kinds of change, over a thousand on
// each side, and meet what the long run found. Many more seeds are run by KOJISNAP_SEED=1-200.
var mergeSeeds = []uint64{1, 2, 3, 7, 11, 13, 14, 16, 17, 19, 20, 21, 39, 61, 71}

// mergeScopes are the tags that are pulled, by turns.
var mergeScopes = [][]string{
	{"f42-candidate", "f42-compose", "f42-infra", "f43-build"},
	{"f42-compose"},
	{"f42-candidate", "f42-infra"},
	{"f43-build"},
}

// TestMerge changes production and staging at random, often the same keys, pulls and loads, and
// judges each load: at every event that was loaded, and at any since history is whole, staging is production,
// now it is production with staging's changes over it, and nothing of staging's own changed.
func TestMerge(t *testing.T) {
	t.Parallel()
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

// merging is one run of the test.
type merging struct {
	*env
	rnd     *rand.Rand
	db      *database
	model   *model
	mutator *generate.Mutator
	worker  *worker
	tags    []string
	pulled  []*wanted
	did     []string
	story   story
	asked   int   // calls that were compared
	since   int64 // from which event on history is pulled; 0: it is not
}

func testMerge(t *testing.T, seed uint64) []string {
	g := &merging{env: newHubEnv(t), rnd: rand.New(rand.NewPCG(seed, 0x6d65726765)), tags: mergeScopes[0]}
	g.since = historySince(seed)
	g.note(t, g.tellHistory())
	g.addMarked(t)
	g.db = openDatabase(t, g.dsn)
	g.model = newModel(g.db.read())
	g.worker = &worker{database: g.db, rnd: g.rnd, prod: g.prodRows, model: g.model, admin: g.db.strings("SELECT id FROM users WHERE name = 'stgadmin'")[0][0]}
	var err error
	g.mutator, err = generate.NewMutator(g.prodRows, generate.MutatorOptions{Seed: seed, Tags: mergeScopes[0], Pace: 5 * time.Minute, Late: time.Hour, Rare: true, Meet: true, Names: g.name})
	must(t, err)
	replaces := seed%3 == 0
	for round := range mergeRounds() {
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

// name is what staging calls something, for production to take now and then.
func (g *merging) name() string {
	if g.rnd.IntN(3) > 0 {
		return ""
	}
	found := g.db.strings("SELECT name FROM tag WHERE id >= $1 UNION SELECT name FROM build_target WHERE id >= $1 UNION SELECT name FROM external_repo WHERE id >= $1 UNION SELECT name FROM groups WHERE id >= $1 UNION SELECT name FROM package WHERE id >= $1 UNION SELECT name FROM users WHERE id >= $1 AND name NOT IN ('kojisnap', 'stgadmin') UNION SELECT name FROM channels WHERE id >= $1 UNION SELECT name FROM permissions WHERE id >= $1 ORDER BY 1", floor)
	if len(found) == 0 {
		return ""
	}
	return found[g.rnd.IntN(len(found))][0]
}

// produce is production at work, often on what staging changed.
func (g *merging) produce(t *testing.T) {
	ids := g.worker.mapping()
	for range 3 + g.rnd.IntN(12) {
		var did string
		var err error
		if len(g.worker.ours) > 0 && g.rnd.IntN(2) == 0 {
			did, err = g.change(ids, g.worker.oneOfOurs())
		} else {
			did, err = g.mutator.Step()
		}
		must(t, err)
		if did != "" {
			g.note(t, "production: "+did)
		}
	}
}

// change lets production change a key of staging's somehow.
func (g *merging) change(ids mapping, k subjectKey) (string, error) {
	of := hubtest.Values{}
	for c, v := range ids.production(k.rel, k.key) {
		of[c] = v
		if n, err := strconv.Atoi(v); err == nil && k.rel.Columns[k.rel.Index(c)].Type != relation.Text {
			of[c] = int64(n)
		}
	}
	return g.mutator.Change(k.rel.Name, of)
}

// find gives the snapshot to load, nil if there is none.
func (g *merging) find(t *testing.T, name string, round int) *wanted {
	if round > 2 && g.rnd.IntN(8) == 0 {
		if w := g.pulled[g.rnd.IntN(len(g.pulled))]; !w.lost {
			g.note(t, "an older snapshot: "+w.id)
			return w
		}
	}
	if g.rnd.IntN(5) == 0 {
		g.tags = mergeScopes[g.rnd.IntN(len(mergeScopes))]
		g.note(t, fmt.Sprintf("the scope is %q", g.tags))
	}
	if len(g.pulled) > 1 && g.rnd.IntN(6) == 0 {
		g.lose(t)
	}
	// Production changes in up to five rounds. After each it may be pulled without a load.
	for n := g.rnd.IntN(5) * g.rnd.IntN(2); n > 0; n-- {
		g.produce(t)
		if g.rnd.IntN(2) == 0 && g.pullNow(t, name) != nil {
			g.note(t, "a pull that is not loaded")
		}
	}
	g.produce(t)
	return g.pullNow(t, name)
}

// round is some work on both sides, a pull, and loads of what it gave.
func (g *merging) round(t *testing.T, name string, round int, replace bool) {
	g.story.produce(t, g)
	want := g.find(t, name, round)
	if want == nil {
		return
	}
	before := g.db.read()
	if round > 0 {
		before = g.work(t, before, 5+g.rnd.IntN(20))
	}

	load := func(what string, opt dbsync.LoadOptions) *book.LoadReport {
		t.Helper()
		rep, err := g.loadIt(t, want.snap, opt)
		var conflict *dbsync.ConflictError
		switch {
		case errors.As(err, &conflict) && opt.OnConflict == dbsync.Fail:
			g.note(t, "refused for conflicts")
			g.check(t, name+", a load that may not meet conflicts", differences(before, g.db.read()))
			return nil
		case err != nil:
			t.Fatalf("%s, %s: %v", name, what, err)
		}
		after := g.db.read()
		t.Logf("%s: %s: on conflict %q, audit=%v: %+v", name, what, opt.OnConflict, opt.Audit, *rep)
		j := &judge{m: g.model, before: before, after: after, want: want, base: g.byID(rep.Base), pulled: g.pulled, opt: opt, rep: rep, refs: g.db.refs}
		if rep.Skipped {
			g.check(t, name+", "+what, j.skipped())
			g.model.stood(j)
			before = after
			return rep
		}
		for _, e := range slices.Concat(rep.Conflicts, rep.LeftOut, rep.Kept) {
			g.did = append(g.did, e.Relation+": "+e.What)
		}
		g.check(t, name+", "+what, j.judgeLoad())
		g.model.load(j)
		before = after
		return rep
	}
	opt := dbsync.LoadOptions{Staged: g.staged(), Rollback: true}
	if replace {
		opt.OnConflict = dbsync.Replace
	}
	if g.rnd.IntN(6) == 0 {
		fail := opt
		fail.OnConflict = dbsync.Fail
		load("load without conflicts", fail)
	}
	opt.Audit = g.rnd.IntN(6) == 0
	load("load", opt)
	g.worker.since = want.number()
	if round%3 == 2 || round == mergeRounds()-1 {
		g.ask(t, name, before)
	}
	if g.rnd.IntN(3) == 0 { // staging goes on, and the snapshot is loaded again
		before = g.work(t, before, 1+g.rnd.IntN(10))
		load("after more work", opt)
	}
	if g.rnd.IntN(3) == 0 {
		opt.Audit = g.rnd.IntN(3) > 0
		was := g.db.read()
		if rep := load("again", opt); rep.Changed() {
			t.Errorf("%s, again, audit=%v: nothing changed, but: %q, %+v", name, opt.Audit, differences(was, g.db.read()), *rep)
		}
	}
}

// work is staging at work, from a state to the one that it returns.
func (g *merging) work(t *testing.T, start state, deeds int) state {
	for range deeds {
		g.note(t, "staging: "+g.worker.step())
	}
	g.story.stage(t, g)
	now := g.db.read()
	g.worker.ours = append(g.worker.ours, slices.SortedFunc(slices.Values(g.model.worked(start, now)), subjectKey.compare)...)
	return now
}

// ask compares what both hubs answer.
func (g *merging) ask(t *testing.T, name string, now state) {
	found, asked := g.compareAnswers(t, now, g.rnd, 3)
	g.check(t, name+", answers", found)
	found, more := g.compareWindows(t, now)
	g.check(t, name+", answers", found)
	g.asked += asked + more
	t.Logf("%s: %d answers are alike", name, asked+more)
}

func (g *merging) check(t *testing.T, what string, found []string) {
	t.Helper()
	for i, p := range found {
		if i < 12 {
			t.Errorf("%s: %s", what, p)
		}
	}
	if len(found) > 0 {
		t.FailNow()
	}
}

func (g *merging) byID(id string) *wanted {
	for _, w := range g.pulled {
		if w.id == id {
			return w
		}
	}
	return nil
}

// pullNow takes a snapshot, nil if the hub cannot give one.
func (g *merging) pullNow(t *testing.T, name string) *wanted {
	h := readTruth(t, g.prodRows)
	last := slices.Max(slices.Collect(maps.Keys(h.events)))
	opt := pull.Options{Tags: g.tags, Event: int64(last), Sweep: 3, Overlap: 90 * time.Minute, Program: "test", Full: g.rnd.IntN(6) == 0, Since: g.since}
	if opt.Full {
		g.note(t, "a full pull")
		if g.rnd.IntN(2) == 0 { // that tells once more of what was revoked long ago
			opt.Since = int64(1 + g.rnd.IntN(last))
		}
	}
	r, err := pull.Pull(t.Context(), g.prod, g.store, opt)
	if err != nil {
		g.note(t, fmt.Sprintf("the pull failed: %v", err))
		return nil
	}
	snap, err := repository.Open(t.Context(), g.store, r.Snapshot)
	must(t, err)
	w := readSnapshot(t, snap, h)
	g.check(t, name+", pull", checkPull(w, h, last))
	for _, other := range g.pulled {
		other.lost = other.lost && other.id != w.id // it may be just what there was
	}
	g.pulled = append(g.pulled, w)
	g.model.truth, g.worker.truth = h, h
	return w
}

// lose deletes a snapshot from the store: what only that one tells is told no more.
func (g *merging) lose(t *testing.T) {
	w := g.pulled[g.rnd.IntN(len(g.pulled))]
	object, err := snapfile.ManifestObject(w.id)
	must(t, err)
	must(t, g.store.Delete(t.Context(), object))
	w.lost = true
	g.note(t, "the store loses snapshot "+w.id)
}

// loadIt is how every load of the test is made.
func (g *merging) loadIt(t *testing.T, snap *snapfile.Snapshot, opt dbsync.LoadOptions) (*book.LoadReport, error) {
	return kojisnap.Load(t.Context(), snap, g.store, kojisnap.LoadOptions{LoadOptions: opt, DSN: g.dsn})
}

// staged says which builds were copied: it is not known, or none, or some.
func (g *merging) staged() []kojidb.NVR {
	switch g.rnd.IntN(4) {
	case 0:
		return nil
	case 1:
		return []kojidb.NVR{}
	}
	var out []kojidb.NVR
	for _, f := range g.db.strings("SELECT p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id WHERE b.state = 1 ORDER BY b.id") {
		if g.rnd.IntN(5) == 0 {
			out = append(out, kojidb.NVR{Name: f[0], Version: f[1], Release: f[2]})
		}
	}
	return out
}
