package pyregexp

import "math"

// op says what an item is.
type op int

const (
	opLiteral   op = iota // char
	opAny                 // .
	opSet                 // set
	opAt                  // char: ^ $ A Z b B
	opBranch              // one of subs
	opRepeat              // subs[0], from min to max times
	opGroup               // subs[0]; group is its number, 0: it captures nothing
	opAtomic              // subs[0]
	opReference           // to group
	opCondition           // subs[0] if group has matched, else subs[1]
	opLook                // subs[0] is ahead, or behind
)

// item is a piece of a pattern.
type item struct {
	op       op
	char     rune
	set      set
	min, max int64
	mode     repeatMode
	group    int
	add, del flags // of opGroup
	behind   bool  // of opLook
	negated  bool  // of opLook
	subs     []*sequence
}

// sequence is a list of items, to be matched in this order.
type sequence struct {
	items []item
	known bool
	width width
}

// each calls fn for a sequence's items and for the items in them.
func (s *sequence) each(fn func(*item)) {
	for i := range s.items {
		fn(&s.items[i])
		for _, sub := range s.items[i].subs {
			sub.each(fn)
		}
	}
}

// repeatMode is what follows a quantifier.
type repeatMode string

const (
	greedy     repeatMode = ""
	lazy       repeatMode = "?"
	possessive repeatMode = "+"
)

// unlimited is Python's MAXREPEAT: a count that large is an error there.
const unlimited = math.MaxUint32

// width is how many characters may match, counted up to maxWidth.
type width struct{ min, max int64 }

const maxWidth = math.MaxInt32

func (w width) plus(v width) width {
	return width{min(w.min+v.min, maxWidth), min(w.max+v.max, maxWidth)}
}

func (w width) or(v width) width { return width{min(w.min, v.min), max(w.max, v.max)} }

// measure returns a sequence's width, as Python's getwidth does. groups are the widths of the
// closed groups.
func (s *sequence) measure(groups []*width) width {
	if s.known {
		return s.width
	}
	for _, it := range s.items {
		s.width = s.width.plus(it.measure(groups))
	}
	s.known = true
	return s.width
}

func (it *item) measure(groups []*width) width {
	switch it.op {
	case opLiteral, opAny, opSet:
		return width{1, 1}
	case opBranch, opCondition:
		w := it.subs[0].measure(groups)
		for _, sub := range it.subs[1:] {
			w = w.or(sub.measure(groups))
		}
		return w
	case opGroup, opAtomic:
		return it.subs[0].measure(groups)
	case opRepeat:
		w := it.subs[0].measure(groups)
		return width{times(w.min, it.min), times(w.max, it.max)}
	case opReference:
		if w := groups[it.group]; w != nil {
			return *w
		}
	}
	return width{}
}

func times(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return min(a*min(b, maxWidth), maxWidth)
}
