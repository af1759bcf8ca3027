package pull_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3/s3test"
)

// gate stands before a hub and cuts pulls off.
type gate struct {
	hub http.Handler

	mu    sync.Mutex
	log   []string    // methods that were let through
	after int         // how many are; below 0: all
	cut   func() bool // called for the first one more; it says whether that and all later ones fail
}

var methodName = regexp.MustCompile(`<methodName>(\w+)</methodName>`)

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if m := methodName.FindSubmatch(body); m != nil && !g.let(string(m[1])) {
		http.Error(w, "the hub is gone", http.StatusServiceUnavailable)
		return
	}
	// By the hub's clock all that it has is of the past.
	w.Header().Set("Date", time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat))
	g.hub.ServeHTTP(w, r)
}

func (g *gate) let(method string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.after >= 0 && len(g.log) == g.after && g.cut() {
		return false
	}
	g.log = append(g.log, method)
	return true
}

// set lets that many requests through and begins a new log.
func (g *gate) set(after int, cut func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log, g.after, g.cut = nil, after, cut
}

func (g *gate) methods() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.log)
}

// cutHub is a hub behind a gate whose pulls are cut off.
type cutHub struct {
	rows *hubtest.Memory
	gate *gate
	url  string
	opt  pull.Options
}

const cutJobs = 2

var cutTags = []string{"f42-infra"}

func newCutHub(t *testing.T, opt pull.Options) *cutHub {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	opt.Program, opt.Now = "test", func() time.Time { return began }
	if opt.Tags == nil {
		opt.Tags = cutTags
	}
	w := &cutHub{rows: rows, gate: &gate{hub: hubtest.New(rows, hubtest.Options{}), after: -1}, opt: opt}
	srv := httptest.NewServer(w.gate)
	t.Cleanup(srv.Close)
	w.url = srv.URL + "/kojihub"
	return w
}

