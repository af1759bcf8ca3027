package pgdump

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// projection takes some fields of a line of COPY, still escaped.
type projection struct {
	fields int   // of a line
	take   []int // places of those that are taken, ascending
	runs   []run // the same: fields that stand side by side are taken at once
	out    []byte
	urls   []bool // of take: which may hold URLs with passwords; nil: none
	row    [][]byte
	blank  []byte
}

// run is a row of fields that stand side by side.
type run struct{ from, to int }

func newProjection(fields int, take []int) *projection {
	p := &projection{fields: fields, take: take}
	for _, i := range take {
		if n := len(p.runs); n > 0 && p.runs[n-1].to == i {
			p.runs[n-1].to++
		} else {
			p.runs = append(p.runs, run{i, i + 1})
		}
	}
	return p
}

// line returns the line of the fields that are taken, with its newline, valid until the next call and as long as line
// is. A newline must stand behind line, in the same array.
func (p *projection) line(line []byte) ([]byte, error) {
	if p.urls != nil && bytes.IndexByte(line, '@') >= 0 {
		return p.withoutPasswords(line)
	}
	if len(p.runs) == 1 && p.runs[0] == (run{0, p.fields}) {
		if err := p.check(bytes.Count(line, tab) + 1); err != nil {
			return nil, err
		}
		return line[:len(line)+1], nil
	}
	p.out = p.out[:0]
	at, fields := 0, 0 // where the field begins that is the next one, and which one that is
	for _, r := range p.runs {
		for ; fields < r.from; fields++ {
			if at = nextField(line, at); at < 0 {
				return nil, p.check(fields + 1)
			}
		}
		from := at
		for ; fields < r.to; fields++ {
			if at = nextField(line, at); at < 0 {
				if err := p.check(fields + 1); err != nil {
					return nil, err
				}
				at = len(line) + 1
			}
		}
		p.out = append(append(p.out, line[from:at-1]...), '\t')
	}
	if at <= len(line) {
		fields += bytes.Count(line[at:], tab) + 1
	}
	if err := p.check(fields); err != nil {
		return nil, err
	}
	p.out[len(p.out)-1] = '\n'
	return p.out, nil
}

// nextField returns where the field begins that stands behind the one at a place, -1 if that is the line's last.
func nextField(line []byte, at int) int {
	n := bytes.IndexByte(line[at:], '\t')
	if n < 0 {
		return -1
	}
	return at + n + 1
}

// check refuses a line with another number of fields than COPY names columns.
func (p *projection) check(fields int) error {
	if fields != p.fields {
		return fmt.Errorf("a row of %d fields, where COPY names %d columns", fields, p.fields)
	}
	return nil
}

// withoutPasswords is line, for one that may have passwords in URLs.
func (p *projection) withoutPasswords(line []byte) ([]byte, error) {
	p.row = p.row[:0]
	for field := range bytes.SplitSeq(line, tab) {
		p.row = append(p.row, field)
	}
	if err := p.check(len(p.row)); err != nil {
		return nil, err
	}
	p.out = p.out[:0]
	for n, i := range p.take {
		field := p.row[i]
		if p.urls[n] && bytes.IndexByte(field, '@') >= 0 {
			var err error
			if field, err = p.blanked(field); err != nil {
				return nil, err
			}
		}
		p.out = append(append(p.out, field...), '\t')
	}
	p.out[len(p.out)-1] = '\n'
	return p.out, nil
}

var tab = []byte("\t")

// blanked is a field without the passwords of its URLs. There are blank ones in their place, so that who reads the
// row notes what a row with passwords is noted for.
func (p *projection) blanked(field []byte) ([]byte, error) {
	p.blank = append(p.blank[:0], field...)
	text, err := dbsource.ParseCopyField(p.blank)
	if err != nil {
		return nil, err
	}
	blank, found := secret.Blank(text)
	if !found {
		return field, nil
	}
	line := snapfile.AppendLine(nil, [][]byte{blank})
	return line[:len(line)-1], nil
}

