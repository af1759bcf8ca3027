package repository_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

// TestDiff compares with what sets of rows, held in memory, say.
func TestDiff(t *testing.T) {
	c, rows := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	early := pulltest.Pull(t, c, s, 300, "f42-compose")
	late := pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-compose")
	// What Koji edits in place leaves no event.
	if n, err := rows.Update("build", hubtest.Values{"state": int64(1)}, hubtest.Values{"source": `git+https://example.com/\a b`}); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	edited := pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-compose")
	other := pulltest.Pull(t, c, s, pulltest.LastEvent, "f43-build")
	changed := int64(0)
	for _, pair := range [][2]*snapfile.Snapshot{{early, late}, {late, early}, {late, edited}, {late, other}, {late, late}} {
		a, b := pair[0], pair[1]
		t.Run(a.ID+" "+b.ID, func(t *testing.T) {
			var got []string
			result, err := repository.Diff(t.Context(), a, b, func(d repository.RowDiff) error {
				got = append(got, diffLine(d.Relation.Name, d.A, d.B))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want, counts := naiveDiff(t, a, b)
			if !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				t.Errorf("got %d rows:\n%s\nwant %d:\n%s", len(got), head(got), len(want), head(want))
			}
			if !reflect.DeepEqual(result.Relations, counts) {
				t.Errorf("got %+v\nwant %+v", result.Relations, counts)
			}
			if (a == b) != (len(want) == 0) {
				t.Errorf("%d differences", len(want))
			}
			for _, c := range counts {
				changed += c.Changed
			}
			silent, err := repository.Diff(t.Context(), a, b, nil)
			if err != nil || !reflect.DeepEqual(silent, result) {
				t.Errorf("without rows: %+v, %v", silent, err)
			}
		})
	}
	if changed == 0 {
		t.Error("no pair had a changed row")
	}
}

func TestDiffEnds(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	s := pulltest.NewStore(t)
	a, b := pulltest.Pull(t, c, s, 300, "f42-compose"), pulltest.Pull(t, c, s, pulltest.LastEvent, "f42-compose")
	stop := fmt.Errorf("enough")
	if _, err := repository.Diff(t.Context(), a, b, func(repository.RowDiff) error { return stop }); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("the caller's error: %v", err)
	}
	for _, seg := range b.Relation("tag_listing").Segments {
		if err := s.Delete(t.Context(), seg.Object()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := repository.Diff(t.Context(), a, b, nil); err == nil {
		t.Error("a snapshot without its segment was compared")
	}
}

func diffLine(rel string, a, b [][]byte) string {
	line := func(row [][]byte) string {
		if row == nil {
			return "-"
		}
		return strings.TrimSuffix(string(snapfile.AppendLine(nil, row)), "\n")
	}
	return rel + " | " + line(a) + " | " + line(b)
}

func naiveDiff(t *testing.T, a, b *snapfile.Snapshot) (lines []string, counts []repository.RelationDiff) {
	t.Helper()
	counts = []repository.RelationDiff{}
	for _, rel := range relation.All() {
		left, right := byKey(t, a, rel), byKey(t, b, rel)
		d := repository.RelationDiff{Relation: rel.Name}
		for key, row := range left {
			switch now, ok := right[key]; {
			case !ok:
				d.Removed++
				lines = append(lines, diffLine(rel.Name, row, nil))
			case !slices.EqualFunc(row, now, bytes.Equal):
				d.Changed++
				lines = append(lines, diffLine(rel.Name, row, now))
			}
		}
		for key, row := range right {
			if _, ok := left[key]; !ok {
				d.Added++
				lines = append(lines, diffLine(rel.Name, nil, row))
			}
		}
		if d.Added+d.Removed+d.Changed > 0 {
			counts = append(counts, d)
		}
	}
	slices.Sort(lines)
	return lines, counts
}

func byKey(t *testing.T, snap *snapfile.Snapshot, rel *relation.Relation) map[string][][]byte {
	t.Helper()
	all := map[string][][]byte{}
	for _, line := range pulltest.SnapshotRows(t, snap, rel.Name) {
		row, err := snapfile.ParseLine([]byte(line), nil)
		if err != nil {
			t.Fatal(err)
		}
		var key []string
		for _, i := range rel.KeyIndexes() {
			key = append(key, string(row[i]))
		}
		all[strings.Join(key, "\x00")] = row
	}
	return all
}

func head(lines []string) string { return strings.Join(lines[:min(5, len(lines))], "\n") }