// change makes some changes of all kinds in the hub, days after what there was.
func (w *cutHub) change(t *testing.T, steps int) {
	t.Helper()
	at := &changingHub{t: t, rows: w.rows}
	at.wait(10 * 24 * time.Hour)
	m, err := generate.NewMutator(w.rows, generate.MutatorOptions{Seed: 1, Tags: w.opt.Tags})
	if err != nil {
		t.Fatal(err)
	}
	for range steps {
		did, err := m.Step()
		if err != nil {
			t.Fatal(err)
		}
		if testing.Verbose() {
			t.Log(did)
		}
	}
	at.wait(time.Minute)
	// A transaction of the base's time commits only now.
	tagged, err := w.rows.Select("tag_listing", hubtest.Values{"tag_id": 2, "active": true})
	if err != nil || len(tagged) == 0 {
		t.Fatal(len(tagged), err)
	}
	late := hubtest.Values{"active": nil, "revoke_event": pulltest.LastEvent, "revoker_id": 1}
	if n, err := w.rows.Update("tag_listing", hubtest.Values{"tag_id": 2, "build_id": tagged[0]["build_id"], "active": true}, late); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// pull pulls as a process of its own would.
func (w *cutHub) pull(ctx context.Context, t *testing.T, s store.Store) (*pull.Result, error) {
	t.Helper()
	return pull.Pull(ctx, w.client(t), s, w.opt)
}

func (w *cutHub) client(t *testing.T) *hub.Client {
	t.Helper()
	c, err := hub.New(w.url, hub.Options{Retries: -1, Jobs: cutJobs})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whole pulls without being cut off, and returns the snapshot and the methods of all requests.
func (w *cutHub) whole(t *testing.T, s store.Store) (*snapfile.Snapshot, []string) {
	t.Helper()
	w.gate.set(-1, nil)
	r, err := w.pull(t.Context(), t, s)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return snap, w.gate.methods()
}

// opening is how many requests come before the first whose answer is kept.
func opening(methods []string) int { return slices.Index(methods, "listBTypes") }

// cut cuts a pull off after some requests, in the store s, goes on with it and compares what comes
// out, and what was asked for, with a pull at once.
func (w *cutHub) cut(t *testing.T, s store.Store, after int, cancelled bool, want *snapfile.Snapshot, needed []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.gate.set(after, func() bool {
		if cancelled {
			cancel()
		}
		return !cancelled
	})
	_, err := w.pull(ctx, t, s)
	if cancelled && !errors.Is(err, context.Canceled) || !cancelled && (err == nil || !strings.Contains(err.Error(), "503")) {
		t.Fatalf("cut off after %d requests: %v", after, err)
	}
	first := w.gate.methods()

	// Later events are of no concern.
	last := (&changingHub{t: t, rows: w.rows}).event()
	(&changingHub{t: t, rows: w.rows}).wait(time.Minute)
	got, second := w.whole(t, s)
	if n, err := w.rows.Delete("events", hubtest.Values{"id": last + 1}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	begun := after > opening(needed) // before that there is nothing to go on with
	if begun && got.Manifest.Event != want.Manifest.Event {
		t.Errorf("event %d, begun at %d", got.Manifest.Event, want.Manifest.Event)
	}
	if begun && !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || got.Manifest.Parent != want.Manifest.Parent {
		t.Errorf("cut off after %d requests: not what a pull at once gives", after)
	}
	// A batch that was under way may have had a request before.
	most := len(needed) + opening(needed) + 2*cutJobs
	if asked := len(first) + len(second); asked > most {
		t.Errorf("cut off after %d requests: %d in both, %d at once, so %d at most", after, asked, len(needed), most)
		t.Logf("%v\n%v\n%v", count(first), count(second), count(needed))
	}
	if left, err := s.List(t.Context(), "pulls/"); err != nil || len(left) > 0 {
		t.Errorf("%d objects stay, %v", len(left), err)
	}
}

func count(methods []string) map[string]int {
	n := map[string]int{}
	for _, m := range methods {
		n[m]++
	}
	return n
}

// cuts returns after how many requests pulls are cut off: some of the range, or with
// KOJISNAP_CUTS=all everywhere.
func cuts(requests, some int) []int {
	stride := max(1, requests/some)
	if os.Getenv("KOJISNAP_CUTS") == "all" {
		stride = 1
	}
	var at []int
	for k := 1; k < requests; k += stride {
		at = append(at, k)
	}
	if at[len(at)-1] != requests-1 {
		at = append(at, requests-1)
	}
	return at
}

// copyOf copies a store.
func copyOf(t *testing.T, s *dir.Store) *dir.Store {
	t.Helper()
	at := t.TempDir()
	if err := os.CopyFS(at, os.DirFS(s.String())); err != nil {
		t.Fatal(err)
	}
	c, err := dir.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPullCutOff cuts pulls off everywhere: of everything, by ids and by pages, and those that go
// on from a snapshot. The hub fails for good, or the pull is cancelled.
func TestPullCutOff(t *testing.T) {
	pages := map[string]string{"build": "table", "rpminfo": "table", "rpmsigs": "table", "archiveinfo": "table"}
	opt := pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}
	again := opt
	again.Tags = pulltest.WayTags // where there is all that can happen
	past, pastAgain := opt, again
	past.Since, pastAgain.Since = 300, 300
	for _, test := range []struct {
		name  string
		opt   pull.Options
		again bool
		some  int // places
	}{
		{"history", past.WithPager(pager.Options{Batch: 10, Page: 120}), false, 4},
		{"history again", pastAgain.WithPager(pager.Options{Batch: 5, Page: 120}), true, 5},
		{"ids", opt.WithPager(pager.Options{Batch: 10, Page: 120}), false, 3},
		{"pages", opt.WithPager(pager.Options{Batch: 25, Page: 120, Strategies: pages}), false, 2},
		{"again", again.WithPager(pager.Options{Batch: 5, Page: 120}), true, 5},
		{"again by pages", opt.WithPager(pager.Options{Batch: 5, Page: 120, Strategies: pages}), true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newCutHub(t, test.opt)
			base := pulltest.NewStore(t)
			if test.again {
				w.whole(t, base)
				w.change(t, 60)
			}
			want, needed := w.whole(t, copyOf(t, base))
			if test.again == (want.Manifest.Parent == "") {
				t.Errorf("going on from %q", want.Manifest.Parent)
			}
			for i, after := range cuts(len(needed), test.some) {
				w.cut(t, copyOf(t, base), after, i%2 == 1, want, needed)
			}
		})
	}
}

// TestPullCutOffS3 does so in S3.
func TestPullCutOffS3(t *testing.T) {
	w := newCutHub(t, pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}.WithPager(pager.Options{Batch: 5}))
	base, s := pulltest.NewStore(t), s3test.Start(t).Open(t)
	w.whole(t, base)
	w.whole(t, s)
	w.change(t, 60)
	want, needed := w.whole(t, base)
	w.cut(t, s, len(needed)/2, false, want, needed)
}

// TestPullGoesOnOrNot cuts a pull off, changes something, and pulls again: does it go on?
func TestPullGoesOnOrNot(t *testing.T) {
	w := newCutHub(t, pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}.WithPager(pager.Options{Batch: 50}))
	base := pulltest.NewStore(t)
	w.whole(t, base)
	w.change(t, 20)
	at := &changingHub{t: t, rows: w.rows}
	event := at.event()
	want, needed := w.whole(t, copyOf(t, base))
	w.gate.set(len(needed)-1, func() bool { return true })
	cutOff := copyOf(t, base)
	if _, err := w.pull(t.Context(), t, cutOff); err == nil {
		t.Fatal("not cut off")
	}
	at.wait(time.Minute)
	set := func(t *testing.T, values hubtest.Values) {
		t.Helper()
		if n, err := w.rows.Update("events", hubtest.Values{"id": event}, values); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	row, err := w.rows.Select("events", hubtest.Values{"id": event})
	if err != nil || len(row) != 1 {
		t.Fatal(row, err)
	}
	const no, yes, damaged = "no", "yes", "yes, but parts are damaged"
	for name, test := range map[string]struct {
		goesOn string
		change func(t *testing.T, w *cutHub, s *dir.Store)
	}{
		"at once":             {yes, func(*testing.T, *cutHub, *dir.Store) {}},
		"eleven hours":        {yes, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(11 * time.Hour) }},
		"twelve hours":        {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(12 * time.Hour) }},
		"the clock went back": {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.later(-12 * time.Hour) }},
		"another sweep":       {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Sweep = 2 }},
		"another overlap":     {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Overlap = 6 * time.Second }},
		"full":                {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Full = true }},
		"another event":       {no, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Event = event - 1 }},
		"the same event":      {yes, func(_ *testing.T, w *cutHub, _ *dir.Store) { w.opt.Event = event }},
		"another Koji": {no, func(t *testing.T, w *cutHub, _ *dir.Store) {
			was := w.gate.hub
			w.gate.hub = hubtest.New(w.rows, hubtest.Options{KojiVersion: "1.35.4"})
			t.Cleanup(func() { w.gate.hub = was })
		}},
		"the base is gone": {no, func(t *testing.T, _ *cutHub, s *dir.Store) { removeAll(t, s, "snapshots/") }},
		"a snapshot in between": {no, func(t *testing.T, w *cutHub, s *dir.Store) {
			between := *w
			between.opt.Event, between.opt.Full = event-1, true
			putBack := remember(t, s, "pulls/") // Pull takes them away, but one of another version may not
			between.whole(t, s)
			putBack()
		}},
		"a later snapshot": {no, func(t *testing.T, w *cutHub, s *dir.Store) {
			later := *w
			later.opt.Event, later.opt.Full = event+1, true
			putBack := remember(t, s, "pulls/")
			later.whole(t, s)
			putBack()
		}},
		"another history": {no, func(t *testing.T, _ *cutHub, _ *dir.Store) {
			set(t, hubtest.Values{"time": row[0]["time"].(hubtest.Time) + 1})
			t.Cleanup(func() { set(t, row[0]) })
		}},
		"the event is gone": {no, func(t *testing.T, w *cutHub, _ *dir.Store) {
			set(t, hubtest.Values{"id": event + 2})
			t.Cleanup(func() {
				if n, err := w.rows.Update("events", hubtest.Values{"id": event + 2}, row[0]); n != 1 || err != nil {
					t.Error(n, err)
				}
			})
		}},
		"parts are damaged": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) {
			damage(t, s, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		"parts are cut short": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) {
			damage(t, s, func(b []byte) []byte { return b[:len(b)-1] })
		}},
		"parts are empty": {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) { damage(t, s, func([]byte) []byte { return nil }) }},
		"parts are gone":  {damaged, func(t *testing.T, _ *cutHub, s *dir.Store) { damage(t, s, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := *w, copyOf(t, cutOff)
			test.change(t, &w, s)
			got, methods := w.whole(t, s)
			if went := got.Manifest.Event == event; went != (test.goesOn != no) {
				t.Errorf("event %d, the one that was cut off was at %d", got.Manifest.Event, event)
			}
			if asked := slices.Contains(methods, "listChannels"); asked != (test.goesOn != yes) {
				t.Errorf("asked for %v", count(methods))
			}
			if test.goesOn != no && !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
				t.Error("not what a pull at once gives")
			}
			if left, err := s.List(t.Context(), "pulls/"); err != nil || len(left) > 0 {
				t.Errorf("%d objects stay, %v", len(left), err)
			}
		})
	}
}

