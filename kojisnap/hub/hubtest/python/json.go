package python

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var errJSON = errors.New("invalid JSON")

// ParseJSON parses what Python's json.loads accepts, including NaN and Infinity, and keeps the order of
// members. It keeps a lone surrogate as the three bytes that UTF-8 would have for it.
func ParseJSON(text string) (any, error) {
	p := &jsonParser{s: text}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.space(); p.i != len(p.s) {
		return nil, errJSON
	}
	return v, nil
}

type jsonParser struct {
	s string
	i int
}

func (p *jsonParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\n\r", p.s[p.i]) >= 0 {
		p.i++
	}
}

// take skips white space, and then the literal lit if it comes next.
func (p *jsonParser) take(lit string) bool {
	p.space()
	if strings.HasPrefix(p.s[p.i:], lit) {
		p.i += len(lit)
		return true
	}
	return false
}

func (p *jsonParser) value() (any, error) {
	switch {
	case p.take("{"):
		return p.object()
	case p.take("["):
		return p.list()
	case p.take(`"`):
		return p.text()
	case p.take("null"):
		return nil, nil
	case p.take("true"):
		return true, nil
	case p.take("false"):
		return false, nil
	case p.take("NaN"):
		return math.NaN(), nil
	case p.take("Infinity"):
		return math.Inf(1), nil
	case p.take("-Infinity"):
		return math.Inf(-1), nil
	}
	return p.number()
}

func (p *jsonParser) object() (any, error) {
	s := &Struct{}
	if p.take("}") {
		return s, nil
	}
	for {
		if !p.take(`"`) {
			return nil, errJSON
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if !p.take(":") {
			return nil, errJSON
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		s.Set(key, v)
		if p.take("}") {
			return s, nil
		}
		if !p.take(",") {
			return nil, errJSON
		}
	}
}

func (p *jsonParser) list() (any, error) {
	list := []any{}
	if p.take("]") {
		return list, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if p.take("]") {
			return list, nil
		}
		if !p.take(",") {
			return nil, errJSON
		}
	}
}

func (p *jsonParser) number() (any, error) {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte("+-0123456789.eE", p.s[p.i]) >= 0 {
		p.i++
	}
	text := p.s[start:p.i]
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && text[0] != '+' {
		return n, nil
	}
	if n, ok := new(big.Int).SetString(text, 10); ok && text[0] != '+' {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil, errJSON
	}
	return f, nil
}

// text reads a string after its opening quote.
func (p *jsonParser) text() (string, error) {
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == '"':
			return b.String(), nil
		case c < 0x20:
			return "", errJSON
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		if p.i == len(p.s) {
			return "", errJSON
		}
		c = p.s[p.i]
		p.i++
		if at := strings.IndexByte(`"\/bfnrt`, c); at >= 0 {
			b.WriteByte("\"\\/\b\f\n\r\t"[at])
			continue
		}
		if c != 'u' {
			return "", errJSON
		}
		r, err := p.hex()
		if err != nil {
			return "", err
		}
		if utf16.IsSurrogate(r) && strings.HasPrefix(p.s[p.i:], `\u`) {
			back := p.i
			p.i += 2
			low, err := p.hex()
			if err != nil {
				return "", err
			}
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				r = both
			} else {
				p.i = back
			}
		}
		if utf16.IsSurrogate(r) {
			b.Write([]byte{0xe0 | byte(r>>12), 0x80 | byte(r>>6)&0x3f, 0x80 | byte(r)&0x3f})
		} else {
			b.WriteRune(r)
		}
	}
	return "", errJSON
}

func (p *jsonParser) hex() (rune, error) {
	if p.i+4 > len(p.s) {
		return 0, errJSON
	}
	n, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 16)
	p.i += 4
	if err != nil {
		return 0, errJSON
	}
	return rune(n), nil
}
