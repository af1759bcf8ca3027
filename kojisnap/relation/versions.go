package relation

import "slices"

// Catalogue is a set of relations, each with the format version of snapshots that brought it or its
// columns. It does not change and may be used concurrently.
type Catalogue struct {
	all      []*Relation
	optional []*Relation
	byName   map[string]*Relation
	newest   int
	was      [][]*Relation // by version less one; shared with all where nothing is missing
}

// NewCatalogue makes a catalogue of relations, parents first. It panics where no version could be told
// from others: a later version cannot bring a key's column, nor a column of an optional relation.
func NewCatalogue(relations ...*Relation) *Catalogue {
	c := &Catalogue{byName: make(map[string]*Relation, len(relations)), newest: 1}
	for _, r := range relations {
		c.byName[r.Name] = r
		if r.Optional {
			if slices.ContainsFunc(r.Columns, func(c Column) bool { return c.Format > r.Format }) {
				panic("relation: the optional relation " + r.Name + " has a column that is newer than itself")
			}
			c.optional = append(c.optional, r)
			continue
		}
		c.all = append(c.all, r)
		c.newest = max(c.newest, r.Format)
		for i := range r.Columns {
			column := &r.Columns[i]
			if column.Format > r.Format && slices.Contains(r.Key, column.Name) {
				panic("relation: column " + r.Name + "." + column.Name + " of the key is newer than the relation")
			}
			column.Format = max(column.Format, r.Format)
			c.newest = max(c.newest, column.Format)
		}
	}
	for version := 1; version < c.newest; version++ {
		c.was = append(c.was, c.before(version))
	}
	return c
}

// before is what an earlier version had.
func (c *Catalogue) before(version int) (was []*Relation) {
	for _, r := range c.all {
		if r.Format > version {
			continue
		}
		if slices.ContainsFunc(r.Columns, func(c Column) bool { return c.Format > version }) {
			older := *r
			older.Columns = slices.DeleteFunc(slices.Clone(r.Columns), func(c Column) bool { return c.Format > version })
			r = &older
		}
		was = append(was, r)
	}
	return was
}

// All returns the relations that are not optional, parents first. The slice and what it points to must not be changed.
func (c *Catalogue) All() []*Relation { return c.all }

// Optional returns the relations that a snapshot may lack. The slice and what it points to must not be changed.
func (c *Catalogue) Optional() []*Relation { return c.optional }

// Get returns the relation of that name, or nil.
func (c *Catalogue) Get(name string) *Relation { return c.byName[name] }

// Newest is the lowest format version that has all columns and all relations that are not optional.
func (c *Catalogue) Newest() int { return c.newest }

// At returns the relations that all snapshots of a format version have, with the columns that these have
// there. A relation that has not changed since is the same pointer as in All.
func (c *Catalogue) At(version int) []*Relation {
	if version >= 1 && version < c.newest {
		return c.was[version-1]
	}
	return c.all
}

// Widen makes a row of this relation, today's, of one that an earlier version wrote: was is that
// version's relation. A column that it lacks has the value that Column.Missing says. It appends to dst.
func (r *Relation) Widen(was *Relation, row, dst [][]byte) [][]byte {
	var name string
	if i := was.Index("name"); i >= 0 {
		name = string(row[i])
	}
	at := 0
	for _, c := range r.Columns {
		if at < len(was.Columns) && was.Columns[at].Name == c.Name {
			dst = append(dst, row[at])
			at++
			continue
		}
		if text := c.Older(name).Missing; text == `\N` || text == "" && c.Null {
			dst = append(dst, nil)
		} else {
			dst = append(dst, []byte(text))
		}
	}
	return dst
}

var current = NewCatalogue(all...)

// Current returns the catalogue of this program.
func Current() *Catalogue { return current }
