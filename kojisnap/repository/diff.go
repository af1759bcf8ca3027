package repository

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// DiffResult says how the rows of snapshot B differ from those of snapshot A.
type DiffResult struct {
	A DiffSide `json:"a"`
	B DiffSide `json:"b"`
	// Relations are those that differ, in the catalogue's order.
	Relations []RelationDiff `json:"relations"`
}

// DiffSide is one of the snapshots.
type DiffSide struct {
	ID        string    `json:"id"`
	Hub       string    `json:"hub"`
	Event     int64     `json:"event"`
	EventTime time.Time `json:"event_time"`
	Tags      []string  `json:"tags"`
}

// RelationDiff counts the rows of one relation that differ, by key.
type RelationDiff struct {
	Relation string `json:"relation"`
	Added    int64  `json:"added"`   // in B only
	Removed  int64  `json:"removed"` // in A only
	Changed  int64  `json:"changed"` // in both, and not equal
}

// RowDiff is one row that differs.
type RowDiff struct {
	Relation *relation.Relation
	A, B     [][]byte // by column, NULL is nil; a side that has no such row is nil. Valid during the call.
}

// Diff compares the views of two snapshots, relation by relation, in the order of the catalogue
// and of the keys. each, if not nil, is called for every row that differs; its error ends the
// comparison. Both are read once and nothing is kept, so memory does not grow with them. An optional relation is
// compared only if both have it.
func Diff(ctx context.Context, a, b *snapfile.Snapshot, each func(RowDiff) error) (*DiffResult, error) {
	r := &DiffResult{A: diffSide(a), B: diffSide(b), Relations: []RelationDiff{}}
	for _, rel := range slices.Concat(relation.All(), relation.Optional()) {
		if rel.Optional && (!a.Manifest.HasRelation(rel) || !b.Manifest.HasRelation(rel)) {
			continue // one of the sources did not tell
		}
		if !a.Filtered() && !b.Filtered() && slices.Equal(a.Relation(rel.Name).Segments, b.Relation(rel.Name).Segments) {
			continue // the same bytes
		}
		d, err := diffRelation(ctx, rel, a, b, each)
		if err != nil {
			return nil, fmt.Errorf("diff of %s: %w", rel.Name, err)
		}
		if d.Added+d.Removed+d.Changed > 0 {
			r.Relations = append(r.Relations, d)
		}
	}
	return r, nil
}

func diffSide(s *snapfile.Snapshot) DiffSide {
	return DiffSide{s.ID, s.Manifest.Hub, s.Manifest.Event, s.Manifest.EventTime, s.Manifest.Scope.AskedFor()}
}

func diffRelation(ctx context.Context, rel *relation.Relation, a, b *snapfile.Snapshot, each func(RowDiff) error) (RelationDiff, error) {
	d := RelationDiff{Relation: rel.Name}
	both := snapfile.Compare(ctx, a, b, rel.Name)
	defer both.Close()
	for both.Next() {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		switch {
		case both.B == nil:
			d.Removed++
		case both.A == nil:
			d.Added++
		default:
			d.Changed++
		}
		if each == nil {
			continue
		}
		diff := RowDiff{Relation: rel}
		var err error
		if diff.A, diff.B, err = both.Fields(); err != nil {
			return d, err
		}
		if err := each(diff); err != nil {
			return d, err
		}
	}
	return d, both.Err()
}
