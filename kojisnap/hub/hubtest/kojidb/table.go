package kojidb

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
)

// Table has the rows of a relation at one moment. It never changes, so several calls may read it at once. A
// value is nil, bool, int64, float64, string or Time; in a jsonb column it is the parsed JSON.
//
// Rows are identified by number. A changed table shares the store of the table that it was made from, and
// keeps the differences: an updated row keeps its number, a new row gets the next one.
type Table struct {
	Name    string
	Columns []string

	base    store
	changed map[int32][]any // rows of base that differ; nil: deleted
	added   [][]any         // nil: deleted
	column  map[string]int

	mu      sync.Mutex
	overlay map[int]map[any][]int32 // index by column of changed and added
}

// store holds rows that never change.
type store interface {
	size() int32
	get(column int) func(n int32) any
	find(column int, v any) Hits
	// indexed reports whether find can avoid looking at all rows.
	indexed(column int) bool
	// ascending reports whether each value of the column is greater than the one before it.
	ascending(column int) bool
}

// Hits are row numbers, ascending: list, or those from low up to but without high.
type Hits struct {
	List      []int32
	low, High int32
}

func (h Hits) Len() int {
	if h.List != nil {
		return len(h.List)
	}
	return int(h.High - h.low)
}

func (h Hits) At(i int) int32 {
	if h.List != nil {
		return h.List[i]
	}
	return h.low + int32(i)
}

func newTable(name string, columns []string, rows [][]any) *Table {
	return tableOf(name, columns, &rowStore{rows: rows, indexes: map[int]map[any][]int32{}})
}

func tableOf(name string, columns []string, base store) *Table {
	t := &Table{Name: name, Columns: columns, base: base, column: map[string]int{}, overlay: map[int]map[any][]int32{}}
	for i, c := range columns {
		t.column[c] = i
	}
	return t
}

// At returns the position of a column, -1 if the table does not have it.
func (t *Table) At(column string) int {
	if i, ok := t.column[column]; ok {
		return i
	}
	return -1
}

// Size returns the highest row number plus one. Some rows below it may be deleted.
func (t *Table) Size() int32 { return t.base.size() + int32(len(t.added)) }

// Has reports whether row n exists; n is below Size.
func (t *Table) Has(n int32) bool {
	if first := t.base.size(); n >= first {
		return t.added[n-first] != nil
	}
	row, differs := t.changed[n]
	return !differs || row != nil
}

// Get returns a function that reads a column of an existing row.
func (t *Table) Get(column int) func(n int32) any {
	base := t.base.get(column)
	if len(t.changed) == 0 && len(t.added) == 0 {
		return base
	}
	first := t.base.size()
	return func(n int32) any {
		if n >= first {
			return t.added[n-first][column]
		}
		if row := t.changed[n]; row != nil {
			return row[column]
		}
		return base(n)
	}
}

// Row copies a row.
func (t *Table) Row(n int32) []any {
	row := make([]any, len(t.Columns))
	for i := range row {
		row[i] = t.Get(i)(n)
	}
	return row
}

// Where returns the rows whose column is v. As in SQL, NULL equals nothing, and neither does a list.
func (t *Table) Where(column string, v any) Hits {
	i := t.At(column)
	if v == nil || i < 0 || !reflect.TypeOf(v).Comparable() {
		return Hits{}
	}
	found := t.base.find(i, v)
	if len(t.changed) == 0 && len(t.added) == 0 {
		return found
	}
	var list []int32
	for k := range found.Len() {
		if n := found.At(k); t.changed == nil || !t.differs(n) {
			list = append(list, n)
		}
	}
	if more := t.overlaid(i)[v]; len(more) > 0 {
		list = append(list, more...)
		slices.Sort(list)
	}
	return Hits{List: list}
}

func (t *Table) differs(n int32) bool { _, ok := t.changed[n]; return ok }

