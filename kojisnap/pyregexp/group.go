package pyregexp

import (
	"strconv"
	"strings"
	"unicode"
)

// group parses a group after its "(". ok is false for comments and flags, which are not items. inX
// says whether the sequence around it is verbose; flags may change that.
func (p *parser) group(inX *bool, nested int, first bool) (it item, ok bool) {
	start := p.tell() - 1
	if !p.match('?') {
		return p.capture("", *inX, nested, start), true
	}
	t := p.get()
	switch {
	case t.char == end:
		p.fail(0, "unexpected end of pattern")
	case t.is('P'):
		return p.named(*inX, nested, start), true
	case t.is(':'):
		return item{op: opGroup, subs: p.body(*inX, nested, start)}, true
	case t.is('#'):
		p.comment(start)
		return it, false
	case t.isAny("=!<"):
		return p.look(t, *inX, nested, start), true
	case t.is('('):
		return p.condition(*inX, nested, start), true
	case t.is('>') && !p.legacy:
		return item{op: opAtomic, subs: p.body(*inX, nested, start)}, true
	case t.isFlag() || t.is('-'):
		add, del, global := p.parseFlags(t)
		if !global {
			sub := (*inX || add&verbose != 0) && del&verbose == 0
			return item{op: opGroup, add: add, del: del, subs: p.body(sub, nested, start)}, true
		}
		if !p.legacy && !first {
			p.fail(p.tell()-start, misplacedFlags)
		}
		if p.flags&verbose != 0 && !*inX {
			if p.legacy {
				panic(restart{})
			}
			*inX = true
		}
		return it, false
	}
	p.fail(t.len()+1, "unknown extension ?%s", t)
	return it, false
}

// body parses a group's content and the closing parenthesis.
func (p *parser) body(inX bool, nested, start int) []*sequence {
	s := p.alternatives(inX, nested+1)
	p.close(start)
	return []*sequence{s}
}

func (p *parser) close(start int) {
	if !p.match(')') {
		p.fail(p.tell()-start, "missing ), unterminated subpattern")
	}
}

func (p *parser) capture(name string, inX bool, nested, start int) item {
	number := len(p.groups)
	p.groups = append(p.groups, nil)
	if name != "" {
		if other, taken := p.names[name]; taken {
			p.fail(length(name)+1, "redefinition of group name %s as group %d; was group %d", repr(name), number, other)
		}
		p.names[name] = number
	}
	subs := p.body(inX, nested, start)
	w := subs[0].measure(p.groups)
	p.groups[number] = &w
	return item{op: opGroup, group: number, subs: subs}
}

// named parses a named group, or a reference to one, after its "(?P".
func (p *parser) named(inX bool, nested, start int) item {
	if p.match('<') {
		name := p.until('>', "group name")
		p.checkName(name)
		return p.capture(name, inX, nested, start)
	}
	if p.match('=') {
		name := p.until(')', "group name")
		p.checkName(name)
		number, known := p.names[name]
		if !known {
			p.fail(length(name)+1, "unknown group name %s", repr(name))
		}
		p.checkOpen(number, length(name)+1)
		p.checkBehind(number)
		return item{op: opReference, group: number}
	}
	t := p.get()
	if t.char == end {
		p.fail(0, "unexpected end of pattern")
	}
	p.fail(t.len()+2, "unknown extension ?P%s", t)
	return item{}
}

func (p *parser) checkName(name string) {
	if !isIdentifier(name) {
		p.fail(length(name)+1, "bad character in group name %s", repr(name))
	}
}

// repr is Python's repr of a name.
func repr(name string) string {
	quote := "'"
	if strings.Contains(name, "'") && !strings.Contains(name, `"`) {
		quote = `"`
	}
	return quote + strings.NewReplacer(`\`, `\\`, quote, `\`+quote, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(name) + quote
}

// checkOpen refuses a reference to a group that is not closed.
func (p *parser) checkOpen(group, offset int) {
	if group >= len(p.groups) || p.groups[group] == nil {
		p.fail(offset, "cannot refer to an open group")
	}
}

// checkBehind refuses, in a look-behind, a reference to a group of the same look-behind.
func (p *parser) checkBehind(group int) {
	if p.behindFrom == 0 {
		return
	}
	p.checkOpen(group, 0)
	if group >= p.behindFrom {
		p.fail(0, "cannot refer to group defined in the same lookbehind subpattern")
	}
}

func (p *parser) comment(start int) {
	for {
		if p.next.char == end {
			p.fail(p.tell()-start, "missing ), unterminated comment")
		}
		if p.get().is(')') {
			return
		}
	}
}

// look parses look-arounds, starting at their first character.
func (p *parser) look(t token, inX bool, nested, start int) item {
	it := item{op: opLook}
	outer := p.behindFrom
	if t.is('<') {
		if t = p.get(); t.char == end {
			p.fail(0, "unexpected end of pattern")
		}
		if !t.isAny("=!") {
			p.fail(t.len()+2, "unknown extension ?<%s", t)
		}
		it.behind = true
		if outer == 0 {
			p.behindFrom = len(p.groups)
		}
	}
	it.negated = t.is('!')
	it.subs = []*sequence{p.alternatives(inX, nested+1)}
	p.behindFrom = outer
	p.close(start)
	return it
}

// condition parses a condition after its "(?(".
func (p *parser) condition(inX bool, nested, start int) item {
	name := p.until(')', "group name")
	it := item{op: opCondition}
	if isDigits(name) {
		number, err := strconv.Atoi(name)
		switch {
		case err != nil || number >= maxGroups:
			p.fail(length(name)+1, "invalid group reference %s", strings.TrimLeft(name, "0"))
		case number == 0:
			p.fail(length(name)+1, "bad group number")
		}
		it.group = number
		p.refs = append(p.refs, forwardRef{number, p.tell() - length(name) - 1})
	} else {
		if isInt(name) {
			p.unsupported("condition on group %q: Python before 3.12 may take that for a number", name)
		}
		p.checkName(name)
		number, known := p.names[name]
		if !known {
			p.fail(length(name)+1, "unknown group name %s", repr(name))
		}
		it.group = number
	}
	p.checkBehind(it.group)
	if nested >= maxNesting {
		p.unsupported("groups are nested more than %d deep", maxNesting)
	}
	yes, no := p.sequence(inX, nested+1, false), &sequence{}
	if p.match('|') {
		no = p.sequence(inX, nested+1, false)
		if p.next.is('|') {
			p.fail(0, "conditional backref with more than two branches")
		}
	}
	p.close(start)
	it.subs = []*sequence{yes, no}
	return it
}

// maxGroups is Python's MAXGROUPS.
const maxGroups = 1<<30 - 1

// isInt reports whether Python's int() accepts a text, except for negative numbers.
func isInt(text string) bool {
	after := '_' // the character before
	for _, r := range strings.TrimPrefix(strings.TrimSpace(text), "+") {
		if !unicode.IsDigit(r) && (r != '_' || after == '_') {
			return false
		}
		after = r
	}
	return after != '_'
}
