package hubtest

import (
	"encoding/hex"
	"math"
	"slices"
	"sync"
)

// columnStore keeps each column as one slice, for tables of millions of rows: a
// row of rpmsigs takes 24 bytes, and none of it is the garbage collector's
// work. Integers and texts are found through indexes that are made when first
// used, in 4 to 8 bytes a row.
type columnStore struct {
	rows int32
	cols []column

	mu      sync.Mutex
	indexes []*codeIndex
}

// column is the values of a column.
type column interface {
	len() int32
	get(n int32) any
}

// grow makes room for n more rows.
func grow(n int, cols ...interface{ grow(n int) }) {
	for _, c := range cols {
		c.grow(n)
	}
}

func (c *intColumn) grow(n int)  { c.vals = slices.Grow(c.vals, n) }
func (c *longColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *timeColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *boolColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }
func (c *textColumn) grow(n int) { c.vals = slices.Grow(c.vals, n) }

func (c *hexColumn) grow(n int) {
	c.bytes = slices.Grow(c.bytes, n*c.width)
	if c.prefix != nil {
		c.prefix.grow(n)
	}
}

// coded is a column whose values are kept as numbers that an index can count.
type coded interface {
	numbers() []int32 // null is NULL
	number(v any) (int32, bool)
}

const null = math.MinInt32

// tableOfColumns makes a table. All columns must have as many rows, but those
// that are the same in every row need not.
func tableOfColumns(name string, names []string, cols []column) *Table {
	s := &columnStore{cols: cols, indexes: make([]*codeIndex, len(cols))}
	for _, c := range cols {
		s.rows = max(s.rows, c.len())
	}
	return tableOf(name, names, s)
}

func (s *columnStore) size() int32 { return s.rows }

func (s *columnStore) get(i int) func(n int32) any { return s.cols[i].get }

func (s *columnStore) indexed(i int) bool { _, ok := s.cols[i].(coded); return ok }

func (s *columnStore) find(i int, v any) hits {
	c, ok := s.cols[i].(coded)
	if !ok {
		return s.scan(i, v)
	}
	n, ok := c.number(v)
	if !ok {
		return hits{}
	}
	return s.index(i, c).find(n)
}

func (s *columnStore) scan(i int, v any) hits {
	if c, ok := s.cols[i].(same); ok {
		if c.v != v {
			return hits{}
		}
		return hits{high: s.rows}
	}
	list := []int32{}
	for n := range s.rows {
		if s.cols[i].get(n) == v {
			list = append(list, n)
		}
	}
	return hits{list: list}
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
	c, ok := s.cols[i].(*intColumn)
	return ok && s.index(i, c).unique
}

// codeIndex finds the rows by a column's number. The rows of number first+k are
// those at start[k] to start[k+1] of order, which is nil if the rows are in the
// order of the column.
type codeIndex struct {
	first  int64
	start  []int32
	order  []int32
	unique bool // and in order, without NULL
}

