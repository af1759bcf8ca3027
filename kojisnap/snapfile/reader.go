package snapfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kojisnap/kojisnap/relation"
)

// Rows reads a relation's rows in the order of its key. It merges the segments: a row or a tombstone of a
// later layer replaces an earlier layer's row. It removes credentials from URLs, which earlier versions of
// kojisnap left in. Rows is for one goroutine.
//
//	for rows.Next() {
//		use(rows.Line())
//	}
//	return rows.Err()
type Rows struct {
	rel    *relation.Relation // with the catalogue's columns
	stored *relation.Relation // with the segments' columns: an earlier version lacked some
	layers []*layer           // by age
	keyed  bool               // at is needed
	gone   bool               // return the tombstones, not the rows
	line   []byte
	own    []byte // the buffer of line, if there are several layers
	at     []byte // the key of line, if there are several layers or keyed is set
	from   *layer // the layer of line
	err    error
	buf    []byte // for Read

	narrow, wide [][]byte // a row as stored, and with today's columns
	widened      []byte   // the line of wide

	past     *past                            // only rows of the view at an event; nil: all
	filter   func(row [][]byte) (bool, error) // returns true for the wanted rows; nil: all
	fields   [][]byte                         // the row that filter was called with
	secret   secretRows
	stripped bool // a row had credentials
}

// openRows prepares to read the segments of one relation, whose rows have the columns of stored. It reads
// nothing before Next.
func openRows(ctx context.Context, get GetFunc, rel, stored *relation.Relation, segments []Segment) *Rows {
	r := &Rows{rel: rel, stored: stored}
	for _, s := range segments {
		n := len(r.layers)
		if n == 0 || r.layers[n-1].segments[0].Layer != s.Layer || r.layers[n-1].segments[0].Keys != s.Keys {
			r.layers = append(r.layers, &layer{ctx: ctx, get: get, key: newSortKey(stored), keys: s.Keys})
			n++
		}
		r.layers[n-1].segments = append(r.layers[n-1].segments, s)
	}
	return r
}

// Next advances to the next row. It returns false at the end and on an error; Err tells which. Before the end
// it has checked each segment's digest.
func (r *Rows) Next() bool {
	for r.next() {
		if (r.past == nil || r.past.shows(r)) && r.picks() {
			return true
		}
	}
	return false
}

// picks reports whether the row is wanted.
func (r *Rows) picks() bool {
	if r.filter == nil || r.err != nil {
		return r.err == nil
	}
	var ok bool
	if r.fields, r.err = r.Fields(r.fields); r.err == nil {
		if ok, r.err = r.filter(r.fields); r.err != nil {
			r.err = r.Damaged(r.err.Error())
		}
	}
	return ok
}

func (r *Rows) next() bool {
	if r.err != nil {
		return false
	}
	if len(r.layers) == 1 && !r.layers[0].keys && !r.gone {
		l := r.layers[0]
		ok := l.next(r.keyed)
		r.line, r.at, r.from, r.err = l.line, l.at, l, l.err
		return ok && r.widen() && r.strip()
	}
	for {
		newest := r.smallest()
		if r.err != nil || newest == nil {
			return false
		}
		r.own = append(r.own[:0], newest.line...)
		r.line, r.at, r.from = r.own, append(r.at[:0], newest.at...), newest
		for _, l := range r.layers {
			if l != newest && l.state == pending && bytes.Equal(l.at, newest.at) {
				l.state = idle
			}
		}
		newest.state = idle
		if newest.keys == r.gone {
			return r.gone || r.widen() && r.strip()
		}
	}
}

// widen adds the columns to the row that its snapshot's version lacked. It returns false on an error.
func (r *Rows) widen() bool {
	if len(r.stored.Columns) == len(r.rel.Columns) {
		return true
	}
	row, err := ParseLine(r.line[:len(r.line)-1], r.narrow)
	if r.narrow = row; err == nil && len(row) != len(r.stored.Columns) {
		err = fmt.Errorf("a row of %d fields", len(row))
	}
	if err != nil {
		r.err = r.Damaged(err.Error())
		return false
	}
	r.wide = r.rel.Widen(r.stored, row, r.wide[:0])
	r.widened = AppendLine(r.widened[:0], r.wide)
	r.line = r.widened
	return true
}

// smallest returns the newest of the layers with the smallest key, or nil at the end.
func (r *Rows) smallest() *layer {
	var best *layer
	for _, l := range r.layers {
		if l.state == idle && !l.next(true) {
			if r.err = l.err; r.err != nil {
				return nil
			}
		}
		if l.state == pending && (best == nil || bytes.Compare(l.at, best.at) <= 0) {
			best = l
		}
	}
	return best
}

