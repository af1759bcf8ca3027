package loadtx

import "kojisnap/kojisnap/relation"

// NoteTags ends a statement whose changed rows are u by noting their tags: of the rows that are active
// now. What changes about others no view shows but those of production's events.
func NoteTags(r *relation.Relation) string { return NoteTagsWhere(r, "u.active") }

// NoteTagsWhere is touches of the rows that shown tells.
func NoteTagsWhere(r *relation.Relation, shown string) string {
	switch {
	case r.Name == "tag_package_owners": // Koji itself takes no tag for changed then
	case r.Index("tag_id") >= 0:
		return ", g AS (INSERT INTO ks_touched_tag SELECT tag_id FROM u WHERE " + shown + ") SELECT FROM u" // which counts all of them
	case r.Name == "external_repo_config":
		return ` , g AS (INSERT INTO ks_touched_tag SELECT x.tag_id FROM u JOIN tag_external_repos x USING (external_repo_id) WHERE x.active AND ` + shown + `)
			SELECT FROM u`
	}
	return " SELECT FROM u"
}
