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
	take   []int // places of those that are taken, in order
	starts []int
	out    []byte
	urls   []bool // of take: which may hold URLs with passwords; nil: none, or whoever takes the line may see them
	field1 [][]byte
	blank  []byte
}

func newProjection(fields int, take []int) *projection {
	return &projection{fields: fields, take: take, starts: make([]int, 0, fields+1)}
}

// split finds the fields of a line.
func (p *projection) split(line []byte) error {
	p.starts = append(p.starts[:0], 0)
	for from := 0; ; {
		tab := bytes.IndexByte(line[from:], '\t')
		if tab < 0 {
			break
		}
		from += tab + 1
		p.starts = append(p.starts, from)
	}
	if len(p.starts) != p.fields && !(p.fields == 0 && len(line) == 0) {
		return fmt.Errorf("a row of %d fields, where COPY names %d columns", len(p.starts), p.fields)
	}
	p.starts = append(p.starts, len(line)+1)
	return nil
}

// field is a field of the line that was split.
func (p *projection) field(line []byte, i int) []byte { return line[p.starts[i] : p.starts[i+1]-1] }

// line returns the line of the fields that are taken, with its newline, valid until the next call.
func (p *projection) line(line []byte) ([]byte, error) {
	if err := p.split(line); err != nil {
		return nil, err
	}
	p.out = p.out[:0]
	urls := p.urls != nil && bytes.IndexByte(line, '@') >= 0
	for n, i := range p.take {
		if n > 0 {
			p.out = append(p.out, '\t')
		}
		field := p.field(line, i)
		if urls && p.urls[n] && bytes.IndexByte(field, '@') >= 0 {
			var err error
			if field, err = p.blanked(field); err != nil {
				return nil, err
			}
		}
		p.out = append(p.out, field...)
	}
	p.out = append(p.out, '\n')
	return p.out, nil
}

// blanked is a field without the passwords of its URLs. There are blank ones in their place, so that who reads the
// row notes what a row with passwords is noted for.
func (p *projection) blanked(field []byte) ([]byte, error) {
	var err error
	p.blank = append(p.blank[:0], field...)
	if p.field1, err = dbsource.ParseCopyLine(p.blank, p.field1); err != nil {
		return nil, err
	}
	blank, found := secret.Blank(p.field1[0])
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
	*projection
	scan            dbsource.Scan
	where           int // place of the column that the scan's ids are about, or -1
	create, revoked int // likewise
	row             [][]byte
	fn              func(row [][]byte) error
}

// newSelection makes the selection of a scan from lines with columns.
func newSelection(columns []string, scan dbsource.Scan, fn func(row [][]byte) error) (*selection, error) {
	s := &selection{scan: scan, where: -1, create: -1, revoked: -1, fn: fn}
	take, names := wantedOf(columns, scan.Columns)
	if len(names) != len(scan.Columns) {
		return nil, fmt.Errorf("table %s has no columns %q, but %q", scan.Table, scan.Columns, names)
	}
	s.projection = newProjection(len(columns), take)
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

// line gives a line's row to fn, if hints want it.
func (s *selection) line(line []byte) error {
	if err := s.split(line); err != nil {
		return err
	}
	if s.where >= 0 {
		id, ok := number(s.field(line, s.where))
		if ok && !s.scan.Where.IDs.Contains(uint32(int32(id))) {
			return nil
		}
	}
	if s.create >= 0 {
		if id, ok := number(s.field(line, s.create)); ok && id > s.scan.Window.Until {
			return nil
		}
	}
	if s.revoked >= 0 {
		if id, ok := number(s.field(line, s.revoked)); ok && id <= s.scan.Window.Since {
			return nil
		}
	}
	p, err := s.projection.line(line)
	if err != nil {
		return err
	}
	if s.row, err = dbsource.ParseCopyLine(p[:len(p)-1], s.row); err != nil {
		return err
	}
	return s.fn(s.row)
}

// number reads a field that is an id. What is none is for dbsource to judge.
func number(field []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(field), 10, 32)
	return n, err == nil
}
