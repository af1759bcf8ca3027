package kojidb

import (
	"strings"

	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// NVRText is the expression for the name of a build, for people.
func NVRText(alias string) string {
	return sqltext.Expand("(SELECT p.name FROM package p WHERE p.id = {a}.pkg_id) || '-' || {a}.version || '-' || {a}.release", "a", alias)
}

// RefText is the expression for what columns of a row refer to, for people: "bash-5.2-1, tag f42".
func RefText(r *relation.Relation, alias string, cols []string) string {
	var parts []string
	for _, c := range cols {
		value, ref := alias+"."+sqltext.QuoteIdent(c), relation.Get(r.Columns[r.Index(c)].Ref)
		name := value + "::text"
		switch {
		case ref == nil:
			name = sqltext.QuoteLiteral(c+" ") + " || " + name
		case ref.Named():
			name = sqltext.QuoteLiteral(ref.Name+" ") + " || " + sqltext.Expand("coalesce((SELECT n.name FROM {ref} n WHERE n.id = {v}), {v}::text)", "ref", sqltext.QuoteIdent(ref.Name), "v", value)
		case ref.Name == "build":
			name = sqltext.Expand("coalesce((SELECT "+NVRText("n")+" FROM build n WHERE n.id = {v}), 'build ' || {v})", "v", value)
		default:
			name = sqltext.QuoteLiteral(ref.Name+" ") + " || " + name
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, " || ', ' || ")
}

// RPMText is the expression for the name of an rpm, for people.
func RPMText(alias string) string {
	return sqltext.Expand("{a}.name || '-' || {a}.version || '-' || {a}.release || '.' || {a}.arch", "a", alias)
}
