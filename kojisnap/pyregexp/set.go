package pyregexp

import "strings"

// set is a set of characters, [abc], or a class as \w.
type set struct {
	negated bool
	items   []setItem
}

// setItem is a range of characters, or a class: one of dDsSwW.
type setItem struct {
	low, high rune
	class     rune
}

// class parses a set after its opening bracket.
func (p *parser) class() item {
	here := p.tell() - 1
	s := set{negated: p.match('^')}
	next := func() token {
		t := p.get()
		if t.char == end {
			p.fail(p.tell()-here, "unterminated character set")
		}
		return t
	}
	for {
		t := next()
		if t.is(']') && len(s.items) > 0 {
			break
		}
		low := p.setItem(t)
		if !p.match('-') {
			s.items = append(s.items, low)
			continue
		}
		last := next()
		if last.is(']') {
			s.items = append(s.items, low, setItem{low: '-', high: '-'})
			break
		}
		high := p.setItem(last)
		if low.class != 0 || high.class != 0 || high.low < low.low {
			p.fail(t.len()+1+last.len(), "bad character range %s-%s", t, last)
		}
		s.items = append(s.items, setItem{low: low.low, high: high.low})
	}
	return item{op: opSet, set: s}
}

// setItem parses a character or a class within a set.
func (p *parser) setItem(t token) setItem {
	c := t.char
	switch {
	case t.isClassEscape():
		return setItem{class: c}
	case t.escaped && c == 'b':
		c = '\b'
	case t.escaped && strings.ContainsRune(octal, c):
		c = p.octal(string(c) + p.while(2, octal))
	case t.escaped:
		c = p.character(t)
	}
	return setItem{low: c, high: c}
}
