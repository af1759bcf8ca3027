// Package relation is the catalogue of the Koji relations that a snapshot
// holds: their columns, keys and references, whether Koji versions them, and
// since which Koji release a column exists.
//
// The names are those of Koji's schema (schemas/schema.sql). Relations that
// hold secrets, runtime state or build provenance (sessions, principals, grants,
// tasks, buildroots, …) are not in it, and so cannot reach a snapshot.
package relation

import "fmt"

// Type is a column's PostgreSQL type, as far as a reader must tell types apart.
type Type uint8

// The types that Koji's relations use.
const (
	Int4 Type = iota // integer
	Int8             // bigint
	Bool             // boolean, t or f in COPY text
	Text             // text and varchar; JSON that Koji stores as text too
	Time             // timestamp with time zone, microseconds
	Int2             // smallint
)

// Column is one column of a relation.
type Column struct {
	Name string
	Type Type
	Null bool // may be NULL

	// Ref is the relation whose id the column holds, or empty. A column that refers to a
	// relation outside the catalogue (task, buildroot) says so with External.
	Ref      string
	External bool

	// Path: the text becomes a part of paths below topdir.
	Path bool

	// Since is the Koji release that brought the column, zero for before 1.21.
	// Missing is the COPY text that stands for it where a hub or a database is older,
	// MissingOf, if not nil, another one for rows of those names.
	Since     Release
	Missing   string
	MissingOf map[string]string

	// Format is the format version of snapshots that brought the column; 0 is the first. Rows of
	// earlier snapshots have Missing in its place.
	Format int
}

// Older returns the column as it is to be read for the row of a name that an older hub sent.
func (c Column) Older(name string) Column {
	if text, ok := c.MissingOf[name]; ok {
		c.Missing = text
	}
	return c
}

// Release is a Koji release's minor number: 34 is Koji 1.34.
type Release int

func (r Release) String() string { return fmt.Sprintf("1.%d", int(r)) }

// Relation is one table.
type Relation struct {
	Name    string
	Columns []Column

	// Key names the columns that identify a row, in the order that snapshots sort by.
	// For a versioned relation it is Koji's primary key, which begins with create_event.
	Key []string

	// Unique are the other sets of columns that the schema keeps unique, where NULLs
	// are distinct: with active among them, one active row for each combination.
	Unique [][]string

	// Versioned: rows carry create_event and revoke_event, and are revoked, never edited.
	Versioned bool

	// Format is the format version of snapshots that brought the relation; 0 is the first. Earlier
	// snapshots have no rows of it.
	Format int

	// Optional: only some sources have the relation, and no other relation refers to it. A snapshot of any later
	// version may lack it.
	Optional bool

	// InPlace: Koji itself edits rows of this relation (build states, renames, user status).
	InPlace bool
}

// Named reports whether rows are identified by an id and have a unique name, so that an id
// can be mapped where another database holds the same name.
func (r *Relation) Named() bool {
	return len(r.Unique) == 1 && len(r.Unique[0]) == 1 && r.Unique[0][0] == "name" && r.Columns[0].Name == "id"
}

// Index returns the position of a column, or -1.
func (r *Relation) Index(column string) int {
	for i := range r.Columns {
		if r.Columns[i].Name == column {
			return i
		}
	}
	return -1
}

// ColumnNames returns the names in order.
func (r *Relation) ColumnNames() []string {
	names := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		names[i] = c.Name
	}
	return names
}

// KeyIndexes returns the positions of the key's columns.
func (r *Relation) KeyIndexes() []int {
	ix := make([]int, len(r.Key))
	for i, k := range r.Key {
		ix[i] = r.Index(k)
	}
	return ix
}

// All returns the relations that each snapshot of the current catalogue has, parents first: a relation refers
// only to itself and to those before it. The slice and what it points to must not be changed.
func All() []*Relation { return current.all }

// Optional returns the relations that only some snapshots have. They refer to those of All. The slice and what it
// points to must not be changed.
func Optional() []*Relation { return current.optional }

// Get returns the relation of that name of the current catalogue, or nil.
func Get(name string) *Relation { return current.byName[name] }
