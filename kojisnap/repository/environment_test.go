package repository_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
)

// holds notes that an environment holds a snapshot.
func holds(t testing.TB, s store.Store, env string, snap *snapfile.Snapshot) {
	t.Helper()
	err := repository.UpdateEnvironment(t.Context(), s, env, func(e *repository.Environment) { e.HoldsNow(snap, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

// three are snapshots of one hub in a store, the earliest first.
func three(t testing.TB, s store.Store) []*snapfile.Snapshot {
	t.Helper()
	c, _ := pulltest.Production(t, hubtest.Options{})
	var all []*snapfile.Snapshot
	for _, event := range []int64{300, 400, pulltest.LastEvent} {
		snap, err := repository.Open(t.Context(), s, pullFrom(t, c, s, event, nil))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, snap)
	}
	return all
}

func prune(t testing.TB, s store.Store, forget ...string) *repository.PruneResult {
	t.Helper()
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1, Forget: forget})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPruneKeepsHeld: prune keeps what an environment holds, and the later snapshots, which its next load reads;
// others it removes. --forget ends that, and takes the records along. Both kinds of stores do.
func TestPruneKeepsHeld(t *testing.T) {
	eachStoreInTime(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := open(t)
		snaps := three(t, s)
		holds(t, s, "stg", snaps[1])
		holds(t, s, "dev", snaps[2])
		r := prune(t, s)
		if !slices.Equal(r.Removed, []string{snaps[0].ID}) || !slices.Equal(r.Needed[snaps[1].ID], []string{"stg"}) || len(r.Unseen) != 0 {
			t.Errorf("%+v", r)
		}
		if err := repository.PutHeld(t.Context(), s, "stg", snaps[1]); err != nil {
			t.Fatal(err)
		}
		if r := prune(t, s, "stg"); !slices.Equal(r.Removed, []string{snaps[1].ID}) {
			t.Errorf("%+v", r)
		}
		if left := append(objects(t, s, "environments/"), objects(t, s, "held/")...); !slices.Equal(left, []string{"environments/dev"}) {
			t.Errorf("%q", left)
		}
	})
}

// TestEnvironmentsOfBothAges: kojisnaps of both ages share a store. What either has noted last counts, and what an
// earlier one needs is noted as it reads it.
func TestEnvironmentsOfBothAges(t *testing.T) {
	s := pulltest.NewStore(t)
	snaps := three(t, s)
	held := func(env string, snap *snapfile.Snapshot, at time.Time) {
		t.Helper()
		text := fmt.Sprintf(`{"hub":%q,"event":%d,"loaded":%q}`, snap.Manifest.Hub, snap.Manifest.Event, at.Format(time.RFC3339Nano))
		if err := s.Put(t.Context(), "held/"+env, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	// An earlier one loaded last: an older snapshot.
	holds(t, s, "stg", snaps[2])
	held("stg", snaps[0], time.Now().Add(time.Minute))
	// This one loaded last.
	held("dev", snaps[0], time.Now().Add(-time.Minute))
	holds(t, s, "dev", snaps[1])
	// Only an earlier one is there.
	held("old", snaps[1], time.Now())
	all, err := repository.Environments(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%s %d %q", e.Name, e.Event, e.Snapshot))
	}
	if want := []string{fmt.Sprintf("dev 400 %q", snaps[1].ID), `old 400 ""`, `stg 300 ""`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r := prune(t, s); len(r.Removed) != 0 {
		t.Errorf("%+v", r)
	}
	if r := prune(t, s, "stg"); !slices.Equal(r.Removed, []string{snaps[0].ID}) {
		t.Errorf("%+v", r)
	}
}

// TestPruneUnseen: an environment that nobody has seen for a month is named, and what it needs stays. A record that
// cannot be read stops the prune: nobody knows what it needs.
func TestPruneUnseen(t *testing.T) {
	s := pulltest.NewStore(t)
	snaps := three(t, s)
	old := repository.Environment{Name: "gone", Seen: time.Now().Add(-31 * 24 * time.Hour), Snapshot: snaps[0].ID, Hub: snaps[0].Manifest.Hub, Event: snaps[0].Manifest.Event}
	put := func(name string, v any) {
		t.Helper()
		text, err := json.Marshal(v)
		if err == nil {
			err = s.Put(t.Context(), name, strings.NewReader(string(text)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("environments/gone", old)
	holds(t, s, "stg", snaps[2])
	r := prune(t, s)
	if len(r.Unseen) != 1 || r.Unseen[0].Name != "gone" || r.Unseen[0].Snapshot != snaps[0].ID || len(r.Removed) != 0 {
		t.Errorf("%+v", r)
	}
	put("environments/gone", "no record")
	if _, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1}); err == nil || !strings.Contains(err.Error(), "environments/gone") {
		t.Errorf("%v", err)
	}
	if ids := objects(t, s, "snapshots/"); len(ids) != 3 {
		t.Errorf("%q", ids)
	}
	if r := prune(t, s, "gone"); len(r.Removed) != 2 {
		t.Errorf("%+v", r)
	}
}

// TestPruneMeetsEnvironment: an environment notes what it holds now at whatever moment of a prune. What it holds stays,
// with the later snapshots, and so does its record.
func TestPruneMeetsEnvironment(t *testing.T) {
	whole := pulltest.NewStore(t)
	snaps := three(t, whole)
	for _, forget := range [][]string{nil, {"stg"}} {
		for at := 0; ; at++ {
			path := t.TempDir()
			if err := os.CopyFS(path, os.DirFS(whole.String())); err != nil {
				t.Fatal(err)
			}
			copied, err := dir.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			s := &tampered{Store: copied}
			holds(t, s, "stg", snaps[0])
			n, met := 0, false
			s.before = func(string, string) error {
				if n++; n == at+1 && !met {
					met = true
					s.before = nil // the environment's own steps
					holds(t, s, "stg", snaps[2])
				}
				return nil
			}
			r := prune(t, s, forget...)
			if !met {
				break // all moments were tried
			}
			s.before = nil
			all, err := repository.Environments(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if _, err := repository.Open(t.Context(), s, e.Snapshot); err != nil || e.Name != "stg" {
					t.Errorf("step %d: %+v: %v", at, e, err)
				}
			}
			if _, err := repository.Open(t.Context(), s, snaps[2].ID); err != nil {
				t.Errorf("step %d: %v", at, err)
			}
			if forget == nil && (len(all) != 1 || all[0].Snapshot != snaps[2].ID) {
				t.Errorf("step %d: %+v after %+v", at, all, r)
			}
		}
	}
}

// TestPulled: the record of a pull that failed still tells of the last one that did not, each scope by itself.
func TestPulled(t *testing.T) {
	s := pulltest.NewStore(t)
	first := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	tags := []string{"b", "a", "a"}
	for _, p := range []repository.Pulled{
		{Hub: "h", Tags: tags, Finished: first, Snapshot: "1-0123456789ab", Event: 1},
		{Hub: "h", Tags: tags, Finished: first.Add(time.Minute), Exit: 5, Error: "no route"},
		{Hub: "h", Tags: []string{"a"}, Finished: first, Snapshot: "2-0123456789ab", Event: 2},
	} {
		if err := repository.PutPulled(t.Context(), s, p); err != nil {
			t.Fatal(err)
		}
	}
	p, err := repository.ReadPulled(t.Context(), s, "h", []string{"a", "b"})
	if err != nil || p == nil || p.Exit != 5 || p.Snapshot != "1-0123456789ab" || p.Event != 1 || !p.Succeeded.Equal(first) || p.Error != "no route" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := repository.ReadPulled(t.Context(), s, "other", []string{"a"}); p != nil || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
}
