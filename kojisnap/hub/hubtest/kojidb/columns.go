package kojidb

import (
	"encoding/hex"
	"math"
	"slices"
	"sync"

	"kojisnap/kojisnap/hub/hubtest/python"
)

// columnStore keeps each column as one slice, for tables with millions of rows. A row of rpmsigs takes 24
// bytes, without any work for the garbage collector. Integers and texts are found by indexes, which are made
// at their first use and take 4 to 8 bytes a row.
type columnStore struct {
	rows int32
	cols []Column

	mu      sync.Mutex
	indexes []*codeIndex
}

// Column is the values of a column.
type Column interface {
	Len() int32
	get(n int32) any
}

// Grow makes room for n more rows.
func Grow(n int, cols ...interface{ grow(n int) }) {
	for _, c := range cols {
		c.grow(n)
	}
}

func (c *IntColumn) grow(n int)  { c.vals = slices.Grow(c.vals, n) }
func (c *LongColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *TimeColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *BoolColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *TextColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }

func (c *HexColumn) grow(n int) {
	c.bytes = slices.Grow(c.bytes, n*c.Width)
	if c.Prefix != nil {
		c.Prefix.grow(n)
	}
}

// coded is a column whose values are stored as small numbers, which an index can use as positions.
type coded interface {
	numbers() []int32 // null: NULL
	number(v any) (int32, bool)
}

const Null = math.MinInt32

// tableOfColumns makes a table. All columns must have the same number of rows, except those with one value
// for all rows.
func tableOfColumns(name string, names []string, cols []Column) *Table {
	s := &columnStore{cols: cols, indexes: make([]*codeIndex, len(cols))}
	for _, c := range cols {
		s.rows = max(s.rows, c.Len())
	}
	return tableOf(name, names, s)
}

func (s *columnStore) size() int32 { return s.rows }

func (s *columnStore) get(i int) func(n int32) any { return s.cols[i].get }

func (s *columnStore) indexed(i int) bool { _, ok := s.cols[i].(coded); return ok }

func (s *columnStore) find(i int, v any) Hits {
	c, ok := s.cols[i].(coded)
	if !ok {
		return s.scan(i, v)
	}
	n, ok := c.number(v)
	if !ok {
		return Hits{}
	}
	return s.index(i, c).find(n)
}

func (s *columnStore) scan(i int, v any) Hits {
	if c, ok := s.cols[i].(same); ok {
		if c.v != v {
			return Hits{}
		}
		return Hits{High: s.rows}
	}
	list := []int32{}
	for n := range s.rows {
		if s.cols[i].get(n) == v {
			list = append(list, n)
		}
	}
	return Hits{List: list}
}

func (s *columnStore) index(i int, c coded) *codeIndex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.indexes[i] == nil {
		s.indexes[i] = newCodeIndex(c.numbers())
	}
	return s.indexes[i]
}

func (s *columnStore) ascending(i int) bool {
	c, ok := s.cols[i].(*IntColumn)
	return ok && s.index(i, c).unique
}

// codeIndex finds rows by a column's number. The rows with number first+k are order[start[k]:start[k+1]].
// order is nil if the rows are in the order of the column.
type codeIndex struct {
	first  int64
	start  []int32
	order  []int32
	unique bool // each value once, in order, without NULL
}

func newCodeIndex(numbers []int32) *codeIndex {
	x := &codeIndex{first: math.MaxInt64, unique: true}
	last, inOrder := int64(math.MinInt64), true
	for i, n := range numbers {
		x.unique = x.unique && n != Null && (i == 0 || n > numbers[i-1])
		inOrder = inOrder && n != Null && (i == 0 || n >= numbers[i-1])
		if n != Null {
			x.first, last = min(x.first, int64(n)), max(last, int64(n))
		}
	}
	if last < x.first {
		return x
	}
	x.start = make([]int32, last-x.first+2)
	for _, n := range numbers {
		if n != Null {
			x.start[int64(n)-x.first+1]++
		}
	}
	for k := 1; k < len(x.start); k++ {
		x.start[k] += x.start[k-1]
	}
	if inOrder {
		return x
	}
	x.order = make([]int32, x.start[len(x.start)-1])
	next := slices.Clone(x.start)
	for row, n := range numbers {
		if n != Null {
			k := int64(n) - x.first
			x.order[next[k]] = int32(row)
			next[k]++
		}
	}
	return x
}

