package snapfile

import (
	"bytes"
	"slices"
	"sync"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/secret"
)

// Secretive are the columns of a relation that may hold URLs, and so credentials: its texts, but for
// those that rows are told apart by.
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

// secretive is what Secretive has found.
var secretive sync.Map

// secretRows takes credentials out of rows that a snapshot has them in.
type secretRows struct {
	row  [][]byte
	line []byte
	note func() // that there was such a row; nil: nobody asks
}

// strip takes the credentials out of the row, if it has some. It returns false on an error.
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

// unclean are the relations of a snapshot in which credentials were met.
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

// Unclean returns the relations whose segments have credentials in URLs, as far as their rows were
// read: they were given without. Who may read the store can read them.
func (s *Snapshot) Unclean() []string {
	s.unclean.mu.Lock()
	defer s.unclean.mu.Unlock()
	return slices.Clone(s.unclean.names)
}

// noting has rows note in the snapshot that they had credentials.
func (s *Snapshot) noting(r *Rows, name string) *Rows {
	r.secret.note = func() { s.unclean.add(name) }
	return r
}
