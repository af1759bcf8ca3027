package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/dbsource"
)

// most is how many ids one statement names.
const most = 100_000

// Scan implements dbsource.Source.
func (s *Source) Scan(ctx context.Context, scan dbsource.Scan, fn func(row [][]byte) error) error {
	if scan.Where == nil || scan.Where.IDs.GetCardinality() <= most {
		return s.scan(ctx, scan, fn)
	}
	ids := make([]uint32, most)
	for it := scan.Where.IDs.ManyIterator(); ; {
		n := it.NextMany(ids)
		if n == 0 {
			return nil
		}
		part := scan
		part.Where = &dbsource.Where{Column: scan.Where.Column, IDs: roaring.BitmapOf(ids[:n]...)}
		if err := s.scan(ctx, part, fn); err != nil {
			return err
		}
	}
}

func (s *Source) scan(ctx context.Context, scan dbsource.Scan, fn func(row [][]byte) error) error {
	sql, err := s.query(scan)
	if err != nil {
		return err
	}
	var failed error // fn's, or that of a line
	err = s.with(ctx, func(one *session) error {
		w := &lines{fn: fn}
		_, err := one.conn.PgConn().CopyTo(ctx, w, sql)
		if failed = w.err; failed != nil {
			return nil
		}
		return err
	})
	return cmp.Or(failed, wrap(scan.Table, err))
}

func wrap(table string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading %s: %w", table, err)
}

// query is the COPY of a scan. It names each column, and only those that dbsource wants.
func (s *Source) query(scan dbsource.Scan) (string, error) {
	have := s.desc.Columns[scan.Table]
	var columns []string
	for _, c := range scan.Columns {
		if !slices.Contains(have, c) {
			return "", fmt.Errorf("%s.%s is not to be read", scan.Table, c)
		}
		columns = append(columns, "t."+pgx.Identifier{c}.Sanitize())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "COPY (SELECT %s FROM %s t", strings.Join(columns, ", "), pgx.Identifier{s.schema, scan.Table}.Sanitize())
	var conditions []string
	if w := scan.Where; w != nil {
		join, condition := among("t."+pgx.Identifier{w.Column}.Sanitize(), w.IDs)
		b.WriteString(join)
		conditions = append(conditions, condition)
	}
	if r := scan.Range; r != nil {
		conditions = append(conditions, fmt.Sprintf("t.%s BETWEEN %d AND %d", pgx.Identifier{r.Column}.Sanitize(), r.From, r.To))
	}
	if w := scan.Window; w != nil {
		conditions = append(conditions, fmt.Sprintf("t.create_event <= %d AND (t.revoke_event IS NULL OR t.revoke_event > %d)", w.Until, w.Since))
	}
	if len(conditions) > 0 {
		b.WriteString(" WHERE " + strings.Join(conditions, " AND "))
	}
	b.WriteString(") TO STDOUT")
	return b.String(), nil
}

// few is up to how many ids are compared one by one.
const few = 50

// among is the SQL by which rows have one of some ids in a column. A range bounds what has to be looked at, whichever
// plan is chosen; many ids are a relation to join with: before PostgreSQL 14 a list is searched from its beginning for
// each row.
func among(column string, ids *roaring.Bitmap) (join, condition string) {
	if ids.IsEmpty() {
		return "", "false"
	}
	// As in dbsource: ids are signed numbers of 32 bits.
	all := make([]int32, 0, ids.GetCardinality())
	for it := ids.Iterator(); it.HasNext(); {
		all = append(all, int32(it.Next()))
	}
	slices.Sort(all)
	low, high := all[0], all[len(all)-1]
	if int64(high)-int64(low)+1 == int64(len(all)) {
		return "", fmt.Sprintf("%s BETWEEN %d AND %d", column, low, high)
	}
	text := make([]byte, 0, 10*len(all))
	for i, id := range all {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(id), 10)
	}
	if len(all) <= few {
		return "", fmt.Sprintf("%s IN (%s)", column, text)
	}
	return fmt.Sprintf(" JOIN unnest('{%s}'::integer[]) w(id) ON w.id = %s", text, column), fmt.Sprintf("%s BETWEEN %d AND %d", column, low, high)
}

// lines gives the lines that are written to it, as rows, to fn. The server sends a line a message, but need not.
type lines struct {
	fn   func(row [][]byte) error
	row  [][]byte
	rest []byte
	err  error
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.rest = append(l.rest, p...)
			break
		}
		line := p[:end]
		p = p[end+1:]
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
			l.rest = nil
		}
		if l.row, l.err = dbsource.ParseCopyLine(line, l.row); l.err == nil {
			l.err = l.fn(l.row)
		}
		if l.err != nil {
			return 0, l.err
		}
	}
	return n, nil
}
