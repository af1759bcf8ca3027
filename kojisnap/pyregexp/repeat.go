package pyregexp

import "strconv"

// repeat parses a quantifier and applies it to the last item of a sequence. "{" may also be literal
// text.
func (p *parser) repeat(s *sequence, t token) {
	here := p.tell()
	var low, high int64
	switch t.char {
	case '?':
		low, high = 0, 1
	case '*':
		low, high = 0, unlimited
	case '+':
		low, high = 1, unlimited
	case '{':
		var ok bool
		if low, high, ok = p.counts(here); !ok {
			s.items = append(s.items, item{op: opLiteral, char: '{'})
			return
		}
	}
	offset := p.tell() - here + 1
	if len(s.items) == 0 || s.items[len(s.items)-1].op == opAt {
		p.fail(offset, "nothing to repeat")
	}
	last := s.items[len(s.items)-1]
	if last.op == opRepeat {
		p.fail(offset, "multiple repeat")
	}
	mode := greedy
	if p.match('?') {
		mode = lazy
	} else if !p.legacy && p.match('+') {
		mode = possessive
	}
	body := &sequence{items: []item{last}}
	s.items[len(s.items)-1] = item{op: opRepeat, min: low, max: high, mode: mode, subs: []*sequence{body}}
}

// counts parses {m}, {m,}, {,n}, {m,n}. Anything else is literal: ok is false, and the source is
// where it was before.
func (p *parser) counts(here int) (low, high int64, ok bool) {
	if p.next.is('}') {
		return 0, 0, false
	}
	lo := p.while(len(p.text), digits)
	hi := lo
	if p.match(',') {
		hi = p.while(len(p.text), digits)
	}
	if !p.match('}') {
		p.seek(here)
		return 0, 0, false
	}
	low, high = 0, unlimited
	if lo != "" {
		low = p.count(lo)
	}
	if hi != "" {
		if high = p.count(hi); high < low {
			p.fail(p.tell()-here, "min repeat greater than max repeat")
		}
	}
	return low, high, true
}

const digits = "0123456789"

func (p *parser) count(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n >= unlimited {
		p.failAt(-1, "the repetition number is too large")
	}
	return n
}
