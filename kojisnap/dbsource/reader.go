package dbsource

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"unicode/utf8"

	"github.com/RoaringBitmap/roaring/v2"
	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
)

// reader scans a source's tables as relations of the catalogue.
type reader struct {
	src  Source
	desc *Description
	kind string
	rows atomic.Int64  // that the source gave
	busy chan struct{} // one for each scan at work

	large int64 // the constant, unless a test says otherwise
}

func newReader(src Source, d *Description) *reader {
	return &reader{src: src, desc: d, kind: d.Kind, busy: make(chan struct{}, max(d.Jobs, 1)), large: large}
}

// chunk is how many ids a scan of a source that serves several at once is about.
const chunk = 10_000

// query is a scan of a relation.
type query struct {
	relation string
	columns  []string // nil: all of the catalogue's
	where    *Where
	window   *Window
	pieces   string // a column by whose ids a large table may be cut; empty: it is not
}

// large is from which id on a table is cut. Below that one scan is as fast.
const large = 1_000_000

// each gives the rows that a query is about, with the columns that it asks for. A column that the source lacks
// has what the catalogue puts there. fn may be called from several goroutines at once; a row is valid during the
// call.
func (r *reader) each(ctx context.Context, q query, fn func(row [][]byte) error) error {
	if q.where != nil && q.where.IDs.IsEmpty() {
		return nil
	}
	pieces, err := r.piecesOf(ctx, q)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, piece := range pieces {
		g.Go(func() error { return r.scan(gctx, q, piece, fn) })
	}
	return g.Wait()
}

// piece is the part of a query that one scan is about.
type piece struct {
	where *Where
	ids   *Range
}

// piecesOf cuts a query into those that several sessions work at.
func (r *reader) piecesOf(ctx context.Context, q query) (all []piece, err error) {
	if q.where != nil || q.pieces == "" || r.desc.Jobs <= 1 {
		for _, where := range r.cut(q.where) {
			all = append(all, piece{where: where})
		}
		return all, nil
	}
	s, ok := r.src.(Highest)
	if !ok {
		return []piece{{}}, nil
	}
	highest, err := r.highest(ctx, s, q)
	if err != nil || highest < r.large {
		return []piece{{}}, err
	}
	size := highest/int64(r.desc.Jobs) + 1
	for from := int64(math.MinInt32); from <= highest; {
		to := max(from, 0) + size - 1
		if to >= highest {
			to = math.MaxInt32
		}
		all = append(all, piece{ids: &Range{q.pieces, from, to}})
		from = to + 1
	}
	return all, nil
}

// highest asks for the highest id, when the source has a session for that.
func (r *reader) highest(ctx context.Context, s Highest, q query) (int64, error) {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return s.Highest(ctx, q.relation, q.pieces)
}

// cut cuts a long list of ids into several, in order.
func (r *reader) cut(w *Where) []*Where {
	if w == nil || r.desc.Jobs <= 1 || r.desc.Whole || w.IDs.GetCardinality() <= chunk {
		return []*Where{w}
	}
	var all []*Where
	ids := make([]uint32, chunk)
	for it := w.IDs.ManyIterator(); ; {
		n := it.NextMany(ids)
		if n == 0 {
			return all
		}
		all = append(all, &Where{w.Column, roaring.BitmapOf(ids[:n]...)})
	}
}

// scan scans one piece, and drops the rows that no hint wants.
func (r *reader) scan(ctx context.Context, q query, part piece, fn func(row [][]byte) error) error {
	rel := relation.Get(q.relation)
	p, err := r.project(rel, q)
	if err != nil {
		return err
	}
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	scan := Scan{Table: q.relation, Columns: p.asked, Where: part.where, Window: q.window, Range: part.ids}
	return r.src.Scan(ctx, scan, func(row [][]byte) error {
		r.rows.Add(1)
		out, err := p.row(row)
		if err != nil {
			return err
		}
		if wanted, err := p.wants(out, part, q.window); err != nil || !wanted {
			return err
		}
		return fn(out[:p.shown])
	})
}

// projection makes rows with the columns that a query wants of rows that a source gives.
type projection struct {
	rel     *relation.Relation
	columns []*relation.Column // of the rows that are made; those that only hints need are last
	shown   int                // how many are not only for hints
	asked   []string           // of the source
	from    []int              // for each column its place in the source's row, or -1
	name    int                // place of the column name, or -1
	at      map[string]int
	out     [][]byte
	times   [][]byte
}

