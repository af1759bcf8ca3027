package kojidb

import (
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

func RelationNames() []string {
	var names []string
	for _, r := range relation.All() {
		names = append(names, r.Name)
	}
	return names
}

// HasID reports whether rows of the relation have an id of their own.
func HasID(r *relation.Relation) bool { return r.Columns[0].Name == "id" }

// Keyed reports whether a relation's rows have no id of their own and no event, so that only
// a list of what was placed tells production's rows from staging's.
func Keyed(r *relation.Relation) bool {
	return !r.Versioned && !r.InPlace && r.Columns[0].Name != "id"
}

func SQLType(t relation.Type) string {
	return [...]string{"integer", "bigint", "boolean", "text", "timestamptz"}[t]
}

// BuildOf is the expression for the build that a row hangs on, or "".
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

// Subject names the columns that say what a row of a versioned relation is about: staging decides
// on a subject, and production's later rows of the same one follow that decision.
func Subject(r *relation.Relation) []string {
	switch r.Name {
	case "tag_inheritance":
		return []string{"tag_id", "parent_id"} // the priority is no more than where it stands
	case "tag_external_repos":
		return []string{"tag_id", "external_repo_id"}
	}
	return sqltext.Without(r.Unique[0], "active")
}

// VersionColumns are those that say since when and until when a row of a versioned relation
// holds, and by whom.
var VersionColumns = []string{"create_event", "revoke_event", "creator_id", "revoker_id", "active"}

func VersionedNames() (names []string) {
	for _, r := range relation.All() {
		if r.Versioned {
			names = append(names, r.Name)
		}
	}
	return names
}

// TagColumns are the columns by which a row leads to tags. A tag's config is the tag itself.
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
