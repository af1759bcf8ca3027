package repository_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

func TestPrune(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t), age: 48 * time.Hour}
		ids := []string{pullTo(t, s, 300, nil), pullTo(t, s, 390, nil), pullTo(t, s, pulltest.LastEvent, nil)}
		if err := s.Put(t.Context(), "ledgers/stg", strings.NewReader("a ledger")); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "segments/notes.txt", strings.NewReader("somebody's own")); err != nil {
			t.Fatal(err)
		}
		before := objects(t, s, "")
		dry, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if after := objects(t, s, ""); !reflect.DeepEqual(after, before) {
			t.Fatalf("a dry run left %q of %q", after, before)
		}
		var order []string
		s.before = func(op, name string) error {
			if op == "delete" {
				order = append(order, strings.Split(name, "/")[0])
			}
			return nil
		}
		got, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, dry) {
			t.Errorf("done: %+v\nsaid: %+v", got, dry)
		}
		if !slices.Equal(got.Kept, ids[2:]) || !slices.Equal(got.Removed, []string{ids[1], ids[0]}) || len(got.Segments) == 0 || got.Bytes <= 0 {
			t.Errorf("%+v, of %q", got, ids)
		}
		want := []string{"ledgers/stg", "segments/notes.txt", "snapshots/" + ids[2] + ".json"}
		want = append(want, checkWhole(t, s)...)
		slices.Sort(want)
		if left := objects(t, s, ""); !slices.Equal(left, want) {
			t.Errorf("left:\n%s\nwant:\n%s", strings.Join(left, "\n"), strings.Join(want, "\n"))
		}
		if !slices.Equal(slices.Compact(order), []string{"snapshots", "segments", "locks"}) {
			t.Errorf("removed in the order of %q", order)
		}
		again, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if err != nil || len(again.Removed)+len(again.Segments) > 0 {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

func TestPruneYoung(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) store.Store) {
		s := &tampered{Store: open(t)}
		pullTo(t, s, 300, nil)
		first := checkWhole(t, s)
		latest := pullTo(t, s, pulltest.LastEvent, nil)
		prune := func() *repository.PruneResult {
			t.Helper()
			r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := prune()
		needed := checkWhole(t, s)
		unneeded := slices.DeleteFunc(first, func(name string) bool { return slices.Contains(needed, name) })
		if len(unneeded) == 0 || len(r.Segments) != 0 || r.Young != len(unneeded) || len(r.Removed) != 1 {
			t.Errorf("of %d young segments: %+v", len(unneeded), r)
		}
		s.age = repository.PruneAge - time.Hour
		if r := prune(); r.Young != len(unneeded) || len(r.Segments) != 0 {
			t.Errorf("after 23 hours: %+v", r)
		}
		s.age = repository.PruneAge
		if r := prune(); !slices.Equal(r.Segments, unneeded) || r.Young != 0 || !slices.Equal(r.Kept, []string{latest}) {
			t.Errorf("after 24 hours: %+v, want %q", r, unneeded)
		}
	})
}

// TestPruneAgeOfFiles has the times from the file system itself.
func TestPruneAgeOfFiles(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	old := checkWhole(t, s)
	pullTo(t, s, pulltest.LastEvent, nil)
	for _, name := range old {
		long := time.Now().Add(-25 * time.Hour)
		if err := os.Chtimes(filepath.Join(s.String(), name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	needed := checkWhole(t, s)
	unneeded := slices.DeleteFunc(old, func(name string) bool { return slices.Contains(needed, name) })
	if len(unneeded) == 0 || !slices.Equal(r.Segments, unneeded) {
		t.Errorf("removed %q, want %q", r.Segments, unneeded)
	}
}

// TestPruneKilled ends a prune before each of its operations that change the store.
func TestPruneKilled(t *testing.T) {
	killed := errors.New("killed")
	full := pulltest.NewStore(t)
	pullTo(t, full, 300, nil)
	pullTo(t, full, 390, nil)
	latest := pullTo(t, full, pulltest.LastEvent, nil)
	for n := 0; ; n++ {
		again := pulltest.NewStore(t)
		if err := os.CopyFS(again.String(), os.DirFS(full.String())); err != nil {
			t.Fatal(err)
		}
		s := &tampered{Store: again, age: 48 * time.Hour}
		ops := 0
		s.before = func(op, name string) error {
			if ops++; ops > n {
				return killed
			}
			return nil
		}
		_, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		s.before = nil
		checkWhole(t, s)
		if err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		r, next := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1})
		if next != nil || !slices.Equal(r.Kept, []string{latest}) {
			t.Fatalf("operation %d: the next prune: %+v, %v", n, r, next)
		}
		if got, want := objects(t, s, "segments/"), checkWhole(t, s); !slices.Equal(got, want) {
			t.Fatalf("operation %d: the next prune left %q, want %q", n, got, want)
		}
		if err == nil && ops <= n {
			if n < 4 {
				t.Fatalf("the prune had %d operations only", n)
			}
			return
		}
	}
}

// TestLeasesOfTheDead: what was killed hinders nobody for ever.
func TestLeasesOfTheDead(t *testing.T) {
	s := pulltest.NewStore(t)
	pullTo(t, s, 300, nil)
	lease := func(name string, age time.Duration) {
		t.Helper()
		if err := s.Put(t.Context(), name, strings.NewReader("gone 1\n")); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(s.String(), name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	lease("locks/prune-dead", 11*time.Minute)
	pullTo(t, s, pulltest.LastEvent, nil) // does not wait
	prune := func() *repository.PruneResult {
		t.Helper()
		r, err := repository.Prune(t.Context(), &tampered{Store: s, age: 48 * time.Hour}, repository.PruneOptions{Keep: 1})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	lease("locks/write-dead", 23*time.Hour)
	if r := prune(); !r.Writing || len(r.Segments) != 0 {
		t.Errorf("with a lease of 23 hours: %+v", r)
	}
	lease("locks/write-dead", 25*time.Hour)
	if r := prune(); r.Writing || len(r.Segments) == 0 {
		t.Errorf("with a lease of 25 hours: %+v", r)
	}
	if left := objects(t, s, "locks/"); !slices.Equal(left, []string{"locks/prune-dead"}) {
		t.Errorf("leases left: %q", left)
	}
}

func TestPruneRefuses(t *testing.T) {
	s := &tampered{Store: pulltest.NewStore(t), age: 48 * time.Hour}
	if _, err := repository.Prune(t.Context(), s, repository.PruneOptions{}); err == nil {
		t.Error("a prune that keeps nothing was accepted")
	}
	id := pullTo(t, s, 300, nil)
	pullTo(t, s, pulltest.LastEvent, nil)
	if err := s.Put(t.Context(), "snapshots/"+id+".json", strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	before := objects(t, s, "")
	var damaged *snapfile.DamagedError
	if _, err := repository.Prune(t.Context(), s, repository.PruneOptions{Keep: 1}); !errors.As(err, &damaged) {
		t.Errorf("a damaged manifest: %v", err)
	}
	if after := objects(t, s, ""); !slices.Equal(after, before) {
		t.Errorf("left %q of %q", after, before)
	}
}
