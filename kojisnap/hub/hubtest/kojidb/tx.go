package kojidb

import (
	"fmt"
	"reflect"
	"strings"
)

// Tx is a change that is not complete yet. It sees its own changes.
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

// Find returns a table as the change sees it, nil if there is none. The caller must only read rows.
func (tx *Tx) Find(name string) *Table { return tx.tables[name] }

// Ensure adds a table of Koji's schema, empty, if the database lacks it.
func (tx *Tx) Ensure(name string) {
	if tx.tables[name] == nil {
		tx.tables[name] = newTable(name, FreshTables()[name].columns, nil)
	}
}

// edit returns a table that may be changed. Its indexes are invalid afterwards.
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
		row := t.Row(n)
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
	found, err := t.Matching(where)
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
	found, err := t.Matching(where)
	if err != nil {
		return nil, err
	}
	var out []Values
	for _, n := range found {
		values := Values{}
		for i, v := range t.Row(n) {
			values[t.Columns[i]] = v
		}
		out = append(out, values)
	}
	return out, nil
}

// Matching returns the numbers of the rows that have all of where's values.
func (t *Table) Matching(where Values) ([]int32, error) {
	type test struct {
		get  func(int32) any
		want any
	}
	var tests []test
	candidates := Hits{High: t.Size()}
	for column, v := range where {
		i := t.At(column)
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %q", t.Name, column)
		}
		v, err := t.cast(column, v)
		if err != nil {
			return nil, err
		}
		tests = append(tests, test{t.Get(i), v})
		if v != nil && reflect.TypeOf(v).Comparable() && t.base.indexed(i) {
			if h := t.Where(column, v); h.Len() < candidates.Len() {
				candidates = h
			}
		}
	}
	var found []int32
next:
	for k := range candidates.Len() {
		n := candidates.At(k)
		if !t.Has(n) {
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
		i := t.At(column)
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

// cast converts a Go value to the column's type.
func (t *Table) cast(column string, v any) (any, error) {
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	if s, ok := v.(string); ok {
		if kind := ColumnTypes()[t.Name][column]; strings.HasPrefix(kind, "timestamp") || kind == "jsonb" || kind == "json" {
			return parserOf(kind)(s)
		}
	}
	return v, nil
}
