package kojidb

import (
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// RelationNames returns the names of the catalogue's relations, in its order.
func RelationNames() []string {
	var names []string
	for _, r := range relation.All() {
		names = append(names, r.Name)
	}
	return names
}

// HasID reports whether rows of a relation have an id of their own.
func HasID(r *relation.Relation) bool { return r.Columns[0].Name == "id" }

// Keyed reports whether rows of a relation have neither an id of their own nor an event. Only a list of the
// rows that loads wrote (book.PlacedKeys) tells production's rows from staging's. Of an optional relation there is no
// such list: its rows are nobody's own.
func Keyed(r *relation.Relation) bool {
	return !r.Optional && !r.Versioned && !r.InPlace && r.Columns[0].Name != "id"
}

// SQLType is the type of a column in PostgreSQL.
func SQLType(t relation.Type) string {
	return [...]string{"integer", "bigint", "boolean", "text", "timestamptz", "smallint"}[t]
}

// BuildOf is the expression for the build that a row belongs to; empty if there is none.
func BuildOf(r *relation.Relation, alias string) string {
	first := r.Columns[0]
	switch {
	case r.Name == "build":
		return alias + ".id"
	case r.Versioned:
		return ""
	case r.Index("build_id") >= 0:
		return alias + ".build_id"
	case first.Ref == "rpminfo" || first.Ref == "archiveinfo":
		return sqltext.Expand("(SELECT o.build_id FROM {p} o WHERE o.id = {a}.{c})", "p", first.Ref, "a", alias, "c", sqltext.QuoteIdent(first.Name))
	}
	return ""
}

// Subject returns the columns that say what a row of a versioned relation is about. Staging decides on a
// subject, and that decision also holds for later rows of production's about it.
func Subject(r *relation.Relation) []string {
	switch r.Name {
	case "tag_inheritance":
		return []string{"tag_id", "parent_id"} // the priority only says in which place
	case "tag_external_repos":
		return []string{"tag_id", "external_repo_id"}
	}
	return sqltext.Without(r.Unique[0], "active")
}

// VersionColumns are the columns that say since when and until when a row of a versioned relation holds, and
// by whom.
var VersionColumns = []string{"create_event", "revoke_event", "creator_id", "revoker_id", "active"}

// VersionedNames returns the names of the versioned relations.
func VersionedNames() (names []string) {
	for _, r := range relation.All() {
		if r.Versioned {
			names = append(names, r.Name)
		}
	}
	return names
}

// TagColumns returns the columns by which a row leads to tags. A tag's config does not count: it is the tag
// itself.
func TagColumns(r *relation.Relation) (out []string) {
	for _, c := range r.Columns {
		if c.Ref == "tag" && r.Name != "tag_config" {
			out = append(out, c.Name)
		}
	}
	return out
}

// NVR names a build.
type NVR struct{ Name, Version, Release string }
