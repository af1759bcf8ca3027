package pyregexp

import (
	"strconv"
	"strings"
	"unicode"
)

const (
	octal = "01234567"
	hex   = "0123456789abcdefABCDEF"
)

// plainEscapes have the same meaning inside and outside of sets. \b has not: in a set it is a backspace.
var plainEscapes = map[rune]rune{'a': '\a', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\'}

// escape parses a token with a backslash, outside of sets.
func (p *parser) escape(t token) item {
	switch c := t.char; {
	case t.isClassEscape():
		return item{op: opSet, set: set{items: []setItem{{class: c}}}}
	case c == 'A' || c == 'Z' || c == 'b' || c == 'B':
		return item{op: opAt, char: c}
	case c == '0':
		return item{op: opLiteral, char: p.octal("0" + p.while(2, octal))}
	case c >= '1' && c <= '9':
		return p.reference(t)
	}
	return item{op: opLiteral, char: p.character(t)}
}

func (t token) isClassEscape() bool {
	return t.escaped && strings.ContainsRune("dDsSwW", t.char)
}

// reference parses \1 to \99, and octal escapes of three digits.
func (p *parser) reference(t token) item {
	text := string(t.char)
	if p.next.isAny(digits) {
		text += string(p.get().char)
		if strings.Trim(text, octal) == "" && p.next.isAny(octal) {
			return item{op: opLiteral, char: p.octal(text + string(p.get().char))}
		}
	}
	group, _ := strconv.Atoi(text)
	if group >= len(p.groups) {
		p.fail(len(text), "invalid group reference %d", group)
	}
	p.checkOpen(group, len(text)+1)
	p.checkBehind(group)
	return item{op: opReference, group: group}
}

// octal returns the character of up to three octal digits.
func (p *parser) octal(text string) rune {
	n, _ := strconv.ParseUint(text, 8, 32)
	if n > 0o377 {
		p.fail(len(text)+1, `octal escape value \%s outside of range 0-0o377`, text)
	}
	return rune(n)
}

// character returns the character of an escape.
func (p *parser) character(t token) rune {
	c := t.char
	if plain, ok := plainEscapes[c]; ok {
		return plain
	}
	switch c {
	case 'x':
		return p.hex(t, 2)
	case 'u':
		return p.hex(t, 4)
	case 'U':
		return p.hex(t, 8)
	case 'N':
		if !p.match('{') {
			p.fail(0, "missing {")
		}
		p.unsupported(`\N{%s}: names of characters are not known here`, p.until('}', "character name"))
	}
	if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		p.fail(2, "bad escape %s", t)
	}
	return c
}

func (p *parser) hex(t token, size int) rune {
	text := p.while(size, hex)
	if len(text) < size {
		p.fail(2+len(text), "incomplete escape %s%s", t, text)
	}
	n, _ := strconv.ParseUint(text, 16, 64)
	if n > unicode.MaxRune {
		p.fail(2+len(text), "bad escape %s%s", t, text)
	}
	return rune(n)
}
