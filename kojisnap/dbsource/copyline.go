package dbsource

import (
	"bytes"
	"fmt"
)

// ParseCopyLine splits a line of PostgreSQL's COPY text format, without its newline, into fields, reusing row. It
// knows all escapes that COPY writes or reads, those that a snapshot's own lines do not have, too. NULL (\N) is
// nil. Fields without an escape point into line; the others are decoded in place, so line is spent.
func ParseCopyLine(line []byte, row [][]byte) ([][]byte, error) {
	row = row[:0]
	for {
		end := bytes.IndexByte(line, '\t') // faster than bytes.Cut, in every row of a pull
		field := line
		if end >= 0 {
			field = line[:end]
		}
		field, err := ParseCopyField(field)
		if err != nil {
			return nil, err
		}
		row = append(row, field)
		if end < 0 {
			return row, nil
		}
		line = line[end+1:]
	}
}

// ParseCopyField is ParseCopyLine for one field.
func ParseCopyField(field []byte) ([]byte, error) {
	if bytes.IndexByte(field, '\\') >= 0 {
		return unescape(field)
	}
	if field == nil { // of a line that is nil: an empty text
		return []byte{}, nil
	}
	return field[:len(field):len(field)], nil
}

var null = []byte(`\N`)

// unescape decodes a field in place. A tab within a field is always written as an escape.
func unescape(field []byte) ([]byte, error) {
	if bytes.Equal(field, null) {
		return nil, nil
	}
	out := field[:0]
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c != '\\' {
			out = append(out, c)
			continue
		}
		if i++; i == len(field) {
			return nil, fmt.Errorf("the line ends in a backslash")
		}
		switch c = field[i]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'v':
			c = '\v'
		case 'x':
			n, digits := 0, 0
			for digits < 2 && i+1 < len(field) {
				d, ok := hexDigit(field[i+1])
				if !ok {
					break
				}
				n, digits = n<<4|d, digits+1
				i++
			}
			if digits > 0 {
				c = byte(n)
			}
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := int(c - '0')
			for digits := 1; digits < 3 && i+1 < len(field) && field[i+1] >= '0' && field[i+1] <= '7'; digits++ {
				i++
				n = n<<3 | int(field[i]-'0')
			}
			c = byte(n)
		}
		out = append(out, c)
	}
	return out[:len(out):len(out)], nil
}

func hexDigit(c byte) (int, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}
