package snapfile

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// outgrown limits the later layers: if they are larger than 1/outgrown of the first, the relation is written
// as one layer again.
const outgrown = 4

// FinishOver writes a relation as a continuation of base, an earlier snapshot: base's rows for which keep
// returns true, and the added rows, which replace base's rows with the same key. keep is called in the order
// of keys, at least once for each row of base that no added row replaces. It must say the same about a row
// each time. A row is valid only during the call.
//
// FinishOver returns base's segments and, if anything differs, one more layer with the differences. If the
// later layers have outgrown a quarter of the first, or base has credentials in it, it returns new segments
// with all rows. rows is the number of rows in all. The writer cannot be used afterwards, whatever the
// outcome.
func (w *Writer) FinishOver(ctx context.Context, base *Snapshot, keep func(row [][]byte) (bool, error), put PutFunc) (segments []Segment, rows int64, err error) {
	var was []Segment
	if of := base.Relation(w.rel.Name); of != nil {
		was = of.Segments
	}
	return w.finishOver(ctx, below{was, func() *Rows { return base.Rows(ctx, w.rel.Name) }, w.olderIn(base)}, keep, put)
}

// FinishRevokedOver is FinishOver for the revoked rows: it continues those of base.
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

// below is what a relation continues.
type below struct {
	segments []Segment
	open     func() *Rows
	older    bool // its rows lack columns: no layer can continue them
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
			added += int64(was) // the size of a row that no longer exists
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
	case added > first/outgrown || stripped || base.older: // no layer may continue a segment with credentials or with other columns
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
	replaced               // a row that base does not have, or has with other values
	removed                // the key of a row of base that is gone
)

// over merges base with the added rows, and counts the rows. was is the length of base's line if a row is
// removed. It sets stripped if base has rows with credentials.
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
	// pass emits base's row if no added row replaces it.
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

// oldRows reads the rows of the base.
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

// tombstone returns the line that removes the row.
func (o *oldRows) tombstone() []byte {
	fields := make([][]byte, len(o.w.key.index))
	for i, at := range o.w.key.index {
		fields[i] = o.row[at]
	}
	o.line = AppendLine(o.line[:0], fields)
	return o.line
}

// heldSegment is a segment that is not stored yet.
type heldSegment struct {
	seg  Segment
	file *scratch
}

// release stores the segments that were held back.
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