func newCodeIndex(numbers []int32) *codeIndex {
	x := &codeIndex{first: math.MaxInt64, unique: true}
	last, inOrder := int64(math.MinInt64), true
	for i, n := range numbers {
		x.unique = x.unique && n != null && (i == 0 || n > numbers[i-1])
		inOrder = inOrder && n != null && (i == 0 || n >= numbers[i-1])
		if n != null {
			x.first, last = min(x.first, int64(n)), max(last, int64(n))
		}
	}
	if last < x.first {
		return x
	}
	x.start = make([]int32, last-x.first+2)
	for _, n := range numbers {
		if n != null {
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
		if n != null {
			k := int64(n) - x.first
			x.order[next[k]] = int32(row)
			next[k]++
		}
	}
	return x
}

func (x *codeIndex) find(n int32) hits {
	k := int64(n) - x.first
	if n == null || k < 0 || k >= int64(len(x.start))-1 {
		return hits{}
	}
	low, high := x.start[k], x.start[k+1]
	if x.order == nil || low == high {
		return hits{low: low, high: high}
	}
	return hits{list: x.order[low:high]}
}

// intColumn is integers of 32 bit, as ids and events are. They should lie close
// together: an index takes room for each number between the ends.
type intColumn struct{ vals []int32 }

func (c *intColumn) len() int32       { return int32(len(c.vals)) }
func (c *intColumn) add(n int32)      { c.vals = append(c.vals, n) }
func (c *intColumn) numbers() []int32 { return c.vals }

func (c *intColumn) get(n int32) any {
	if v := c.vals[n]; v != null {
		return int64(v)
	}
	return nil
}

func (c *intColumn) number(v any) (int32, bool) {
	n, ok := v.(int64)
	return int32(n), ok && n > null && n <= math.MaxInt32
}

// longColumn is integers of 64 bit, none of them NULL.
type longColumn struct{ vals []int64 }

func (c *longColumn) len() int32      { return int32(len(c.vals)) }
func (c *longColumn) add(n int64)     { c.vals = append(c.vals, n) }
func (c *longColumn) get(n int32) any { return c.vals[n] }

// timeColumn is times; 0 is NULL.
type timeColumn struct{ vals []Time }

func (c *timeColumn) len() int32 { return int32(len(c.vals)) }
func (c *timeColumn) add(t Time) { c.vals = append(c.vals, t) }

func (c *timeColumn) get(n int32) any {
	if v := c.vals[n]; v != 0 {
		return v
	}
	return nil
}

// boolColumn is true, or else false or NULL as the column has it.
type boolColumn struct {
	vals []bool
	not  any
}

func (c *boolColumn) len() int32 { return int32(len(c.vals)) }
func (c *boolColumn) add(v bool) { c.vals = append(c.vals, v) }

func (c *boolColumn) get(n int32) any {
	if c.vals[n] {
		return true
	}
	return c.not
}

// same is a column that has one value in all rows.
type same struct{ v any }

func (c same) len() int32    { return 0 }
func (c same) get(int32) any { return c.v }

// texts are the different values of text columns.
type texts struct {
	vals  []any
	codes map[string]int32
}

func newTexts() *texts { return &texts{codes: map[string]int32{}} }

// code returns the number of a text, a new one if there is none.
func (t *texts) code(s string) int32 {
	n, ok := t.codes[s]
	if !ok {
		n = int32(len(t.vals))
		t.codes[s] = n
		t.vals = append(t.vals, s)
	}
	return n
}

// textColumn is texts by their numbers.
type textColumn struct {
	*texts
	vals []int32
}

func (c *textColumn) len() int32       { return int32(len(c.vals)) }
func (c *textColumn) add(code int32)   { c.vals = append(c.vals, code) }
func (c *textColumn) numbers() []int32 { return c.vals }

func (c *textColumn) get(n int32) any {
	if v := c.vals[n]; v != null {
		return c.texts.vals[v]
	}
	return nil
}

func (c *textColumn) number(v any) (int32, bool) {
	s, _ := v.(string)
	n, ok := c.codes[s]
	return n, ok
}

// hexColumn is digests in hexadecimal, each between a prefix, if there is one,
// and the suffix of all. A row whose prefix is null is NULL.
type hexColumn struct {
	width  int // of a digest, in bytes
	bytes  []byte
	prefix *textColumn
	suffix string
}

func (c *hexColumn) len() int32     { return int32(len(c.bytes) / c.width) }
func (c *hexColumn) add(sum []byte) { c.bytes = append(c.bytes, sum...) }

func (c *hexColumn) get(n int32) any {
	sum := c.bytes[int(n)*c.width:][:c.width]
	if c.prefix == nil {
		var digits [2 * 32]byte
		return string(digits[:hex.Encode(digits[:], sum)])
	}
	prefix, ok := c.prefix.get(n).(string)
	if !ok {
		return nil
	}
	return prefix + hex.EncodeToString(sum) + c.suffix
}
