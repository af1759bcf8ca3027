package snapfile

import (
	"bytes"
	"context"
	"slices"
)

// Changes returns what differs in a relation since an earlier snapshot: whole rows, or keys of rows. Like
// Rows it is for one goroutine, and a stream for COPY … FROM STDIN.
type Changes struct {
	tail *Rows       // if this snapshot only adds segments to the earlier one's
	both *Comparison // otherwise
	gone bool
	line []byte
	err  error
	buf  []byte
}

// Changed opens the rows of a relation that base does not have, or has with other values. They may include
// rows that a layer of this snapshot wrote again without a change.
func (s *Snapshot) Changed(ctx context.Context, base *Snapshot, name string) *Changes {
	return s.since(ctx, base, name, false)
}

// ChangedRevoked opens the revoked rows of a relation that base does not have as revoked, or has with other
// values.
func (s *Snapshot) ChangedRevoked(ctx context.Context, base *Snapshot, name string) *Changes {
	now, was := s.Relation(name), base.Relation(name)
	if now != nil && was != nil && goesOn(now.Revoked, was.Revoked) && s.filter == nil && base.filter == nil {
		return &Changes{tail: s.rows(ctx, s.catalogue.Get(name), now.Revoked[len(was.Revoked):])}
	}
	return &Changes{both: compare(base.Revoked(ctx, name), s.Revoked(ctx, name))}
}

// goesOn reports whether segments begin with those of an earlier snapshot.
func goesOn(now, was []Segment) bool {
	return len(was) <= len(now) && slices.Equal(was, now[:len(was)])
}

// Gone opens the keys (only the key's columns) of rows that base has and this snapshot does not have. They
// may include keys that neither has.
func (s *Snapshot) Gone(ctx context.Context, base *Snapshot, name string) *Changes {
	return s.since(ctx, base, name, true)
}

func (s *Snapshot) since(ctx context.Context, base *Snapshot, name string, gone bool) *Changes {
	now, was := s.Relation(name), base.Relation(name)
	if now != nil && was != nil && goesOn(now.Segments, was.Segments) && s.filter == nil && base.filter == nil {
		tail := s.rows(ctx, s.catalogue.Get(name), now.Segments[len(was.Segments):])
		tail.gone = gone
		return &Changes{tail: tail}
	}
	return &Changes{both: Compare(ctx, base, s, name), gone: gone}
}

// Next advances to the next row or key, in the order of keys. It returns false at the end and on an error;
// Err tells which.
func (c *Changes) Next() bool {
	if c.tail != nil {
		return c.tail.Next()
	}
	for c.err == nil && c.both.Next() {
		switch {
		case !c.gone && c.both.B != nil:
			c.line = c.both.B
			return true
		case c.gone && c.both.B == nil:
			var row [][]byte
			if row, c.err = c.both.a.Fields(nil); c.err != nil {
				return false
			}
			var key [][]byte
			for _, i := range c.both.a.rel.KeyIndexes() {
				key = append(key, row[i])
			}
			c.line = AppendLine(c.line[:0], key)
			return true
		}
	}
	return false
}

// Line returns the row or the key as COPY text with its newline. It is valid until the next call of Next.
func (c *Changes) Line() []byte {
	if c.tail != nil {
		return c.tail.Line()
	}
	return c.line
}

// Err returns why Next returned false, nil at the end.
func (c *Changes) Err() error {
	switch {
	case c.tail != nil:
		return c.tail.Err()
	case c.err != nil:
		return c.err
	}
	return c.both.Err()
}

// Read returns the remaining lines. Do not mix Next and Read.
func (c *Changes) Read(p []byte) (int, error) { return readLines(p, &c.buf, c) }

// Close closes what is open.
func (c *Changes) Close() error {
	if c.tail != nil {
		return c.tail.Close()
	}
	return c.both.Close()
}

// Comparison reads the rows of one relation in two snapshots side by side, and stops where they differ. It is
// for one goroutine, and holds two rows.
type Comparison struct {
	// A and B are different rows with the same key, as COPY text with the newline; nil if that snapshot has
	// none. They are valid until the next call of Next.
	A, B []byte

	a, b         *Rows
	aNext, bNext bool // Next has to be called first
	err          error
}

// Compare opens a comparison. The caller closes it.
func Compare(ctx context.Context, a, b *Snapshot, name string) *Comparison {
	return compare(a.Rows(ctx, name), b.Rows(ctx, name))
}

func compare(a, b *Rows) *Comparison {
	c := &Comparison{a: a, b: b, aNext: true, bNext: true}
	c.a.keyed, c.b.keyed = true, true
	return c
}

// Next advances to the next key whose rows differ. It returns false at the end and on an error.
func (c *Comparison) Next() bool {
	for c.err == nil {
		for _, side := range []struct {
			rows *Rows
			due  *bool
		}{{c.a, &c.aNext}, {c.b, &c.bNext}} {
			if *side.due && !side.rows.Next() {
				if c.err = side.rows.Err(); c.err != nil {
					return false
				}
				side.rows.at = nil
			}
			*side.due = false
		}
		order := 0
		switch {
		case c.a.at == nil && c.b.at == nil:
			return false
		case c.a.at == nil:
			order = 1
		case c.b.at == nil:
			order = -1
		default:
			order = bytes.Compare(c.a.at, c.b.at)
		}
		c.A, c.B = nil, nil
		if order <= 0 {
			c.A, c.aNext = c.a.line, true
		}
		if order >= 0 {
			c.B, c.bNext = c.b.line, true
		}
		if order != 0 || !bytes.Equal(c.A, c.B) {
			return true
		}
	}
	return false
}

// Fields splits A and B by column; NULL is nil. A side without a row is nil.
func (c *Comparison) Fields() (a, b [][]byte, err error) {
	if c.A != nil {
		if a, err = c.a.Fields(nil); err != nil {
			return nil, nil, err
		}
	}
	if c.B != nil {
		b, err = c.b.Fields(nil)
	}
	return a, b, err
}

// Err returns why Next returned false, nil at the end.
func (c *Comparison) Err() error { return c.err }

// Close closes what is open.
func (c *Comparison) Close() error {
	c.a.Close()
	return c.b.Close()
}
