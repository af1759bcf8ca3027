package loadtx

import "kojisnap/kojisnap/relation"

// NoteTags is the end of a WITH statement whose changed rows are u. It notes the tags of those that are active
// now, in ks_touched_tag: others are only in views of past events. The statement's count stays that of u.
func NoteTags(r *relation.Relation) string { return NoteTagsWhere(r, "u.active") }

// NoteTagsWhere does the same for the rows that meet a condition.
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
