package pull

import (
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strconv"
)

// appendInt is a number's text.
func appendInt(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// idSet is a set of Koji's ids: a bit for each, in pages, so that the ids of millions of rows
// take some megabytes, however they lie among others. The zero value is empty and may be added to.
type idSet struct{ pages map[int64]*idPage }

type idPage [1 << 10]uint64

const pageBits = 16

func place(id int64) (page int64, word int, bit uint64) {
	low := id & (1<<pageBits - 1)
	return id >> pageBits, int(low >> 6), 1 << (low & 63)
}

func (s *idSet) add(id int64) {
	page, word, bit := place(id)
	p := s.pages[page]
	if p == nil {
		if s.pages == nil {
			s.pages = map[int64]*idPage{}
		}
		p = new(idPage)
		s.pages[page] = p
	}
	p[word] |= bit
}

func (s *idSet) remove(id int64) {
	page, word, bit := place(id)
	if p := s.pages[page]; p != nil {
		p[word] &^= bit
	}
}

func (s *idSet) has(id int64) bool {
	page, word, bit := place(id)
	p := s.pages[page]
	return p != nil && p[word]&bit != 0
}

func (s *idSet) len() int {
	n := 0
	for _, p := range s.pages {
		for _, w := range p {
			n += bits.OnesCount64(w)
		}
	}
	return n
}

// each gives the ids, ascending. The set must not change meanwhile.
func (s *idSet) each() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for _, page := range slices.Sorted(maps.Keys(s.pages)) {
			for word, w := range s.pages[page] {
				for ; w != 0; w &= w - 1 {
					if !yield(page<<pageBits | int64(word<<6|bits.TrailingZeros64(w))) {
						return
					}
				}
			}
		}
	}
}

// without returns the ids of s that are in none of the others, ascending.
func (s *idSet) without(others ...*idSet) []int64 {
	var ids []int64
next:
	for id := range s.each() {
		for _, o := range others {
			if o.has(id) {
				continue next
			}
		}
		ids = append(ids, id)
	}
	return ids
}

func (s *idSet) clone() idSet {
	c := idSet{pages: make(map[int64]*idPage, len(s.pages))}
	for at, p := range s.pages {
		page := *p
		c.pages[at] = &page
	}
	return c
}
