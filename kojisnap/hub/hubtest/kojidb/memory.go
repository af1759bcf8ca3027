package kojidb

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// Memory is a database in memory. Its methods may be called concurrently. A call keeps the rows that it began
// with.
type Memory struct {
	mu     sync.Mutex
	tables map[string]*Table
}

// Rows reads every TABLE.tsv at the root of files: PostgreSQL's COPY text with
// a header line.
func Rows(files fs.FS) (*Memory, error) {
	read := readTables
	if files == kojiprod.Rows() {
		read = func(fs.FS) (map[string]*Table, error) { return recorded() }
	}
	tables, err := read(files)
	if err != nil {
		return nil, err
	}
	return NewMemory(maps.Clone(tables)), nil
}

// recorded are the tables of package kojiprod. Most tests begin with them; tables never change, so they are read once.
var recorded = sync.OnceValues(func() (map[string]*Table, error) { return readTables(kojiprod.Rows()) })

func readTables(files fs.FS) (map[string]*Table, error) {
	names, err := fs.Glob(files, "*.tsv")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no TABLE.tsv found: %w", fs.ErrNotExist)
	}
	tables := map[string]*Table{}
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return nil, err
		}
		table := strings.TrimSuffix(name, ".tsv")
		tables[table], err = readCopy(table, f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// NewMemory makes a database of these tables, by name. It owns them from then on.
func NewMemory(tables map[string]*Table) *Memory { return &Memory{tables: tables} }

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

// Update sets values in the rows that match, and returns how many. A row matches if it has all of where's
// values; nil matches NULL.
func (m *Memory) Update(table string, where, set Values) (n int, err error) {
	err = m.Change(func(tx *Tx) error { n, err = tx.Update(table, where, set); return err })
	return n, err
}

// Delete removes the rows that match, and returns how many.
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

// Change makes several changes in one step: a call sees all of them or none. If f returns an error, nothing
// changes. Calls that have begun before still see the old rows. f must not call methods of m.
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