func (t *Table) overlaid(column int) map[any][]int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	index := t.overlay[column]
	if index == nil {
		index = map[any][]int32{}
		put := func(n int32, row []any) {
			if row != nil && row[column] != nil && reflect.TypeOf(row[column]).Comparable() {
				index[row[column]] = append(index[row[column]], n)
			}
		}
		for n, row := range t.changed {
			put(n, row)
		}
		for k, row := range t.added {
			put(t.base.size()+int32(k), row)
		}
		t.overlay[column] = index
	}
	return index
}

// Ascending reports whether the rows are in the order of the column, with each value once and no NULL.
func (t *Table) Ascending(column int) bool {
	if !t.base.ascending(column) {
		return false
	}
	value := t.Get(column)
	for n := range t.changed { // often the update does not touch this column
		if t.Has(n) && CompareSQL(value(n), t.base.get(column)(n)) != 0 {
			return false
		}
	}
	var last any
	if n := t.base.size(); n > 0 {
		last = t.base.get(column)(n - 1)
	}
	for _, row := range t.added {
		if row == nil {
			continue
		}
		if row[column] == nil || last != nil && CompareSQL(last, row[column]) >= 0 {
			return false
		}
		last = row[column]
	}
	return true
}

// edited returns a copy that may be changed until it is published.
func (t *Table) edited() *Table {
	e := tableOf(t.Name, t.Columns, t.base)
	e.changed, e.added = maps.Clone(t.changed), slices.Clone(t.added)
	return e
}

func (t *Table) put(n int32, row []any) {
	if first := t.base.size(); n >= first {
		t.added[n-first] = row
		return
	}
	if t.changed == nil {
		t.changed = map[int32][]any{}
	}
	t.changed[n] = row
}

// folded returns the table with a store of its own, once the differences to its store of rows are large
// enough that copying pays. It never copies columns.
func (t *Table) folded() *Table {
	base, ok := t.base.(*rowStore)
	if !ok || len(t.changed)+len(t.added) < 64+len(base.rows)/8 {
		return t
	}
	rows := make([][]any, 0, t.Size())
	for n := range t.Size() {
		switch row, differs := t.changed[n]; {
		case n >= base.size():
			row = t.added[n-base.size()]
			fallthrough
		case differs:
			if row != nil {
				rows = append(rows, row)
			}
		default:
			rows = append(rows, base.rows[n])
		}
	}
	return newTable(t.Name, t.Columns, rows)
}

// rowStore stores rows as they are.
type rowStore struct {
	rows [][]any

	mu      sync.Mutex
	indexes map[int]map[any][]int32
	sorted  map[int]bool
}

func (s *rowStore) size() int32 { return int32(len(s.rows)) }

func (s *rowStore) get(column int) func(n int32) any {
	return func(n int32) any { return s.rows[n][column] }
}

func (s *rowStore) indexed(int) bool { return true }

func (s *rowStore) find(column int, v any) Hits {
	s.mu.Lock()
	defer s.mu.Unlock()
	index := s.indexes[column]
	if index == nil {
		index = make(map[any][]int32, len(s.rows))
		for n, row := range s.rows {
			if row[column] != nil && reflect.TypeOf(row[column]).Comparable() {
				index[row[column]] = append(index[row[column]], int32(n))
			}
		}
		s.indexes[column] = index
	}
	return Hits{List: index[v]}
}

func (s *rowStore) ascending(column int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.sorted[column]; ok {
		return known
	}
	sorted := true
	for n := range s.rows {
		if v := s.rows[n][column]; v == nil || n > 0 && CompareSQL(s.rows[n-1][column], v) >= 0 {
			sorted = false
			break
		}
	}
	if s.sorted == nil {
		s.sorted = map[int]bool{}
	}
	s.sorted[column] = sorted
	return sorted
}

// View is a database at one moment.
type View interface {
	// Table returns a table. If the database does not have it (older schemas lack some), the table is empty
	// and has no columns.
	Table(name string) (*Table, error)
	// Close ends the view. Its tables stay valid.
	Close()
}

// Source gives a Server its rows. Its methods may be called concurrently.
type Source interface {
	// View begins a view. Canceling ctx ends it early.
	View(ctx context.Context) (View, error)
}
