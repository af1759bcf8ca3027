package pyregexp

import "errors"

// parser reads a pattern as Python's re._parser does, with the same errors.
type parser struct {
	*source
	rules
	flags  flags
	names  map[string]int
	groups []*width // by number; nil while a group is open, and for 0

	refs       []forwardRef // conditions, on groups that may come later
	behindFrom int          // within a look-behind, the first group that is in it; else 0
}

type forwardRef struct{ group, pos int }

// rules are the differences between versions of Python.
type rules struct {
	legacy bool // before 3.11
	inX    bool // the whole pattern is verbose, as a first parse has found out
}

// tree is a parsed pattern.
type tree struct {
	root   *sequence
	flags  flags
	groups []*width // by number, from 1
}

// maxNesting is how deep groups may be nested. Python stops at a few hundred.
const maxNesting = 150

// misplacedFlags is the only error that was none before Python 3.11.
const misplacedFlags = "global flags not at the start of the expression"

// parse reads a pattern with the rules of today's Python. If its only error is flags in the middle,
// it reads it with the rules of Python before 3.11.
func parse(pattern string) (*tree, error) {
	t, err := parseBy(pattern, rules{})
	var syntax *SyntaxError
	if !errors.As(err, &syntax) || syntax.Msg != misplacedFlags {
		return t, err
	}
	old, oldErr := parseBy(pattern, rules{legacy: true})
	if errors.As(oldErr, &syntax) {
		return nil, err // no Python accepts it
	}
	return old, oldErr
}

func parseBy(pattern string, r rules) (t *tree, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *SyntaxError:
			err = e
		case *UnsupportedError:
			err = e
		case restart:
			if r.inX {
				err = &UnsupportedError{pattern, "flag x is set for the whole pattern in a group that is without it"}
				return
			}
			t, err = parseBy(pattern, rules{legacy: true, inX: true})
		default:
			panic(e)
		}
	}()
	p := &parser{source: newSource(pattern), rules: r, names: map[string]int{}, groups: []*width{nil}}
	if r.inX {
		p.flags = verbose
	}
	root := p.alternatives(r.inX, 0)
	if p.flags&textFlags == textFlags {
		p.failAt(-1, "ASCII and UNICODE flags are incompatible")
	}
	if p.next.char != end {
		p.fail(0, "unbalanced parenthesis")
	}
	for _, ref := range p.refs {
		if ref.group >= len(p.groups) {
			p.failAt(ref.pos, "invalid group reference %d", ref.group)
		}
	}
	root.each(func(it *item) {
		if it.behind {
			if w := it.subs[0].measure(p.groups); w.min != w.max {
				p.failAt(-1, "look-behind requires fixed-width pattern")
			}
		}
	})
	return &tree{root, p.flags, p.groups}, nil
}

// restart does what an old Python does if it finds late that the whole pattern is verbose.
type restart struct{}

// alternatives parses a|b|c, up to a parenthesis or the end.
func (p *parser) alternatives(inX bool, nested int) *sequence {
	if nested > maxNesting {
		p.unsupported("groups are nested more than %d deep", maxNesting)
	}
	var all []*sequence
	for {
		all = append(all, p.sequence(inX, nested, nested == 0 && len(all) == 0))
		if !p.match('|') {
			break
		}
		if nested == 0 && !p.legacy {
			inX = p.flags&verbose != 0
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return &sequence{items: []item{{op: opBranch, subs: all}}}
}

// sequence parses items up to a bar, a parenthesis or the end. first is true of the one that
// the pattern begins with.
func (p *parser) sequence(inX bool, nested int, first bool) *sequence {
	s := &sequence{}
	add := func(it item) { s.items = append(s.items, it) }
	for p.next.char != end && !p.next.isAny("|)") {
		t := p.get()
		if inX && t.isAny(" \t\n\r\v\f") {
			continue
		}
		if inX && t.is('#') {
			for t.char != end && !t.is('\n') {
				t = p.get()
			}
			continue
		}
		switch {
		case t.escaped:
			add(p.escape(t))
		case t.is('['):
			add(p.class())
		case t.isAny("*+?{"):
			p.repeat(s, t)
		case t.is('.'):
			add(item{op: opAny})
		case t.is('^'), t.is('$'):
			add(item{op: opAt, char: t.char})
		case t.is('('):
			if it, ok := p.group(&inX, nested, first && len(s.items) == 0); ok {
				add(it)
			}
		default:
			add(item{op: opLiteral, char: t.char})
		}
	}
	return s
}
