package hubtest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"strings"
	"sync"
)

// Memory is a database in memory. Its methods may be called concurrently; a
// call that is being answered keeps the rows that it began with.
type Memory struct {
	mu     sync.Mutex
	tables map[string]*Table
}

// Rows reads every TABLE.tsv at the root of files: PostgreSQL's COPY text with
// a header line.
func Rows(files fs.FS) (*Memory, error) {
	names, err := fs.Glob(files, "*.tsv")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no TABLE.tsv found: %w", fs.ErrNotExist)
	}
	m := &Memory{tables: map[string]*Table{}}
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return nil, err
		}
		table := strings.TrimSuffix(name, ".tsv")
		m.tables[table], err = readCopy(table, f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// View implements Source.
func (m *Memory) View(context.Context) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memoryView(m.tables), nil
}

type memoryView map[string]*Table

func (v memoryView) Table(name string) (*Table, error) {
	if t := v[name]; t != nil {
		return t, nil
	}
	return newTable(name, nil, nil), nil
}

func (memoryView) Close() {}

// Values is a row, or part of one, by column. Integers may be int or int64,
// times are strings as PostgreSQL prints them or Time.
type Values map[string]any

// Insert adds rows; columns that a row does not name are NULL.
func (m *Memory) Insert(table string, rows ...Values) error {
	return m.Change(func(tx *Tx) error { return tx.Insert(table, rows...) })
}

// Update sets values in the rows that match, and says how many. A matching row
// has all of where's values; nil matches NULL.
func (m *Memory) Update(table string, where, set Values) (n int, err error) {
	err = m.Change(func(tx *Tx) error { n, err = tx.Update(table, where, set); return err })
	return n, err
}

// Delete removes the rows that match, and says how many.
func (m *Memory) Delete(table string, where Values) (n int, err error) {
	err = m.Change(func(tx *Tx) error { n, err = tx.Delete(table, where); return err })
	return n, err
}

// Select returns the rows that match, as copies.
func (m *Memory) Select(table string, where Values) ([]Values, error) {
	m.mu.Lock()
	tx := &Tx{tables: m.tables}
	m.mu.Unlock()
	return tx.Select(table, where)
}

// Change makes several changes at once: a call sees all of them or none. If f
// returns an error there is no change. Calls that are being answered still see
// what was before. f must not call methods of m.
func (m *Memory) Change(f func(*Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &Tx{tables: maps.Clone(m.tables), edited: map[string]bool{}}
	if err := f(tx); err != nil {
		return err
	}
	for name := range tx.edited {
		tx.tables[name] = tx.tables[name].folded()
	}
	m.tables = tx.tables
	return nil
}

// Tx is a change in the making. It sees itself.
type Tx struct {
	tables map[string]*Table
	edited map[string]bool
}

func (tx *Tx) table(name string) (*Table, error) {
	if t := tx.tables[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("no table %q", name)
}

// edit returns a table that may be changed; its indexes are stale after that.
func (tx *Tx) edit(name string) (*Table, error) {
	t, err := tx.table(name)
	if err != nil {
		return nil, err
	}
	if !tx.edited[name] {
		t = t.edited()
		tx.tables[name], tx.edited[name] = t, true
	}
	clear(t.overlay)
	return t, nil
}

// Insert is Memory.Insert.
func (tx *Tx) Insert(table string, rows ...Values) error {
	t, err := tx.edit(table)
	if err != nil {
		return err
	}
	for _, values := range rows {
		row := make([]any, len(t.Columns))
		if err := t.set(row, values); err != nil {
			return err
		}
		t.added = append(t.added, row)
	}
	return nil
}

// Update is Memory.Update.
func (tx *Tx) Update(table string, where, set Values) (int, error) {
	return tx.each(table, where, func(t *Table, n int32) error {
		row := t.row(n)
		if err := t.set(row, set); err != nil {
			return err
		}
		t.put(n, row)
		return nil
	})
}

// Delete is Memory.Delete.
func (tx *Tx) Delete(table string, where Values) (int, error) {
	return tx.each(table, where, func(t *Table, n int32) error { t.put(n, nil); return nil })
}

func (tx *Tx) each(table string, where Values, f func(*Table, int32) error) (int, error) {
	t, err := tx.table(table)
	if err != nil {
		return 0, err
	}
	found, err := t.matching(where)
	if err != nil {
		return 0, err
	}
	if t, err = tx.edit(table); err != nil {
		return 0, err
	}
	for _, n := range found {
		if err := f(t, n); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// Select is Memory.Select.
func (tx *Tx) Select(table string, where Values) ([]Values, error) {
	t, err := tx.table(table)
	if err != nil {
		return nil, err
	}
	found, err := t.matching(where)
	if err != nil {
		return nil, err
	}
	var out []Values
	for _, n := range found {
		values := Values{}
		for i, v := range t.row(n) {
			values[t.Columns[i]] = v
		}
		out = append(out, values)
	}
	return out, nil
}

// matching returns the numbers of the rows that have all of where's values.
func (t *Table) matching(where Values) ([]int32, error) {
	type test struct {
		get  func(int32) any
		want any
	}
	var tests []test
	candidates := hits{high: t.size()}
	for column, v := range where {
		i := t.at(column)
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %q", t.Name, column)
		}
		v, err := t.cast(column, v)
		if err != nil {
			return nil, err
		}
		tests = append(tests, test{t.get(i), v})
		if v != nil && reflect.TypeOf(v).Comparable() && t.base.indexed(i) {
			if h := t.where(column, v); h.len() < candidates.len() {
				candidates = h
			}
		}
	}
	var found []int32
next:
	for k := range candidates.len() {
		n := candidates.at(k)
		if !t.has(n) {
			continue
		}
		for _, test := range tests {
			if test.get(n) != test.want {
				continue next
			}
		}
		found = append(found, n)
	}
	return found, nil
}

func (t *Table) set(row []any, values Values) error {
	for column, v := range values {
		i := t.at(column)
		if i < 0 {
			return fmt.Errorf("table %s has no column %q", t.Name, column)
		}
		v, err := t.cast(column, v)
		if err != nil {
			return err
		}
		row[i] = v
	}
	return nil
}

// cast makes a Go value one of the column's type.
func (t *Table) cast(column string, v any) (any, error) {
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	if s, ok := v.(string); ok {
		if kind := columnTypes()[t.Name][column]; strings.HasPrefix(kind, "timestamp") || kind == "jsonb" || kind == "json" {
			return parserOf(kind)(s)
		}
	}
	return v, nil
}

// WriteCopy writes a table as Rows reads it: PostgreSQL's COPY text with a
// header line.
func (m *Memory) WriteCopy(w io.Writer, table string) error {
	m.mu.Lock()
	t := m.tables[table]
	m.mu.Unlock()
	if t == nil {
		return fmt.Errorf("no table %q", table)
	}
	return t.writeCopy(w)
}