// remember remembers objects and returns what puts them back.
func remember(t *testing.T, s *dir.Store, prefix string) func() {
	t.Helper()
	saved := copyOf(t, s)
	return func() {
		t.Helper()
		all, err := saved.List(t.Context(), prefix)
		if err != nil || len(all) == 0 {
			t.Fatal(len(all), err)
		}
		for _, e := range all {
			body, err := os.ReadFile(filepath.Join(saved.String(), filepath.FromSlash(e.Name)))
			if err == nil {
				err = s.Put(t.Context(), e.Name, bytes.NewReader(body))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *cutHub) later(d time.Duration) {
	at := w.opt.Now().Add(d)
	w.opt.Now = func() time.Time { return at }
}

func removeAll(t *testing.T, s *dir.Store, prefix string) {
	t.Helper()
	all, err := s.List(t.Context(), prefix)
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	for _, e := range all {
		if err := s.Delete(t.Context(), e.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// damage changes or removes all parts in a store.
func damage(t *testing.T, s *dir.Store, how func([]byte) []byte) {
	t.Helper()
	all, err := s.List(t.Context(), "pulls/")
	if err != nil || len(all) < 5 {
		t.Fatal(len(all), err)
	}
	for _, e := range all {
		path := filepath.Join(s.String(), filepath.FromSlash(e.Name))
		switch {
		case strings.HasSuffix(e.Name, "/state"):
		case how == nil:
			err = os.Remove(path)
		default:
			var body []byte
			if body, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(path, how(body), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPullHeals changes the hub at random while pulls are cut off. What goes on holds rows of two
// times; the next pull has everything right, but for what a sweep finds.
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
	wentOn := 0
	for range 2 {
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
			if r.Event != begun && !renamed { // a scope of other names is another
				t.Errorf("event %d, begun at %d", r.Event, begun)
			}
			if r.Event == begun {
				wentOn++
			}
		}
		// What is revoked counts from the snapshot before.
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

// TestPullHealsRecycled has a build reset, made anew and tagged again after a pull that is cut off
// has read its tagging, and before it reads the build. By the build's row nothing tells the next
// pull, whose base that is, but that it is younger than the base.
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
	// In f42, and older than the overlap: what is younger is asked for again anyway.
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
