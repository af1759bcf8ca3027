package integration_test

import (
	"slices"

	"kojisnap/kojisnap/relation"
)

// mapping is which ids stand for which, as kojisnap has it on record.
type mapping struct{ to, back map[string]map[string]string } // staging's by production's, and the other way round

func readMapping(s state) mapping {
	m := mapping{map[string]map[string]string{}, map[string]map[string]string{}}
	for _, r := range relation.All() {
		m.to[r.Name], m.back[r.Name] = map[string]string{}, map[string]string{}
	}
	for _, r := range s["kojisnap.idmap"] {
		if rel := r["relation"]; rel != "volume" {
			m.to[rel][r["prod_id"]], m.back[rel][r["staging_id"]] = r["staging_id"], r["prod_id"]
		}
	}
	return m
}

// staging is a row of production's with staging's ids.
func (m mapping) staging(r *relation.Relation, s row) row { return mapped(m.to, r, s) }

// production is a row of staging's with production's ids.
func (m mapping) production(r *relation.Relation, d row) row { return mapped(m.back, r, d) }

func mapped(ids map[string]map[string]string, r *relation.Relation, s row) row {
	out := make(row, len(s))
	for c, v := range s {
		if i := r.Index(c); i >= 0 {
			rel := r.Columns[i].Ref
			if c == "id" {
				rel = r.Name
			}
			if id, ok := ids[rel][v]; ok {
				v = id
			}
		}
		out[c] = v
	}
	return out
}

// subjectOf are the columns that say what a row of a versioned relation is about.
func subjectOf(r *relation.Relation) []string {
	switch r.Name {
	case "tag_inheritance":
		return []string{"tag_id", "parent_id"}
	case "tag_external_repos":
		return []string{"tag_id", "external_repo_id"}
	}
	return without(r.Unique[0], "active")
}

// subject is what a versioned row is about, as a key.
func subject(r *relation.Relation, d row) string {
	s, _ := d.values(subjectOf(r))
	return s
}

// isOwn reports whether staging made a versioned row.
func isOwn(d row) bool { return d.id("create_event") >= floor }

// isHidden reports whether a versioned row of production's was revoked in staging alone.
func isHidden(d row) bool { return !isOwn(d) && d["active"] == "" && d.id("revoke_event") >= floor }

// by is an event and a user: when and who.
type by struct{ event, user string }

func created(d row) by { return by{d["create_event"], d["creator_id"]} }
func revoked(d row) by { return by{d["revoke_event"], d["revoker_id"]} }

func without(columns []string, drop string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == drop })
}
