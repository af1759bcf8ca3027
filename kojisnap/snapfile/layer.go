package snapfile

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// outgrown says how large later layers may become, as a part of the base, before the relation
// is written anew: 1/outgrown.
const outgrown = 4

// FinishOver ends the work with a relation that goes on from an earlier snapshot's: base's rows
// for which keep says true, with the rows that were added in the place of those of the same key.
// keep is called at least once for every row of base, in the order of keys, in whose place none was
// added, and says the same each time; the row is valid during the call.
//
// What it returns are base's segments with, if anything differs, one more layer that holds what
// differs; or the segments of the whole relation anew, if the later layers have outgrown a
// quarter of the first, or base has credentials in it. rows is how many rows they come to. The writer is spent after, whatever
// the outcome.
func (w *Writer) FinishOver(ctx context.Context, base *Snapshot, keep func(row [][]byte) (bool, error), put PutFunc) (segments []Segment, rows int64, err error) {
	var was []Segment
	if of := base.Relation(w.rel.Name); of != nil {
		was = of.Segments
	}
	return w.finishOver(ctx, below{was, func() *Rows { return base.Rows(ctx, w.rel.Name) }, w.olderIn(base)}, keep, put)
}

// FinishRevokedOver is FinishOver for the rows that were revoked: it goes on from those of base.
func (w *Writer) FinishRevokedOver(ctx context.Context, base *Snapshot, keep func(row [][]byte) (bool, error), put PutFunc) ([]Segment, error) {
	var was []Segment
	if of := base.Relation(w.rel.Name); of != nil {
		was = of.Revoked
	}
	segments, rows, err := w.finishOver(ctx, below{was, func() *Rows { return base.Revoked(ctx, w.rel.Name) }, w.olderIn(base)}, keep, put)
	if rows == 0 {
		segments = nil // rows and their tombstones
	}
	return segments, err
}

// olderIn reports whether a snapshot lacks columns of the relation.
func (w *Writer) olderIn(base *Snapshot) bool {
	return len(base.stored(w.rel).Columns) < len(w.rel.Columns)
}

// below is what a relation goes on from.
type below struct {
	segments []Segment
	open     func() *Rows
	older    bool // its rows lack columns: no layer can go on from them
}

func (w *Writer) finishOver(ctx context.Context, base below, keep func(row [][]byte) (bool, error), put PutFunc) (segments []Segment, rows int64, err error) {
	defer w.Close()
	if len(base.segments) == 0 {
		segments, err = w.Finish(ctx, 0, put)
		for _, s := range segments {
			rows += s.Rows
		}
		return segments, rows, err
	}
	first, later, top := int64(0), int64(0), 0
	for _, s := range base.segments {
		if s.Layer == 0 {
			first += s.Bytes
		} else {
			later += s.Bytes
		}
		top = max(top, s.Layer)
	}
	changed := &segmentWriter{tempDir: w.tempDir, layer: top + 1, hold: true}
	gone := &segmentWriter{tempDir: w.tempDir, layer: top + 1, keys: true, hold: true}
	defer changed.abort()
	defer gone.abort()
	added := later
	stripped := false
	rows, err = w.over(ctx, base, keep, func(line []byte, c change, was int) error {
		switch c {
		case same:
			return nil
		case removed:
			added += int64(was) // what a row that is no more takes up
			return gone.line(ctx, line)
		}
		added += int64(len(line))
		return changed.line(ctx, line)
	}, &stripped)
	if err != nil {
		return nil, 0, fmt.Errorf("write %s: %w", w.rel.Name, err)
	}
	switch {
	case added == later && !stripped && !base.older:
		return base.segments, rows, nil
	case added > first/outgrown || stripped || base.older: // no segment with credentials goes on, nor one of other columns
		segments, err = w.anew(ctx, base, keep, put)
	default:
		segments = slices.Clone(base.segments)
		for _, out := range []*segmentWriter{changed, gone} {
			if err = out.release(ctx, put); err != nil {
				break
			}
			segments = append(segments, out.done...)
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("write %s: %w", w.rel.Name, err)
	}
	return segments, rows, nil
}

// anew writes all rows as the first layer.
func (w *Writer) anew(ctx context.Context, base below, keep func([][]byte) (bool, error), put PutFunc) ([]Segment, error) {
	out := &segmentWriter{tempDir: w.tempDir, put: put}
	defer out.abort()
	_, err := w.over(ctx, base, keep, func(line []byte, c change, _ int) error {
		if c == removed {
			return nil
		}
		return out.line(ctx, line)
	}, new(bool))
	if err == nil {
		err = out.finish(ctx)
	}
	return out.done, err
}

// change says how a line of a merge differs from the base.
type change uint8

const (
	same     change = iota // the base's row
	replaced               // a row that base has not, or not so
	removed                // the key of a row that base has
)

// over merges base with what was added, and counts the rows. was is the length of
// base's line, of a removed row. It sets stripped if base has rows with credentials.
func (w *Writer) over(ctx context.Context, base below, keep func([][]byte) (bool, error), emit func(line []byte, c change, was int) error, stripped *bool) (int64, error) {
	old := &oldRows{w: w, rows: base.open()}
	defer old.rows.Close()
	if err := old.next(); err != nil {
		return 0, err
	}
	var rows int64
	tell := func(line []byte, c change) error {
		if c != removed {
			rows++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(line, c, len(old.rows.Line()))
	}
	// pass gives the base's row on that nothing was added over.
	pass := func() error {
		kept, err := keep(old.row)
		if err != nil {
			return err
		}
		if kept {
			err = tell(old.rows.Line(), same)
		} else {
			err = tell(old.tombstone(), removed)
		}
		if err != nil {
			return err
		}
		return old.next()
	}
	err := w.ending(func(key, line []byte) error {
		for old.more && bytes.Compare(old.key, key) < 0 {
			if err := pass(); err != nil {
				return err
			}
		}
		if !old.more || !bytes.Equal(old.key, key) {
			return tell(line, replaced)
		}
		var err error
		if bytes.Equal(line, old.rows.Line()) {
			err = tell(line, same)
		} else {
			err = tell(line, replaced)
		}
		if err != nil {
			return err
		}
		return old.next()
	})
	for err == nil && old.more {
		err = pass()
	}
	*stripped = old.rows.stripped
	return rows, err
}

// oldRows walks the rows of the base.
type oldRows struct {
	w    *Writer
	rows *Rows
	row  [][]byte
	key  []byte
	more bool
	line []byte
}

func (o *oldRows) next() error {
	if o.more = o.rows.Next(); !o.more {
		return o.rows.Err()
	}
	var err error
	if o.row, err = o.rows.Fields(o.row); err != nil {
		return err
	}
	o.key, err = o.w.key.append(o.key[:0], o.row)
	return err
}

// tombstone is the line that removes the row.
func (o *oldRows) tombstone() []byte {
	fields := make([][]byte, len(o.w.key.index))
	for i, at := range o.w.key.index {
		fields[i] = o.row[at]
	}
	o.line = AppendLine(o.line[:0], fields)
	return o.line
}

// heldSegment is a segment that is not put yet.
type heldSegment struct {
	seg  Segment
	file *scratch
}

// release puts what was held back.
func (w *segmentWriter) release(ctx context.Context, put PutFunc) error {
	w.put, w.hold = put, false
	held := w.held
	w.held = nil
	last := w.file != nil
	for _, h := range held {
		err := w.store(ctx, h.seg, h.file)
		h.file.Close()
		if err != nil {
			return err
		}
	}
	if last {
		return w.finish(ctx)
	}
	return nil
}
