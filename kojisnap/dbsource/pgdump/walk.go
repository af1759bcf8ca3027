package pgdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Lines by which pg_dump's text is known.
const (
	header        = "-- PostgreSQL database dump"
	endMarker     = "-- PostgreSQL database dump complete"
	clusterHeader = "-- PostgreSQL database cluster dump"
)

// walk reads the text of a dump from its beginning to its end.
type walk struct {
	*scanner
	// rows is asked for each COPY block. What it returns gets the block's lines, which are valid during the call;
	// nil: nobody wants them.
	rows func(b block) (func(line []byte) error, error)
	// done is told how many rows a block had.
	done func(b block, rows int64) error
	// created is told of each CREATE TABLE, with the names that its columns begin with.
	created func(t table, columns []string)

	path    string // schema of tables that are named without one
	last    string // table that was read last
	ended   bool
	headers int
	connect bool
}

// block is a COPY block.
type block struct {
	table
	columns []string
}

func newWalk(r io.Reader) *walk {
	return &walk{scanner: &scanner{text: newText(r)}, path: "public",
		done: func(block, int64) error { return nil }, created: func(table, []string) {}}
}

// errCut says where a dump ends that has no end.
type errCut struct {
	where string
	at    int64
}

func (e *errCut) Error() string {
	return fmt.Sprintf("ends %s at byte %d of its text, without pg_dump's last line (%q): it was cut off, or is still being written", e.where, e.at, endMarker)
}

// run reads everything.
func (w *walk) run(ctx context.Context) error {
	for {
		kind := w.scan()
		if kind == atEnd {
			return w.end()
		}
		if err := w.take(ctx, kind); err != nil {
			return err
		}
	}
}

func (w *walk) take(ctx context.Context, kind int) error {
	switch kind {
	case comment:
		return w.comment(string(w.head))
	case meta:
		return w.meta(string(w.head))
	}
	if w.ended {
		return errors.New("goes on after its end: two dumps in one file? Give each alone")
	}
	begin := strings.ToUpper(string(w.head[:min(len(w.head), 8)]))
	switch {
	case strings.HasPrefix(begin, "INSERT"):
		all := tokens(w.head[:min(len(w.head), 1024)])
		t, _, _ := name(all[min(2, len(all)):])
		return fmt.Errorf("has its rows as INSERT statements (the first is of table %.80q): dump without --inserts, --column-inserts and --rows-per-insert", t.String())
	case strings.HasPrefix(begin, "COPY"):
		return w.copy(ctx)
	case strings.HasPrefix(begin, "CREATE"):
		if t, columns, ok := createdTable(tokens(w.head)); ok {
			w.created(w.qualify(t), columns)
		}
	case strings.HasPrefix(begin, "SET"):
		return w.set(tokens(w.head))
	}
	return nil
}

func (w *walk) comment(line string) error {
	switch strings.TrimRight(line, "\r ") {
	case clusterHeader:
		return errors.New("is of pg_dumpall, all databases in one: dump Koji's alone, with pg_dump")
	case header:
		if w.headers++; w.headers > 1 {
			return errors.New("has two databases, or one twice (a second header of pg_dump): give the dump of Koji's database alone")
		}
	case endMarker:
		w.ended = true
	}
	return nil
}

// meta reads a command of psql. pg_dump writes \restrict and \unrestrict and, with --create, one \connect.
func (w *walk) meta(line string) error {
	word, _, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
	switch word {
	case `\restrict`, `\unrestrict`:
		return nil
	case `\connect`:
		if w.connect || w.last != "" {
			return errors.New(`has two databases (a second \connect): give the dump of Koji's database alone`)
		}
		w.connect = true
		return nil
	}
	return fmt.Errorf("has psql's command %.20q at byte %d of its text, which pg_dump does not write", word, w.at)
}

func (w *walk) set(all []token) error {
	key, values, ok := setting(all)
	if !ok || len(values) == 0 {
		return nil
	}
	switch key {
	case "client_encoding":
		return checkEncoding(values[0])
	case "standard_conforming_strings":
		w.escapes = values[0] == "off"
	case "search_path": // of pg_dump before 10.3
		w.path = values[0]
	}
	return nil
}

func (w *walk) qualify(t table) table {
	if t.schema == "" {
		t.schema = w.path
	}
	return t
}

// copy reads a COPY block.
func (w *walk) copy(ctx context.Context) error {
	t, columns, ok := copyOf(tokens(w.head))
	if !ok {
		return fmt.Errorf("has a COPY at byte %d of its text that is not pg_dump's", w.at)
	}
	b := block{w.qualify(t), columns}
	w.last = b.String()
	c, there := w.next()
	if there && c == '\r' {
		return errors.New("has lines that end in CR LF: copy it as it is, not as text")
	}
	if there && c != '\n' {
		return fmt.Errorf("has a COPY of table %.80q that does not end its line", w.last)
	}
	line, err := w.rows(b)
	if err != nil {
		return err
	}
	if line == nil {
		rows, err := w.skipBlock(ctx)
		if err != nil {
			return w.wrap(ctx, err)
		}
		return w.done(b, rows)
	}
	rows := int64(0)
	for {
		if rows&0xfff == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		last, err := w.row(line)
		if err != nil {
			return w.wrap(ctx, err)
		}
		if last {
			return w.done(b, rows)
		}
		rows++
	}
}

// row reads a row, and reports whether it is none, but the block's end.
func (w *walk) row(fn func(line []byte) error) (last bool, err error) {
	line, err := w.line(maxLine)
	if err != nil {
		return false, err
	}
	if len(line) == 2 && line[0] == '\\' && line[1] == '.' {
		return true, nil
	}
	if err := fn(line); err != nil {
		return false, rowError{err}
	}
	return false, nil
}

// rowError is an error of who takes a row, not of the text.
type rowError struct{ error }

func (e rowError) Unwrap() error { return e.error }

// wrap says where reading a block went wrong.
func (w *walk) wrap(ctx context.Context, err error) error {
	taker := rowError{}
	switch {
	case errors.As(err, &taker):
		return taker.error
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return &errCut{fmt.Sprintf("within table %.80q", w.last), w.at}
	}
	return fmt.Errorf("table %.80q, at byte %d of the text: %w", w.last, w.at, err)
}

// end is at the end of the text: is it the dump's end, too?
func (w *walk) end() error {
	where := "before its first table"
	if w.last != "" {
		where = fmt.Sprintf("after table %.80q", w.last)
	}
	switch err := w.err; {
	case err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("cannot be read %s, at byte %d of its text: %w", where, w.at, err)
	case err != io.EOF || !w.ended:
		return &errCut{where, w.at}
	}
	return nil
}

// wantedOf are the places, in a list of columns, of those that are wanted, in the order of wanted, and their names.
func wantedOf(columns, wanted []string) (at []int, names []string) {
	for _, n := range wanted {
		if i := slices.Index(columns, n); i >= 0 {
			at, names = append(at, i), append(names, n)
		}
	}
	return at, names
}

// inOrder is wantedOf in the order of columns.
func inOrder(columns, wanted []string) (at []int, names []string) {
	for i, c := range columns {
		if slices.Contains(wanted, c) {
			at, names = append(at, i), append(names, c)
		}
	}
	return at, names
}
