package kojisnap

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
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
// comparison. Both are read once and nothing is kept, so memory does not grow with them.
func Diff(ctx context.Context, a, b *snapfile.Snapshot, each func(RowDiff) error) (*DiffResult, error) {
	r := &DiffResult{A: diffSide(a), B: diffSide(b), Relations: []RelationDiff{}}
	for _, rel := range relation.All() {
		if slices.Equal(a.Relation(rel.Name).Segments, b.Relation(rel.Name).Segments) {
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
	return DiffSide{s.ID, s.Manifest.Hub, s.Manifest.Event, s.Manifest.EventTime, s.Manifest.Scope.Tags}
}

func diffRelation(ctx context.Context, rel *relation.Relation, a, b *snapfile.Snapshot, each func(RowDiff) error) (RelationDiff, error) {
	d := RelationDiff{Relation: rel.Name}
	if each == nil {
		each = func(RowDiff) error { return nil }
	}
	left := &cursor{rel: rel, rows: a.Rows(ctx, rel.Name)}
	defer left.rows.Close()
	right := &cursor{rel: rel, rows: b.Rows(ctx, rel.Name)}
	defer right.rows.Close()
	if err := cmp.Or(left.next(), right.next()); err != nil {
		return d, err
	}
	for left.row != nil || right.row != nil {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		order := 0
		switch {
		case left.row == nil:
			order = 1
		case right.row == nil:
			order = -1
		default:
			order = left.compare(right)
		}
		diff := RowDiff{Relation: rel}
		switch {
		case order < 0:
			d.Removed++
			diff.A = left.row
		case order > 0:
			d.Added++
			diff.B = right.row
		case !bytes.Equal(left.rows.Line(), right.rows.Line()):
			d.Changed++
			diff.A, diff.B = left.row, right.row
		}
		if diff.A != nil || diff.B != nil {
			if err := each(diff); err != nil {
				return d, err
			}
		}
		if order <= 0 {
			if err := left.next(); err != nil {
				return d, err
			}
		}
		if order >= 0 {
			if err := right.next(); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// cursor stands at a row of a relation, with its key in a form that compares.
type cursor struct {
	rel  *relation.Relation
	rows *snapfile.Rows
	buf  [][]byte
	row  [][]byte // nil at the end
	key  []keyPart
}

// keyPart is a key's column: a number or a text.
type keyPart struct {
	number int64
	text   []byte
}

func (c *cursor) next() error {
	c.row = nil
	if !c.rows.Next() {
		return c.rows.Err()
	}
	row, err := c.rows.Fields(c.buf)
	if err != nil {
		return err
	}
	c.buf, c.row, c.key = row, row, c.key[:0]
	for _, i := range c.rel.KeyIndexes() {
		part := keyPart{text: row[i]}
		if c.rel.Columns[i].Type != relation.Text {
			part.text = nil
			if part.number, err = strconv.ParseInt(string(row[i]), 10, 64); err != nil {
				return c.rows.Damaged(fmt.Sprintf("column %s: %q is not a number", c.rel.Columns[i].Name, row[i]))
			}
		}
		c.key = append(c.key, part)
	}
	return nil
}

// compare orders keys as the segments of a snapshot are: numbers by value, text by its bytes.
func (c *cursor) compare(with *cursor) int {
	return slices.CompareFunc(c.key, with.key, func(a, b keyPart) int {
		return cmp.Or(cmp.Compare(a.number, b.number), bytes.Compare(a.text, b.text))
	})
}
