package pull_test

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
)

// TestPullResumes: the hub fails at random, again and again. The pull resumes each time, at the same event,
// until it is done, and does not ask again for what it has.
func TestPullResumes(t *testing.T) {
	seedtest.Each(t, []uint64{1, 2, 3}, testPullResumes)
}

func testPullResumes(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(rows, hubtest.Options{})
	var left atomic.Int64 // requests until the hub fails
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			http.Error(w, "the hub is gone", http.StatusServiceUnavailable)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	const batch = 10
	opt := pull.Options{Tags: pulltest.WayTags, Margin: -1, Program: "test"}.WithPager(pager.Options{Batch: batch})
	left.Store(1 << 40)
	reference := pulltest.NewStore(t)
	r, err := pull.Pull(t.Context(), c, reference, opt)
	if err != nil {
		t.Fatal(err)
	}
	want, err := repository.Open(t.Context(), reference, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	needed := server.Calls()

	s := pulltest.NewStore(t)
	failed := 0
	for {
		left.Store(20 + rnd.Int64N(60))
		if r, err = pull.Pull(t.Context(), c, s, opt); err == nil {
			break
		}
		if failed++; failed == 1 {
			// Later events must not matter.
			event := readTSV(t, "events")[pulltest.LastEvent-1]
			if err := rows.Insert("events", hubtest.Values{"id": pulltest.LastEvent + 1, "time": event["time"]}); err != nil {
				t.Fatal(err)
			}
		}
		if failed > 40 {
			t.Fatalf("not done after %d times: %v", failed, err)
		}
		if !strings.Contains(err.Error(), "503") {
			t.Fatal(err)
		}
	}
	if r.Event != want.Manifest.Event {
		t.Errorf("event %d, begun at %d", r.Event, want.Manifest.Event)
	}
	got, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Manifest.Relations, want.Manifest.Relations) {
		t.Error("not what a pull at once gives")
	}
	// Only requests that were running at a failure were repeated.
	for method, n := range server.Calls() {
		again := n - needed[method] - needed[method]
		switch method {
		case "getBuild", "listRPMs", "queryRPMSigs", "listArchives":
			if most := failed * 2 * 2 * batch; again > most || failed < 3 {
				t.Errorf("%s: %d calls again after %d failures, at most %d", method, again, failed, most)
			}
		}
	}
	if left, err := s.List(t.Context(), "pulls/"); err != nil || len(left) > 0 {
		t.Errorf("%d objects stay, %v", len(left), err)
	}
	t.Logf("%d failures", failed)
}

// TestPullResumesNot begins from scratch if the store has the state of another pull.
func TestPullResumesNot(t *testing.T) {
	broken := true
	server := pulltest.Breaking(t, &broken)
	c := pulltest.Client(t, server)
	s := pulltest.NewStore(t)
	opt := pull.Options{Tags: pulltest.WayTags, Event: 400, Program: "test"}
	if _, err := pull.Pull(t.Context(), c, s, opt); err == nil {
		t.Fatal("half of a reply was enough")
	}
	parts, err := s.List(t.Context(), "pulls/")
	if err != nil || len(parts) < 4 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	broken = false
	before := server.Calls()["getBuild"]
	opt.Event = 390
	r, err := pull.Pull(t.Context(), c, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	whole := pulltest.Pull(t, c, pulltest.NewStore(t), 390, pulltest.WayTags...)
	got, err := repository.Open(t.Context(), s, r.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Manifest.Relations, whole.Manifest.Relations) {
		t.Error("rows of another event were taken over")
	}
	if n := server.Calls()["getBuild"] - before; n == 0 {
		t.Error("no build was asked for")
	}
}
