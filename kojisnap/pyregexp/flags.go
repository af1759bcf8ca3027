package pyregexp

import (
	"strings"
	"unicode"
)

// flags are the flags of a pattern, or of a part of it.
type flags int

const (
	ignoreCase flags = 1 << iota
	multiline
	dotAll
	verbose
	ascii
	unicodeText
)

var flagLetters = map[rune]flags{'i': ignoreCase, 'm': multiline, 's': dotAll, 'x': verbose, 'a': ascii, 'u': unicodeText}

const textFlags = ascii | unicodeText

// with returns the flags inside a group that adds and removes some.
func (f flags) with(add, del flags) flags {
	if add&textFlags != 0 {
		f &^= textFlags
	}
	return (f | add) &^ del
}

// flags parses the flags after "(?". If they end with a parenthesis, they are flags of the whole
// pattern: flags sets them, and global is true.
func (p *parser) parseFlags(t token) (add, del flags, global bool) {
	if !t.is('-') {
		for {
			flag := p.flag(t)
			add |= flag
			if flag&textFlags != 0 && add&textFlags != flag {
				p.fail(0, "bad inline flags: flags 'a', 'u' and 'L' are incompatible")
			}
			if t = p.get(); t.isAny(")-:") {
				break
			}
			p.checkFlag(t, "missing -, : or )")
		}
	}
	if t.is(')') {
		p.flags |= add
		return 0, 0, true
	}
	if t.is('-') {
		t = p.get()
		p.checkFlag(t, "missing flag")
		for {
			flag := p.flag(t)
			if flag&textFlags != 0 {
				p.fail(0, "bad inline flags: cannot turn off flags 'a', 'u' and 'L'")
			}
			del |= flag
			if t = p.get(); t.is(':') {
				break
			}
			p.checkFlag(t, "missing :")
		}
	}
	if add&del != 0 {
		p.fail(1, "bad inline flags: flag turned on and off")
	}
	return add, del, false
}

func (p *parser) flag(t token) flags {
	switch t.char {
	case 'L':
		p.fail(0, "bad inline flags: cannot use 'L' flag with a str pattern")
	case 't':
		p.unsupported("flag t: only Python before 3.13 knows it")
	}
	return flagLetters[t.char]
}

// isFlag reports whether a token is a flag's letter in any version of Python.
func (t token) isFlag() bool { return t.isAny("iLmsxaut") }

// checkFlag refuses a token that is not a flag's letter.
func (p *parser) checkFlag(t token, otherwise string) {
	switch {
	case t.char == end:
		p.fail(0, "%s", otherwise)
	case t.isFlag():
	case !t.escaped && unicode.IsLetter(t.char):
		p.fail(1, "unknown flag")
	default:
		p.fail(t.len(), "%s", otherwise)
	}
}

// isIdentifier is Python's str.isidentifier, for names of groups.
func isIdentifier(name string) bool {
	for i, r := range name {
		switch {
		case r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r):
		case i > 0 && unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc):
		default:
			return false
		}
	}
	return name != ""
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
