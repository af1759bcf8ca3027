package hub

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
)

// scalar reads a value that is neither array nor struct after its tag, to its
// end tag. n's text starts where the tape's text ends; an untyped value's text is
// there already. wrong is a fault of this value alone: the rest of the reply can
// be read.
func (d *decoder) scalar(n *node, el element) (wrong, err error) {
	if el != untyped {
		if d.tape.text, err = d.text(d.tape.text); err != nil {
			return nil, err
		}
		if err := d.close(el); err != nil {
			return nil, err
		}
	}
	if err := d.charge(0); err != nil {
		return nil, err
	}
	n.end = len(d.tape.text)
	if d.badChar != nil {
		return d.badChar, nil
	}
	text := d.tape.text[n.start:]
	switch el {
	case untyped, elString:
		n.kind = String
	case elInt, elI1, elI2, elI4, elI8:
		n.kind = Int
		n.num, wrong = parseInt(text)
	case elNil, elExNil:
		n.kind = Nil
		if len(text) > 0 {
			wrong = fmt.Errorf("text in %s", tag{el: el})
		}
	case elBoolean:
		n.kind = Bool
		if len(text) != 1 || text[0] != '0' && text[0] != '1' {
			return fmt.Errorf("boolean %q", clip(text)), nil
		}
		n.num = int64(text[0] - '0')
	case elDouble:
		n.kind = Double
		if !isDouble(text) {
			wrong = fmt.Errorf("double %q", clip(text))
		}
	case elBase64:
		n.kind = Bytes
		digits := slices.DeleteFunc(text, isSpace)
		raw, wrong := base64.StdEncoding.AppendDecode(d.tape.text, digits) // behind them, so as not to overwrite any
		if wrong != nil {
			return wrong, nil
		}
		d.tape.text = append(raw[:n.start], raw[n.end:]...)
		n.end = len(d.tape.text)
	case elDateTime:
		n.kind = DateTime
	default:
		err = fmt.Errorf("%s in a value", tag{el: el})
	}
	return wrong, err
}

// parseInt reads digits without making a string, which strconv needs.
func parseInt(b []byte) (int64, error) {
	digits, minus := b, false
	if len(b) > 0 && b[0] == '-' {
		digits, minus = b[1:], true
	}
	if len(digits) == 0 || len(digits) > 18 {
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("int %q", clip(b))
		}
		return n, nil
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("int %q", clip(b))
		}
		n = n*10 + int64(c-'0')
	}
	if minus {
		n = -n
	}
	return n, nil
}

// isDouble reports whether b is a float in the form of Python's repr.
func isDouble(b []byte) bool {
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	if string(b) == "inf" || string(b) == "nan" {
		return true
	}
	digits := func() bool {
		n := 0
		for n < len(b) && b[n] >= '0' && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	if !digits() {
		return false
	}
	if len(b) > 0 && b[0] == '.' {
		if b = b[1:]; !digits() {
			return false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(b) == 0
}

func clip(b []byte) []byte { return b[:min(len(b), 40)] }
