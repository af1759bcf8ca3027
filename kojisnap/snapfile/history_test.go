package snapfile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// tagging is a row of tag_listing; until is 0 for one that nobody revoked.
func tagging(build, from, until int) [][]byte {
	rel := relation.Get("tag_listing")
	r := make([][]byte, len(rel.Columns))
	set := func(column string, v any) { r[rel.Index(column)] = []byte(fmt.Sprint(v)) }
	set("build_id", build)
	set("tag_id", 1)
	set("create_event", from)
	set("creator_id", 1)
	if until == 0 {
		set("active", "t")
		return r
	}
	set("revoke_event", until)
	set("revoker_id", 2)
	return r
}

// TestHistory has snapshots whose revoked rows go on from those of one another, and looks at them as of any
// event: it is what was there then.
func TestHistory(t *testing.T) {
	rel, m := relation.Get("tag_listing"), memory{}
	rnd := rand.New(rand.NewPCG(1, 2))
	type span struct{ build, from, until int }
	var all []span
	var snap *snapfile.Snapshot
	layers := 0
	for event := 100; event <= 600; event += 100 {
		view, revoked := snapfile.NewWriter(rel, t.TempDir()), snapfile.NewWriter(rel, t.TempDir())
		add := func(w *snapfile.Writer, s span) {
			t.Helper()
			if err := w.Add(tagging(s.build, s.from, s.until)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range all {
			if all[i].until == 0 && rnd.IntN(3) == 0 {
				all[i].until = event - rnd.IntN(90)
				add(revoked, all[i])
			}
		}
		for n := range 1000 / (event / 100) / (event / 100) { // fewer each time, so that there are layers
			s := span{event*1000 + n, event - 99 + rnd.IntN(50), 0}
			if rnd.IntN(2) == 0 {
				s.until = s.from + 1 + rnd.IntN(40)
				add(revoked, s)
			} else {
				add(view, s)
			}
			all = append(all, s)
		}
		was := snap
		var out snapfile.Relation
		var err error
		if was == nil {
			if out.Segments, err = view.Finish(t.Context(), 0, m.put); err == nil {
				out.Revoked, err = revoked.Finish(t.Context(), 0, m.put)
			}
		} else {
			gone := map[string]bool{}
			for _, s := range all {
				if s.until > 0 {
					gone[fmt.Sprint(s.build)] = true
				}
			}
			keep := func(row [][]byte) (bool, error) { return !gone[string(row[rel.Index("build_id")])], nil }
			if out.Segments, _, err = view.FinishOver(t.Context(), was, keep, m.put); err == nil {
				out.Revoked, err = revoked.FinishRevokedOver(t.Context(), was, keepAll, m.put)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out.Revoked {
			layers = max(layers, s.Layer)
		}
		snap = openAt(t, m, int64(event), rel.Name, out.Segments, out.Revoked)
		if was != nil {
			var want []string
			changed := snap.ChangedRevoked(t.Context(), was, rel.Name)
			for changed.Next() {
				want = append(want, string(changed.Line()))
			}
			had, has := lines(t, was.Revoked(t.Context(), rel.Name)), lines(t, snap.Revoked(t.Context(), rel.Name))
			for _, line := range has {
				if !slices.Contains(had, line) && !slices.Contains(want, line) {
					t.Fatalf("event %d: %q is not told as changed", event, line)
				}
			}
			if changed.Err() != nil || len(has) == len(want) {
				t.Errorf("event %d: %v, %d of %d revoked rows changed", event, changed.Err(), len(want), len(has))
			}
		}
		for range 20 {
			at := 1 + rnd.IntN(event)
			past, err := snap.At(int64(at))
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, s := range all {
				if s.from <= at && (s.until == 0 || s.until > at) {
					want = append(want, string(snapfile.AppendLine(nil, tagging(s.build, s.from, 0))))
				}
			}
			got := lines(t, past.Rows(t.Context(), rel.Name))
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("snapshot of event %d at %d: %d rows, want %d", event, at, len(got), len(want))
			}
		}
	}
	if layers == 0 {
		t.Error("no revoked rows have layers")
	}
	if _, err := snap.At(601); err == nil {
		t.Error("a snapshot of event 600 tells of event 601")
	}
}

// TestHistoryFrom: what manifests of earlier versions do not record is worked out as far as it is known.
func TestHistoryFrom(t *testing.T) {
	for _, c := range []struct {
		parent        string
		history, want int64
	}{{"", 0, 419}, {"", 300, 300}, {"380-0123456789ab", 0, 380}, {"380-0123456789ab", 200, 200}, {"419-0123456789ab", 0, 419}, {"x", 0, 419}} {
		m := &snapfile.Manifest{Event: 419, Parent: c.parent, Scope: snapfile.Scope{All: []snapfile.Tag{{ID: 1, Name: "f41", History: c.history}}}}
		if got := m.HistoryFrom(1); got != c.want {
			t.Errorf("parent %q, history %d: from %d on, not %d", c.parent, c.history, got, c.want)
		}
		if got := m.HistoryFrom(2); got != 419 {
			t.Errorf("a tag that is not in the scope: from %d on", got)
		}
	}
}
