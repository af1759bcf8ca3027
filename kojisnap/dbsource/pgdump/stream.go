package pgdump

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kojisnap/kojisnap/dbsource"
)

// scans is how many scans of a dump are served at once.
const scans = 2

// stream is a dump that was read once: a dbsource.Source over its spills.
type stream struct {
	desc   *dbsource.Description
	spills map[string]*spill // by table
	all    []*spill
	// readers are those that no scan uses at present.
	readers chan *spillReader
}

// readStream reads the text of a dump into spills.
func readStream(ctx context.Context, o Options, r io.Reader, estimate int64) (_ *stream, err error) {
	if err := checkRoom(o.TempDir, estimate); err != nil {
		return nil, err
	}
	to := newSpiller(o.TempDir)
	s := &stream{readers: make(chan *spillReader, scans)}
	for range scans {
		s.readers <- newSpillReader()
	}
	defer func() {
		to.pack.Close() // else its goroutine stays, after an error
		if err != nil {
			s.Close()
		}
	}()
	found, spills := newContents(), map[table]*spill{}
	w := newWalk(r)
	w.created = func(t table, _ []string) { found.created[t] = true }
	var current *spill
	w.rows = func(b block) (func([]byte) error, error) {
		if _, twice := found.blocks[b.table]; twice {
			return nil, fmt.Errorf("has table %.80q twice: two databases in one file? Give the dump of Koji's alone", b.String())
		}
		if b.table == (table{"kojisnap", "mark"}) {
			return nil, ErrMarked
		}
		take, names := inOrder(b.columns, dbsource.WantedColumns(b.name))
		if current = nil; len(names) == 0 {
			return nil, nil
		}
		if current, err = to.begin(names); err != nil {
			return nil, err
		}
		s.all = append(s.all, current)
		spills[b.table] = current
		return project(w, b, take, names, to), nil
	}
	w.done = func(b block, rows int64) error {
		found.blocks[b.table] = rows
		if current == nil {
			return nil
		}
		current.rows = rows
		return to.pack.Close()
	}
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	schema, err := found.koji()
	if err != nil {
		return nil, err
	}
	s.take(schema, found, spills)
	o.Log.InfoContext(ctx, "read the dump", "bytes", w.at, "schema", schema, "tables", len(found.blocks), "spilled", s.size())
	return s, nil
}

// project returns what writes the wanted fields of a block's lines. Nothing else of a line goes further.
func project(w *walk, b block, take []int, names []string, to *spiller) func([]byte) error {
	p := newProjection(len(b.columns), take)
	p.urls = secretive(b.name, names)
	return func(line []byte) error {
		out, err := p.line(line)
		if err != nil {
			return damaged(w, b, err)
		}
		_, err = to.pack.Write(out)
		return err
	}
}

func damaged(w *walk, b block, err error) error {
	return fmt.Errorf("is damaged within table %.80q, at byte %d of its text: %w", b.String(), w.at, err)
}

// take keeps the spills of Koji's schema.
func (s *stream) take(schema string, found *contents, spills map[table]*spill) {
	s.desc, s.spills = found.describe(schema), map[string]*spill{}
	kept := s.all[:0]
	for t, one := range spills {
		if t.schema != schema {
			one.f.Close()
			continue
		}
		s.spills[t.name], s.desc.Columns[t.name] = one, one.columns
		kept = append(kept, one)
	}
	s.all = kept
}

func (s *stream) size() (n int64) {
	for _, one := range s.all {
		n += one.size
	}
	return n
}

// Describe implements dbsource.Source.
func (s *stream) Describe(context.Context) (*dbsource.Description, error) { return s.desc, nil }

// Close implements dbsource.Source.
func (s *stream) Close() error {
	var errs []error
	for _, one := range s.all {
		errs = append(errs, one.f.Close())
	}
	s.all = nil
	return errors.Join(errs...)
}

// Scan implements dbsource.Source.
func (s *stream) Scan(ctx context.Context, scan dbsource.Scan, fn func(row [][]byte) error) error {
	one := s.spills[scan.Table]
	if one == nil {
		return fmt.Errorf("table %s is not to be read", scan.Table)
	}
	sel, err := newSelection(one.columns, scan, fn)
	if err != nil {
		return err
	}
	var r *spillReader
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case r = <-s.readers:
		defer func() { s.readers <- r }()
	}
	n := 0
	return r.each(one, func(line []byte) error {
		if n++; n&0xfff == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return sel.line(line)
	})
}
