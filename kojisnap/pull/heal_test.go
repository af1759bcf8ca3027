package pull_test

import (
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
)

// TestPullHeals changes the hub at random while pulls are interrupted. A resumed pull has rows of two times;
// the next pull has everything right, except what only a sweep finds.
func TestPullHeals(t *testing.T) { seedtest.Each(t, []uint64{3}, testPullHeals) }

func testPullHeals(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(rows, hubtest.Options{})
	g := &gate{hub: server, after: -1}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1, Jobs: cutJobs})
	if err != nil {
		t.Fatal(err)
	}
	w := &changingHub{t: t, rows: rows, server: server, client: c, again: pulltest.NewStore(t), all: pulltest.NewStore(t), tags: pulltest.WayTags, stale: staleRows{}}
	w.compare()
	w.wait(10 * 24 * time.Hour)
	m, err := generate.NewMutator(rows, generate.MutatorOptions{Seed: seed, Tags: w.tags, Pace: againPace, Late: againLate})
	if err != nil {
		t.Fatal(err)
	}
	change := func() (renamed bool) {
		for n, last := 0, w.event(); n < 8 || w.event() == last; n++ {
			did, err := m.Step()
			if err != nil {
				t.Fatal(err)
			}
			w.note(did)
			t.Log(did)
			renamed = renamed || strings.HasPrefix(did, "tag ") && strings.Contains(did, " is renamed to ")
		}
		return renamed
	}
	wentOn, rounds := 0, 1
	if seedtest.Long() {
		rounds = 2
	}
	for range rounds {
		change()
		opt := pull.Options{Tags: w.tags, Event: w.event(), Sweep: againSweep, Overlap: againOverlap, Program: "test"}.WithPager(pager.Options{Batch: 5})
		begun := opt.Event
		g.set(20+rnd.IntN(40), func() bool { return true })
		r, err := pull.Pull(t.Context(), c, w.again, opt)
		g.set(-1, nil)
		if err != nil {
			if !strings.Contains(err.Error(), "503") {
				t.Fatal(err)
			}
			t.Logf("cut off: %v", err)
			renamed := change()
			opt.Event = 0
			if r, err = pull.Pull(t.Context(), c, w.again, opt); err != nil {
				t.Fatal(err)
			}
			if r.Event != begun && !renamed { // other names are another scope
				t.Errorf("event %d, begun at %d", r.Event, begun)
			}
			if r.Event == begun {
				wentOn++
			}
		}
		// Revocations count from the last snapshot.
		opt.Event, opt.Sweep = r.Event, 1
		all, err := pull.Pull(t.Context(), c, w.all, opt)
		if err != nil {
			t.Fatal(err)
		}
		w.pulls++
		if w.base, err = repository.Open(t.Context(), w.again, r.Snapshot); err != nil {
			t.Fatal(err)
		}
		if w.last, err = repository.Open(t.Context(), w.all, all.Snapshot); err != nil {
			t.Fatal(err)
		}
		w.compare()
	}
	for range againSweep {
		w.wait(10 * 24 * time.Hour)
		w.compare()
	}
	if len(w.stale) > 0 {
		t.Errorf("not swept: %v", w.stale)
	}
	if wentOn == 0 {
		t.Error("no pull was gone on with")
	}
}

// TestPullHealsRecycled: a build is reset, made again and tagged again after an interrupted pull has read its
// tagging and before it reads the build. In the next pull, which continues that snapshot, the build's row
// only shows that it is younger than the base.
func TestPullHealsRecycled(t *testing.T) {
	w := newCutHub(t, pull.Options{Tags: pulltest.WayTags, Margin: -1, Overlap: 5 * time.Second})
	at := &changingHub{t: t, rows: w.rows}
	_, needed := w.whole(t, pulltest.NewStore(t))
	history := slices.Index(needed, "queryHistory")
	builds := history + slices.Index(needed[history:], "multiCall")
	w.gate.set(builds, func() bool { return true })
	s := pulltest.NewStore(t)
	if _, err := w.pull(t.Context(), t, s); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("cut off: %v", err)
	}
	at.wait(10 * 24 * time.Hour)
	// A build in f42 that is older than the overlap: younger ones are asked for again anyway.
	tagged := at.find("tag_listing", hubtest.Values{"tag_id": 2, "active": true})[0]
	build := hubtest.Values{"id": tagged["build_id"]}
	change := func(n int, err error) {
		t.Helper()
		if n == 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	change(w.rows.Delete("tag_listing", hubtest.Values{"build_id": build["id"]}))
	change(w.rows.Update("build", build, hubtest.Values{"create_event": at.event()}))
	at.wait(time.Minute)
	tagged["create_event"] = at.event()
	change(1, w.rows.Insert("tag_listing", tagged))

	first, _ := w.whole(t, s)
	second, _ := w.whole(t, s)
	if first.Manifest.Event != pulltest.LastEvent || second.Manifest.Parent != first.ID {
		t.Fatalf("at event %d; %s after %s", first.Manifest.Event, second.Manifest.Parent, first.ID)
	}
	want, _ := w.whole(t, pulltest.NewStore(t))
	if a, b := pulltest.SnapshotRows(t, second, "tag_listing"), pulltest.SnapshotRows(t, want, "tag_listing"); !slices.Equal(a, b) {
		t.Errorf("missing %q, too many %q", difference(b, a), difference(a, b))
	}
}