// secretive says which columns of a table may hold URLs with passwords.
func secretive(table string, columns []string) []bool {
	rel := relation.Get(table)
	may := make([]bool, len(columns))
	for _, i := range snapfile.Secretive(rel) {
		if at := slices.Index(columns, rel.Columns[i].Name); at >= 0 {
			may[at] = true
		}
	}
	return may
}

// selection gives a scan's rows, of lines whose columns are known.
type selection struct {
	scan            dbsource.Scan
	fields          int   // of a line
	take            []int // places of the scan's columns
	where           int   // place of the column that the scan's ids are about, or -1
	create, revoked int   // likewise
	starts          []int // where the fields of the line begin
	row             [][]byte
	fn              func(row [][]byte) error
}

// newSelection makes the selection of a scan from lines with columns.
func newSelection(columns []string, scan dbsource.Scan, fn func(row [][]byte) error) (*selection, error) {
	s := &selection{scan: scan, fields: len(columns), where: -1, create: -1, revoked: -1, fn: fn}
	take, names := wantedOf(columns, scan.Columns)
	if len(names) != len(scan.Columns) {
		return nil, fmt.Errorf("table %s has no columns %q, but %q", scan.Table, scan.Columns, names)
	}
	s.take = take
	for i, c := range columns {
		switch {
		case scan.Where != nil && c == scan.Where.Column:
			s.where = i
		case scan.Window != nil && c == "create_event":
			s.create = i
		case scan.Window != nil && c == "revoke_event":
			s.revoked = i
		}
	}
	return s, nil
}

// field returns a field of a line. It goes no further in the line than that: most lines are of no use by one of their
// first fields.
func (s *selection) field(line []byte, i int) ([]byte, error) {
	for len(s.starts) < i+2 {
		at := nextField(line, s.starts[len(s.starts)-1])
		if at < 0 {
			if len(s.starts) < i+1 {
				return nil, fmt.Errorf("a row of %d fields, not %d", len(s.starts), s.fields)
			}
			at = len(line) + 1
		}
		s.starts = append(s.starts, at)
	}
	return line[s.starts[i] : s.starts[i+1]-1], nil
}

// number reads a field that is an id. What is none is for dbsource to judge.
func (s *selection) number(line []byte, i int) (id int64, ok bool, err error) {
	field, err := s.field(line, i)
	if err != nil {
		return 0, false, err
	}
	id, ok = number(field)
	return id, ok, nil
}

// line gives a line's row to fn, if hints want it. The line is spent.
func (s *selection) line(line []byte) error {
	s.starts = append(s.starts[:0], 0)
	if s.where >= 0 {
		if id, ok, err := s.number(line, s.where); err != nil || ok && !s.scan.Where.IDs.Contains(uint32(int32(id))) {
			return err
		}
	}
	if s.create >= 0 {
		if id, ok, err := s.number(line, s.create); err != nil || ok && id > s.scan.Window.Until {
			return err
		}
	}
	if s.revoked >= 0 {
		if id, ok, err := s.number(line, s.revoked); err != nil || ok && id <= s.scan.Window.Since {
			return err
		}
	}
	s.row = s.row[:0]
	for _, i := range s.take {
		field, err := s.field(line, i)
		if err != nil {
			return err
		}
		s.row = append(s.row, field)
	}
	for i, field := range s.row {
		var err error
		if s.row[i], err = dbsource.ParseCopyField(field); err != nil {
			return err
		}
	}
	return s.fn(s.row)
}

// number reads a whole number that an id can be.
func number(field []byte) (int64, bool) {
	if len(field) == 0 || len(field) > 9 || field[0] < '0' || field[0] > '9' { // NULL, or rare
		n, err := strconv.ParseInt(string(field), 10, 32)
		return n, err == nil
	}
	n := int64(0)
	for _, c := range field {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