func (x *codeIndex) find(n int32) Hits {
	k := int64(n) - x.first
	if n == Null || k < 0 || k >= int64(len(x.start))-1 {
		return Hits{}
	}
	low, high := x.start[k], x.start[k+1]
	if x.order == nil || low == high {
		return Hits{low: low, High: high}
	}
	return Hits{List: x.order[low:high]}
}

// IntColumn has 32 bit integers, such as ids and events. They should be close together: an index takes room
// for each number in their range.
type IntColumn struct{ vals []int32 }

func (c *IntColumn) Len() int32       { return int32(len(c.vals)) }
func (c *IntColumn) Add(n int32)      { c.vals = append(c.vals, n) }
func (c *IntColumn) numbers() []int32 { return c.vals }

func (c *IntColumn) get(n int32) any {
	if v := c.vals[n]; v != Null {
		return int64(v)
	}
	return nil
}

func (c *IntColumn) number(v any) (int32, bool) {
	n, ok := v.(int64)
	return int32(n), ok && n > Null && n <= math.MaxInt32
}

// LongColumn has 64 bit integers without NULL.
type LongColumn struct{ vals []int64 }

func (c *LongColumn) Len() int32      { return int32(len(c.vals)) }
func (c *LongColumn) Add(n int64)     { c.vals = append(c.vals, n) }
func (c *LongColumn) get(n int32) any { return c.vals[n] }

// TimeColumn has times; 0 is NULL.
type TimeColumn struct{ vals []python.Time }

func (c *TimeColumn) Len() int32        { return int32(len(c.vals)) }
func (c *TimeColumn) Add(t python.Time) { c.vals = append(c.vals, t) }

func (c *TimeColumn) get(n int32) any {
	if v := c.vals[n]; v != 0 {
		return v
	}
	return nil
}

// BoolColumn has true, and either false or NULL, as set for the column.
type BoolColumn struct {
	vals []bool
	Not  any
}

func (c *BoolColumn) Len() int32 { return int32(len(c.vals)) }
func (c *BoolColumn) Add(v bool) { c.vals = append(c.vals, v) }

func (c *BoolColumn) get(n int32) any {
	if c.vals[n] {
		return true
	}
	return c.Not
}

// Same is a column that has one value in all rows.
func Same(v any) Column { return same{v} }

type same struct{ v any }

func (c same) Len() int32    { return 0 }
func (c same) get(int32) any { return c.v }

// Texts numbers the different values of text columns.
type Texts struct {
	vals  []any
	codes map[string]int32
}

// NewTexts makes an empty set of texts; columns may share one.
func NewTexts() *Texts { return &Texts{codes: map[string]int32{}} }

// Code returns the number of a text. A new text gets a new number.
func (t *Texts) Code(s string) int32 {
	n, ok := t.codes[s]
	if !ok {
		n = int32(len(t.vals))
		t.codes[s] = n
		t.vals = append(t.vals, s)
	}
	return n
}

// TextColumn has texts by their numbers.
type TextColumn struct {
	*Texts
	vals []int32
}

func (c *TextColumn) Len() int32       { return int32(len(c.vals)) }
func (c *TextColumn) Add(code int32)   { c.vals = append(c.vals, code) }
func (c *TextColumn) numbers() []int32 { return c.vals }

func (c *TextColumn) get(n int32) any {
	if v := c.vals[n]; v != Null {
		return c.Texts.vals[v]
	}
	return nil
}

func (c *TextColumn) number(v any) (int32, bool) {
	s, _ := v.(string)
	n, ok := c.codes[s]
	return n, ok
}

// HexColumn has digests in hexadecimal, each after a prefix, if there is one, and before a common suffix. A
// row whose prefix is null is NULL.
type HexColumn struct {
	Width  int // of a digest, in bytes
	bytes  []byte
	Prefix *TextColumn
	Suffix string
}

func (c *HexColumn) Len() int32     { return int32(len(c.bytes) / c.Width) }
func (c *HexColumn) Add(sum []byte) { c.bytes = append(c.bytes, sum...) }

func (c *HexColumn) get(n int32) any {
	sum := c.bytes[int(n)*c.Width:][:c.Width]
	if c.Prefix == nil {
		var digits [2 * 32]byte
		return string(digits[:hex.Encode(digits[:], sum)])
	}
	prefix, ok := c.Prefix.get(n).(string)
	if !ok {
		return nil
	}
	return prefix + hex.EncodeToString(sum) + c.Suffix
}
