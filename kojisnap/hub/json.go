package hub

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// JSON appends v to dst as Koji stores it: in the form of Python's json.dumps
// with its defaults, which is ", " and ": " between, everything but ASCII
// escaped (beyond U+FFFF as a surrogate pair), members in the order received.
// Doubles have the text received, with NaN and Infinity as Python spells them.
//
// A Bad value is an error that says where it is.
//
// Koji parses the JSON of columns like build.extra before it sends it, and
// Python keeps the order, so this gives the stored text back. Base64, dates and
// Missing have no JSON and are errors.
func (v Value) JSON(dst []byte) ([]byte, error) {
	switch v.Kind() {
	case Nil:
		return append(dst, "null"...), nil
	case Bool:
		if b, _ := v.Bool(); b {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	case Int:
		n, _ := v.Int()
		return strconv.AppendInt(dst, n, 10), nil
	case Double:
		switch text := v.Text(); string(text) {
		case "nan":
			return append(dst, "NaN"...), nil
		case "inf":
			return append(dst, "Infinity"...), nil
		case "-inf":
			return append(dst, "-Infinity"...), nil
		default:
			return append(dst, text...), nil
		}
	case String:
		return appendJSONString(dst, v.Text()), nil
	case Array:
		dst = append(dst, '[')
		for i, e := range v.Items() {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			var err error
			if dst, err = e.JSON(dst); err != nil {
				return nil, fmt.Errorf("element %d: %w", i, err)
			}
		}
		return append(dst, ']'), nil
	case Struct:
		dst = append(dst, '{')
		first := true
		for name, e := range v.Members() {
			if !first {
				dst = append(dst, ", "...)
			}
			first = false
			dst = append(appendJSONString(dst, []byte(name)), ": "...)
			var err error
			if dst, err = e.JSON(dst); err != nil {
				return nil, fmt.Errorf("member %q: %w", name, err)
			}
		}
		return append(dst, '}'), nil
	}
	if err := v.Bad(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("a %s value has no JSON", v.Kind())
}

func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		c := s[0]
		if c < utf8.RuneSelf {
			s = s[1:]
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c == '\r':
				dst = append(dst, '\\', 'r')
			case c == '\t':
				dst = append(dst, '\\', 't')
			case c < ' ' || c == 0x7f: // neither \b nor \f can be in XML
				dst = appendU(dst, rune(c))
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(s)
		s = s[n:]
		if r > 0xffff {
			r -= 0x10000
			dst = appendU(dst, 0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		dst = appendU(dst, r)
	}
	return append(dst, '"')
}

func appendU(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
