package snapfile

import (
	"bytes"
	"slices"
	"sync"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
)

// Secretive returns the columns of a relation that may hold URLs, and so credentials: all texts that are not
// part of the key or unique.
func Secretive(rel *relation.Relation) []int {
	if columns, ok := secretive.Load(rel); ok {
		return columns.([]int)
	}
	var columns []int
	for i, c := range rel.Columns {
		unique := slices.ContainsFunc(rel.Unique, func(set []string) bool { return slices.Contains(set, c.Name) })
		if c.Type == relation.Text && !slices.Contains(rel.Key, c.Name) && !unique {
			columns = append(columns, i)
		}
	}
	secretive.Store(rel, columns)
	return columns
}

// secretive caches the results of Secretive.
var secretive sync.Map

// secretRows removes credentials from rows of a snapshot that has some.
type secretRows struct {
	row  [][]byte
	line []byte
	note func() // called if there was such a row; may be nil
}

// strip removes credentials from the row. It returns false on an error.
func (r *Rows) strip() bool {
	if bytes.IndexByte(r.line, '@') < 0 {
		return true
	}
	columns := Secretive(r.rel)
	row, err := r.Fields(r.secret.row)
	if r.secret.row = row; err != nil {
		r.err = err
		return false
	}
	any := false
	for _, i := range columns {
		var found bool
		row[i], found = secret.Strip(row[i])
		any = any || found
	}
	if !any {
		return true
	}
	r.secret.line = AppendLine(r.secret.line[:0], row)
	r.line = r.secret.line
	r.stripped = true
	if r.secret.note != nil {
		r.secret.note()
	}
	return true
}

// unclean has the relations of a snapshot that had credentials in rows.
type unclean struct {
	mu    sync.Mutex
	names []string
}

func (u *unclean) add(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !slices.Contains(u.names, name) {
		u.names = append(u.names, name)
		slices.Sort(u.names)
	}
}

// Unclean returns the relations whose segments have credentials in URLs, as far as their rows were read.
// Readers of this package get the rows without them, but whoever can read the store can see them.
func (s *Snapshot) Unclean() []string {
	s.unclean.mu.Lock()
	defer s.unclean.mu.Unlock()
	return slices.Clone(s.unclean.names)
}

// noting makes rows report to the snapshot that they had credentials.
func (s *Snapshot) noting(r *Rows, name string) *Rows {
	r.secret.note = func() { s.unclean.add(name) }
	return r
}
