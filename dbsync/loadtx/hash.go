package loadtx

import (
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Hashed are the columns whose hash kojisnap.placed keeps: those that staging could edit. A build's volume is
// compared apart, see kojisnap.placed_volume.
func (l *Load) Hashed(r *relation.Relation) []string {
	var out []string
	for _, c := range l.Schema.Columns(r)[1:] {
		if c.Name != "volume_id" {
			out = append(out, c.Name)
		}
	}
	return out
}

// HashOf is the hash that kojisnap.placed keeps of a row's columns. It depends on the DateStyle, which dbconn
// sets in each transaction. It does not depend on whether columns of times have a time zone, which they have
// since Koji 1.22.
func HashOf(alias string, cols []string) string {
	exprs := make([]string, len(cols))
	build := relation.Get("build") // of the relations that have hashes only this one has times
	for i, name := range cols {
		exprs[i] = alias + "." + sqltext.QuoteIdent(name)
		if at := build.Index(name); at >= 0 && build.Columns[at].Type == relation.Time {
			exprs[i] += "::timestamptz AT TIME ZONE 'UTC'"
		}
	}
	return "md5(ROW(" + sqltext.Join(exprs) + ")::text)::uuid"
}
