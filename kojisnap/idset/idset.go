// Package idset has sets of Koji's ids, which have 32 bits.
package idset

import (
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strconv"
)

// Set is a set of ids: a bit for each, in pages, so that the ids of millions of rows take some
// megabytes, however they lie among others. The zero value is empty and may be added to. A set is
// for one goroutine.
type Set struct{ pages map[int64]*page }

type page [1 << 10]uint64

const pageBits = 16

// Of returns the set of some ids.
func Of(ids []int64) *Set {
	var s Set
	for _, id := range ids {
		s.Add(id)
	}
	return &s
}

// Parse returns the id that a COPY field holds.
func Parse(field []byte) (int64, error) {
	id, err := strconv.ParseInt(string(field), 10, 64)
	if err == nil {
		err = Check(id)
	}
	return id, err
}

// Text returns an id as a COPY field.
func Text(id int64) []byte { return strconv.AppendInt(nil, id, 10) }

// Check refuses numbers that no id of Koji's can be: ids have 32 bits.
func Check(id int64) error {
	if id != int64(int32(id)) {
		return fmt.Errorf("%d does not fit an integer", id)
	}
	return nil
}

func place(id int64) (page int64, word int, bit uint64) {
	low := id & (1<<pageBits - 1)
	return id >> pageBits, int(low >> 6), 1 << (low & 63)
}

// Add adds an id.
func (s *Set) Add(id int64) {
	at, word, bit := place(id)
	p := s.pages[at]
	if p == nil {
		if s.pages == nil {
			s.pages = map[int64]*page{}
		}
		p = new(page)
		s.pages[at] = p
	}
	p[word] |= bit
}

// Remove removes an id, if the set has it.
func (s *Set) Remove(id int64) {
	at, word, bit := place(id)
	if p := s.pages[at]; p != nil {
		p[word] &^= bit
	}
}

// Has reports whether the set has an id.
func (s *Set) Has(id int64) bool {
	at, word, bit := place(id)
	p := s.pages[at]
	return p != nil && p[word]&bit != 0
}

// Len returns how many ids the set has.
func (s *Set) Len() int {
	n := 0
	for _, p := range s.pages {
		for _, w := range p {
			n += bits.OnesCount64(w)
		}
	}
	return n
}

// All gives the ids, ascending. The set must not change meanwhile.
func (s *Set) All() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for _, at := range slices.Sorted(maps.Keys(s.pages)) {
			for word, w := range s.pages[at] {
				for ; w != 0; w &= w - 1 {
					if !yield(at<<pageBits | int64(word<<6|bits.TrailingZeros64(w))) {
						return
					}
				}
			}
		}
	}
}

// List returns the ids, ascending.
func (s *Set) List() []int64 { return slices.Collect(s.All()) }

// Without returns the ids of s that are in none of the others, ascending.
func (s *Set) Without(others ...*Set) []int64 {
	var ids []int64
next:
	for id := range s.All() {
		for _, o := range others {
			if o.Has(id) {
				continue next
			}
		}
		ids = append(ids, id)
	}
	return ids
}

// Minus is Without as a set.
func (s *Set) Minus(others ...*Set) *Set {
	c := s.Clone()
	for _, o := range others {
		for at, p := range o.pages {
			mine := c.pages[at]
			for word := range p {
				if mine == nil {
					break
				}
				mine[word] &^= p[word]
			}
		}
	}
	return c
}

// Clone returns a copy.
func (s *Set) Clone() *Set {
	c := &Set{pages: make(map[int64]*page, len(s.pages))}
	for at, p := range s.pages {
		copied := *p
		c.pages[at] = &copied
	}
	return c
}
