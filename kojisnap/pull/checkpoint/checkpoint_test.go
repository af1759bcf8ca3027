package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// taken is what a resumed stage has taken over.
type taken struct {
	rows  []string
	notes []checkpoint.Notes
}

func (t *taken) TakeRow(name string, row [][]byte, kind checkpoint.RowKind) error {
	t.rows = append(t.rows, fmt.Sprintf("%s %s %s", name, kind, row))
	return nil
}

func (t *taken) TakeNotes(n checkpoint.Notes) { t.notes = append(t.notes, n) }

func open(t *testing.T, s *dir.Store) *checkpoint.Journal {
	t.Helper()
	return checkpoint.Open(s, "https://koji.example.com/kojihub", []string{"f42"}, slog.New(slog.DiscardHandler))
}

func state(begun time.Time) checkpoint.State {
	return checkpoint.State{Hub: "https://koji.example.com/kojihub", Koji: "1.35.3", Event: 7, Begun: begun, Scope: snapfile.Scope{Tags: []string{"f42"}}}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)

// TestResume interrupts a stage and resumes it: what it has finished is taken over, and is not asked for
// again.
func TestResume(t *testing.T) {
	ctx := t.Context()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, s)
	if was, err := j.Interrupted(ctx, noon); was != nil || err != nil {
		t.Fatal(was, err)
	}
	if err := j.Begin(ctx, state(noon)); err != nil {
		t.Fatal(err)
	}
	cut := errors.New("cut off")
	note := checkpoint.Notes{Touched: []int64{3}, Recheck: []int64{4}, Holes: map[int64]int64{5: 6}, Skipped: []snapfile.LeftOut{{Relation: "build", Row: "build 9"}}}
	err = j.Stage(ctx, "rpms", &taken{}, func(st *checkpoint.Stage) error {
		b := st.Begin()
		b.Row("rpmsigs", [][]byte{[]byte("1"), nil, []byte("a\tb")}, checkpoint.InView)
		for range 2 {
			b.SharedRow("package", 2, [][]byte{[]byte("2"), []byte("bash")})
		}
		b.Note(func(n *checkpoint.Notes) { *n = note })
		if err := b.Finish(ctx, []int64{1, 2}); err != nil {
			return err
		}
		answer, err := checkpoint.Once(ctx, st, "how many", func(b *checkpoint.Batch) (int, error) {
			b.Row("rpmsigs", [][]byte{[]byte("3"), nil, nil}, checkpoint.Gone)
			return 42, nil
		})
		if answer != 42 || err != nil {
			t.Error(answer, err)
		}
		lost := st.Begin()
		lost.Row("rpmsigs", [][]byte{[]byte("4"), nil, nil}, checkpoint.InView) // its batch is never finished
		return cut
	})
	if !errors.Is(err, cut) {
		t.Fatal(err)
	}

	j = open(t, s)
	was, err := j.Interrupted(ctx, noon.Add(time.Hour))
	if err != nil || was == nil || !was.Same(state(noon.Add(time.Hour))) {
		t.Fatal(was, err)
	}
	if old, err := j.Interrupted(ctx, noon.Add(12*time.Hour)); old != nil || err != nil {
		t.Error(old, err)
	}
	j.Resume(*was)
	var got taken
	err = j.Stage(ctx, "rpms", &got, func(st *checkpoint.Stage) error {
		if rest := st.Rest(idset.Of([]int64{1, 2, 3})).List(); !slices.Equal(rest, []int64{3}) {
			t.Errorf("rest: %v", rest)
		}
		answer, err := checkpoint.Once(ctx, st, "how many", func(*checkpoint.Batch) (int, error) { return 0, errors.New("asked again") })
		if answer != 42 {
			t.Errorf("answer: %d", answer)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := []string{"rpmsigs view [1  a\tb]", "package view [2 bash]", "rpmsigs gone [3  ]"}
	if !slices.Equal(got.rows, rows) || len(got.notes) != 2 || !reflect.DeepEqual(got.notes[0], note) {
		t.Errorf("taken over: %q, %+v", got.rows, got.notes)
	}

	if err := j.Drop(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(ctx, ""); len(all) > 0 || err != nil {
		t.Error(all, err)
	}
}

// TestOther: nothing is taken over from a pull about something else.
func TestOther(t *testing.T) {
	a, b := state(noon), state(noon)
	for name, change := range map[string]func(*checkpoint.State){
		"event": func(s *checkpoint.State) { s.Event++ },
		"base":  func(s *checkpoint.State) { s.Base = "6-x" },
		"scope": func(s *checkpoint.State) { s.Scope.All = []snapfile.Tag{{ID: 1, Name: "f42"}} },
		"slice": func(s *checkpoint.State) { s.Incremental = &checkpoint.Incremental{Slice: 1} },
	} {
		other := b
		if change(&other); a.Same(other) {
			t.Errorf("%s: the same", name)
		}
	}
}

// TestDamaged: what a damaged part had is asked for again.
func TestDamaged(t *testing.T) {
	ctx := t.Context()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, s)
	if err := j.Begin(ctx, state(noon)); err != nil {
		t.Fatal(err)
	}
	finish := func(st *checkpoint.Stage) error { return st.Begin().Finish(ctx, []int64{1}) }
	if err := j.Stage(ctx, "rpms", &taken{}, finish); err != nil {
		t.Fatal(err)
	}
	all, err := s.List(ctx, snapfile.PullPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if !strings.HasSuffix(e.Name, "/state") {
			if err := s.Put(ctx, e.Name, strings.NewReader("rubbish")); err != nil {
				t.Fatal(err)
			}
		}
	}
	j.Resume(state(noon))
	err = j.Stage(ctx, "rpms", &taken{}, func(st *checkpoint.Stage) error {
		if rest := st.Rest(idset.Of([]int64{1})); rest.Len() != 1 {
			t.Errorf("rest: %v", rest)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestNothingKept runs stages of a journal that keeps nothing.
func TestNothingKept(t *testing.T) {
	var j *checkpoint.Journal
	err := j.Stage(context.Background(), "rpms", nil, func(st *checkpoint.Stage) error {
		b := st.Begin()
		b.Row("package", nil, checkpoint.InView)
		b.SharedRow("package", 1, nil)
		b.Note(nil)
		return errors.Join(b.Finish(t.Context(), nil), checkpoint.Do(t.Context(), st, "key", func(*checkpoint.Batch) error { return nil }))
	})
	if err != nil {
		t.Error(err)
	}
}
