package loadtx

import (
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
)

// Counts collects the numbers of a report by relation.
type Counts map[string]*book.RelationReport

// Of returns the numbers of a relation, to be added to.
func (c Counts) Of(name string) *book.RelationReport {
	if c[name] == nil {
		c[name] = &book.RelationReport{Relation: name}
	}
	return c[name]
}

// Sorted returns the numbers that are not all zero, in the catalogue's order, with other tables at the end.
func (c Counts) Sorted() []book.RelationReport {
	out := []book.RelationReport{}
	for _, name := range append(append(kojidb.RelationNames(), "rpm_checksum"), overlayTables...) {
		if x := c[name]; x != nil && *x != (book.RelationReport{Relation: name}) {
			out = append(out, *x)
		}
	}
	return out
}

// overlayTables are the tables outside the catalogue that an overlay writes.
var overlayTables = []string{"user_krb_principals", "user_perms", "cg_users", "user_groups", "host", "host_config", "host_channels"}