// project says how rows of a relation are made.
func (r *reader) project(rel *relation.Relation, q query) (*projection, error) {
	there := map[string]bool{}
	for _, c := range r.desc.Columns[rel.Name] {
		there[c] = true
	}
	if len(there) == 0 {
		return nil, fmt.Errorf("the %s has no table %s: is it a Koji database?", r.kind, rel.Name)
	}
	names := q.columns
	if names == nil {
		names = rel.ColumnNames()
	}
	p := &projection{rel: rel, name: -1, at: map[string]int{}, shown: len(names)}
	need := append([]string{}, names...)
	hint := func(column string) {
		for _, n := range need {
			if n == column {
				return
			}
		}
		need = append(need, column)
	}
	if q.where != nil {
		hint(q.where.Column)
	}
	if q.pieces != "" {
		hint(q.pieces)
	}
	if q.window != nil {
		hint("create_event")
		hint("revoke_event")
	}
	for i, name := range need {
		c := &rel.Columns[rel.Index(name)]
		p.columns, p.at[name] = append(p.columns, c), i
		switch {
		case there[name]:
			p.from = append(p.from, len(p.asked))
			p.asked = append(p.asked, name)
		case c.Since == 0:
			return nil, fmt.Errorf("table %s of the %s has no column %s, which Koji has since before 1.21", rel.Name, r.kind, name)
		default:
			p.from = append(p.from, -1)
		}
		if name == "name" {
			p.name = i
		}
	}
	p.out = make([][]byte, len(p.columns))
	p.times = make([][]byte, len(p.columns))
	return p, nil
}

// row makes a row. It is valid until the next one.
func (p *projection) row(in [][]byte) ([][]byte, error) {
	if len(in) != len(p.asked) {
		return nil, fmt.Errorf("%s: a row of %d fields, asked for %d", p.rel.Name, len(in), len(p.asked))
	}
	for i, c := range p.columns {
		if p.from[i] < 0 {
			continue
		}
		field := in[p.from[i]]
		switch {
		case field == nil:
		case c.Type == relation.Time:
			out, err := appendUTC(p.times[i][:0], field)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", p.rel.Name, c.Name, err)
			}
			p.times[i], field = out, out
		}
		p.out[i] = field
	}
	for i, c := range p.columns {
		if p.from[i] >= 0 {
			continue
		}
		name := ""
		if p.name >= 0 {
			name = string(p.out[p.name])
		}
		if text := c.Older(name).Missing; text == `\N` {
			p.out[i] = nil
		} else {
			p.out[i] = []byte(text)
		}
	}
	return p.out, nil
}

// wants reports whether hints want a row.
func (p *projection) wants(row [][]byte, part piece, in *Window) (bool, error) {
	if ids := part.ids; ids != nil {
		field := row[p.at[ids.Column]]
		if field == nil {
			return false, nil
		}
		id, err := idset.Parse(field)
		if err != nil || id < ids.From || id > ids.To {
			return false, err
		}
	}
	if w := part.where; w != nil {
		field := row[p.at[w.Column]]
		if field == nil {
			return false, nil
		}
		id, err := idset.Parse(field)
		if err != nil || !w.IDs.Contains(uint32(int32(id))) {
			return false, err
		}
	}
	if in == nil {
		return true, nil
	}
	created, revoked, err := eventsOf(row[p.at["create_event"]], row[p.at["revoke_event"]])
	return created <= in.Until && (revoked == 0 || revoked > in.Since && revoked != created), err
}

// eventsOf are the events of a versioned row; revoked is 0 if it was not revoked.
func eventsOf(create, revoke []byte) (created, revoked int64, err error) {
	if created, err = idset.Parse(create); err != nil {
		return 0, 0, fmt.Errorf("create_event: %w", err)
	}
	if revoke == nil {
		return created, 0, nil
	}
	if revoked, err = idset.Parse(revoke); err != nil {
		return 0, 0, fmt.Errorf("revoke_event: %w", err)
	}
	return created, revoked, nil
}

// invalid returns the first column of a row whose text is not UTF-8, as PostgreSQL lets a database of encoding
// SQL_ASCII have it.
func invalid(rel *relation.Relation, row [][]byte) (column int, found bool) {
	for i := range rel.Columns {
		if rel.Columns[i].Type == relation.Text && !utf8.Valid(row[i]) {
			return i, true
		}
	}
	return 0, false
}

// account says what becomes of each of the source's tables.
func (r *reader) account() *pull.Source {
	s := &pull.Source{Kind: r.kind, Tables: []pull.SourceTable{}}
	for _, t := range r.desc.Tables {
		switch t.Class {
		case Wanted:
			s.Wanted++
		case Refused:
			s.Refused++
		case Ignored:
			s.Ignored++
		default:
			s.Unknown++
		}
		s.Tables = append(s.Tables, pull.SourceTable{Name: t.Name, Class: string(t.Class), Rows: t.Rows})
	}
	return s
}

// toBitmap makes a bitmap of ids.
func toBitmap(ids *idset.Set) *roaring.Bitmap {
	b := roaring.New()
	for id := range ids.All() {
		b.Add(uint32(int32(id)))
	}
	return b
}

// bitmapOf makes a bitmap of a list of ids.
func bitmapOf(ids []int64) *roaring.Bitmap {
	b := roaring.New()
	for _, id := range ids {
		b.Add(uint32(int32(id)))
	}
	return b
}
