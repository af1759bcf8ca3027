package snapfile

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"kojisnap/kojisnap/relation"
)

// AppendLine appends a row as one line of PostgreSQL's COPY text format, with its
// newline. A nil field is NULL; every other field is its text, unescaped.
func AppendLine(dst []byte, row [][]byte) []byte {
	for i, f := range row {
		if i > 0 {
			dst = append(dst, '\t')
		}
		if f == nil {
			dst = append(dst, '\\', 'N')
			continue
		}
		start := 0
		for j, c := range f {
			var e byte
			switch c {
			case '\\':
				e = '\\'
			case '\t':
				e = 't'
			case '\n':
				e = 'n'
			case '\r':
				e = 'r'
			default:
				continue
			}
			dst = append(append(dst, f[start:j]...), '\\', e)
			start = j + 1
		}
		dst = append(dst, f[start:]...)
	}
	return append(dst, '\n')
}

// ParseLine splits a line (without its newline) into fields. It reuses row. Fields without an escape point
// into line; NULL is nil.
func ParseLine(line []byte, row [][]byte) ([][]byte, error) {
	row = row[:0]
	for {
		field, rest, more, err := cutField(line)
		if err != nil {
			return nil, err
		}
		row = append(row, field)
		if !more {
			return row, nil
		}
		line = rest
	}
}

// cutField splits the first field off a line.
func cutField(line []byte) (field, rest []byte, more bool, err error) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\t':
			return line[:i:i], line[i+1:], true, nil
		case '\\':
			return cutEscaped(line, i)
		}
	}
	return line[:len(line):len(line)], nil, false, nil
}

func cutEscaped(line []byte, first int) (field, rest []byte, more bool, err error) {
	if first == 0 && len(line) > 1 && line[1] == 'N' && (len(line) == 2 || line[2] == '\t') {
		if len(line) == 2 {
			return nil, nil, false, nil
		}
		return nil, line[3:], true, nil
	}
	field = append(make([]byte, 0, len(line)), line[:first]...)
	for i := first; i < len(line); i++ {
		switch line[i] {
		case '\t':
			return field, line[i+1:], true, nil
		case '\\':
			i++
			if i == len(line) {
				return nil, nil, false, fmt.Errorf("line ends in a backslash")
			}
			switch line[i] {
			case '\\':
				field = append(field, '\\')
			case 't':
				field = append(field, '\t')
			case 'n':
				field = append(field, '\n')
			case 'r':
				field = append(field, '\r')
			default:
				return nil, nil, false, fmt.Errorf("unknown escape \\%c", line[i])
			}
		default:
			field = append(field, line[i])
		}
	}
	return field, nil, false, nil
}

// sortKey turns the key of a row into bytes that compare as the key does: integers by value, text by its
// bytes.
type sortKey struct {
	rel   *relation.Relation
	index []int
}

func newSortKey(rel *relation.Relation) sortKey { return sortKey{rel, rel.KeyIndexes()} }

func (k sortKey) append(dst []byte, row [][]byte) ([]byte, error) {
	for _, i := range k.index {
		c := k.rel.Columns[i]
		if row[i] == nil {
			return nil, fmt.Errorf("%s: key column %s is NULL", k.rel.Name, c.Name)
		}
		if c.Type == relation.Text {
			// PostgreSQL's texts never hold a NUL, so a NUL ends one.
			dst = append(append(dst, row[i]...), 0)
			continue
		}
		n, err := strconv.ParseInt(string(row[i]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %q is not a number", k.rel.Name, c.Name, row[i])
		}
		dst = binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
	}
	return dst, nil
}