// Line returns the row as COPY text with its newline. It is valid until the next call of Next.
func (r *Rows) Line() []byte { return r.line }

// Fields splits the row into one field for each column; NULL is nil. It reuses row. The fields are valid
// until the next call of Next.
func (r *Rows) Fields(row [][]byte) ([][]byte, error) {
	row, err := ParseLine(r.line[:len(r.line)-1], row)
	if err == nil && len(row) != len(r.rel.Columns) {
		err = fmt.Errorf("a row of %d fields", len(row))
	}
	if err != nil {
		return nil, r.Damaged(err.Error())
	}
	return row, nil
}

// Damaged returns the error for a row that no writer can have written: Rows returns rows before it has
// checked their segment's digest.
func (r *Rows) Damaged(why string) error { return r.from.open.damaged(why) }

// Err returns why Next returned false, nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close closes what is open. It may be called at any time, and more than once.
func (r *Rows) Close() error {
	for _, l := range r.layers {
		l.close()
	}
	if r.err == nil {
		r.err = errors.New("snapfile: rows are closed")
	}
	return nil
}

// Read returns the remaining rows as a stream for COPY … FROM STDIN. Do not mix Next and Read.
func (r *Rows) Read(p []byte) (int, error) { return readLines(p, &r.buf, r) }

// lines are the methods that Rows and Changes share.
type lines interface {
	Next() bool
	Line() []byte
	Err() error
}

// readLines is Read for lines; rest has the part of the last line that was not returned yet.
func readLines(p []byte, rest *[]byte, l lines) (int, error) {
	for len(*rest) == 0 {
		if !l.Next() {
			if err := l.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		*rest = l.Line()
	}
	n := 0
	for {
		c := copy(p[n:], *rest)
		n += c
		*rest = (*rest)[c:]
		if len(*rest) > 0 || n == len(p) || !l.Next() {
			return n, nil // the next call returns an error or the end
		}
		*rest = l.Line()
	}
}

// layer reads the rows of one layer: its segments in order.
type layer struct {
	ctx      context.Context
	get      GetFunc
	key      sortKey
	keys     bool
	segments []Segment

	open  *segmentReader
	line  []byte
	at    []byte // the key of line
	prev  []byte
	row   [][]byte
	state state
	err   error
}

type state uint8

const (
	idle    state = iota // before a line
	pending              // at a line
	ended
)

// next reads a line and, with withKey, its key. Keys must ascend.
func (l *layer) next(withKey bool) bool {
	for l.err == nil && l.state != ended {
		if l.open == nil {
			if len(l.segments) == 0 {
				l.state = ended
				return false
			}
			if l.open, l.err = openSegment(l.ctx, l.get, l.segments[0]); l.err != nil {
				break
			}
			l.segments = slices.Clone(l.segments[1:])
		}
		line, err := l.open.next()
		if errors.Is(err, io.EOF) {
			l.open.close()
			l.open = nil
			continue
		}
		if err != nil {
			l.err = err
			break
		}
		l.line = line
		if withKey {
			if l.err = l.readKey(); l.err != nil {
				break
			}
		}
		l.state = pending
		return true
	}
	l.state = ended
	return false
}

func (l *layer) readKey() error {
	var err error
	if l.row, err = ParseLine(l.line[:len(l.line)-1], l.row); err != nil {
		return l.open.damaged(err.Error())
	}
	row := l.row
	if l.keys {
		// A tombstone has only the key's columns. Put them where a row has them.
		if len(row) != len(l.key.index) {
			return l.open.damaged(fmt.Sprintf("a key of %d fields", len(row)))
		}
		row = make([][]byte, len(l.key.rel.Columns))
		for i, at := range l.key.index {
			row[at] = l.row[i]
		}
	} else if len(row) != len(l.key.rel.Columns) {
		return l.open.damaged(fmt.Sprintf("a row of %d fields", len(row)))
	}
	l.prev, l.at = l.at, l.prev[:0]
	if l.at, err = l.key.append(l.at, row); err != nil {
		return l.open.damaged(err.Error())
	}
	if len(l.prev) > 0 && bytes.Compare(l.prev, l.at) >= 0 {
		return l.open.damaged("its lines are not in order")
	}
	return nil
}

func (l *layer) close() {
	if l.open != nil {
		l.open.close()
		l.open = nil
	}
	if l.state != ended {
		l.state = ended
	}
}
