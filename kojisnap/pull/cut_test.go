package pull_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
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

// gate stands before a hub and interrupts pulls.
type gate struct {
	hub http.Handler

	mu    sync.Mutex
	log   []string    // methods of the requests that passed
	after int         // how many requests pass; negative: all
	cut   func() bool // called at the next request; reports whether this and all later requests fail
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
	// By the hub's clock everything that it has is in the past.
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

// set lets some requests pass and starts a new log.
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

// cutHub is a hub behind a gate that interrupts pulls.
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
	if opt.Tags == nil && !opt.Everything {
		opt.Tags = cutTags
	}
	w := &cutHub{rows: rows, gate: &gate{hub: hubtest.New(rows, hubtest.Options{}), after: -1}, opt: opt}
	srv := httptest.NewServer(w.gate)
	t.Cleanup(srv.Close)
	w.url = srv.URL + "/kojihub"
	return w
}

// change makes some changes of all kinds in the hub, days after the last event.
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
	// A transaction from the base's time commits only now.
	tagged, err := w.rows.Select("tag_listing", hubtest.Values{"tag_id": 2, "active": true})
	if err != nil || len(tagged) == 0 {
		t.Fatal(len(tagged), err)
	}
	late := hubtest.Values{"active": nil, "revoke_event": pulltest.LastEvent, "revoker_id": 1}
	if n, err := w.rows.Update("tag_listing", hubtest.Values{"tag_id": 2, "build_id": tagged[0]["build_id"], "active": true}, late); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// pull pulls as a separate process would.
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

// whole pulls without an interruption. It returns the snapshot and the methods of all requests.
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

// opening returns how many requests come before the first one whose answer is kept.
func opening(methods []string) int { return slices.Index(methods, "listBTypes") }

// cut interrupts a pull in the store s after some requests, resumes it, and compares the result and the
// requests with an uninterrupted pull.
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

	// Later events must not matter.
	last := (&changingHub{t: t, rows: w.rows}).event()
	(&changingHub{t: t, rows: w.rows}).wait(time.Minute)
	got, second := w.whole(t, s)
	if n, err := w.rows.Delete("events", hubtest.Values{"id": last + 1}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	begun := after > opening(needed) // before that there is nothing to resume
	if begun && got.Manifest.Event != want.Manifest.Event {
		t.Errorf("event %d, begun at %d", got.Manifest.Event, want.Manifest.Event)
	}
	if begun && !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) || got.Manifest.Parent != want.Manifest.Parent {
		t.Errorf("cut off after %d requests: not what a pull at once gives", after)
	}
	// A batch that was running may have made a request before.
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

// cuts returns after how many requests pulls are interrupted: some of the range, or all with
// KOJISNAP_CUTS=all. In the short form these are two places; those of all ways of pulling, of which this is one,
// are spread over the range and have its ends.
func cuts(requests, some, way, ways int) []int {
	if !seedtest.Long() && os.Getenv("KOJISNAP_CUTS") == "" {
		last := 2*ways - 1
		return []int{1 + (requests-2)*way/last, 1 + (requests-2)*(way+ways)/last}
	}
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

// TestPullCutOff interrupts pulls everywhere: full ones, by ids and by pages, and incremental ones. The hub
// fails, or the pull is canceled.
func TestPullCutOff(t *testing.T) {
	pages := map[string]string{"build": "table", "rpminfo": "table", "rpmsigs": "table", "archiveinfo": "table"}
	opt := pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}
	again := opt
	again.Tags = pulltest.WayTags // a scope where everything can happen
	everything := opt
	everything.Everything = true
	past, pastAgain := opt, again
	past.Since, pastAgain.Since = 300, 300
	ways := []struct {
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
		{"everything", everything.WithPager(pager.Options{Batch: 25, Page: 120, Strategies: pages}).WithWindows(40, 1), false, 4},
		{"everything again", everything.WithPager(pager.Options{Batch: 25, Page: 120}), true, 5},
		{"again by pages", opt.WithPager(pager.Options{Batch: 5, Page: 120, Strategies: pages}), true, 2},
	}
	for way, test := range ways {
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
			for i, after := range cuts(len(needed), test.some, way, len(ways)) {
				w.cut(t, copyOf(t, base), after, (way+i)%2 == 1, want, needed)
			}
		})
	}
}

// TestPullCutOffS3 does the same in S3.
func TestPullCutOffS3(t *testing.T) {
	w := newCutHub(t, pull.Options{Margin: -1, Sweep: 3, Overlap: 5 * time.Second}.WithPager(pager.Options{Batch: 5}))
	base, s := pulltest.NewStore(t), s3test.Start(t).Open(t)
	w.whole(t, base)
	w.whole(t, s)
	w.change(t, 60)
	want, needed := w.whole(t, base)
	w.cut(t, s, len(needed)/2, false, want, needed)
}
