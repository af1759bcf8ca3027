package relation

import (
	"bytes"
	"fmt"
	"slices"
)

// Climbs tells whether a text that becomes a part of a path would lead out of the directory that it is
// to be a name in: no production means anything good by it, so that neither pull nor load takes a row
// with one. Whatever else a path cannot have is data: copy leaves such a file out.
func Climbs(text []byte) bool {
	return bytes.HasPrefix(text, slash) || bytes.Contains(text, up) && slices.ContainsFunc(bytes.Split(text, slash), func(part []byte) bool { return bytes.Equal(part, up) })
}

var slash, up = []byte("/"), []byte("..")

// ClimbsSQL is Climbs as a condition of PostgreSQL's on an expression.
func ClimbsSQL(text string) string {
	return fmt.Sprintf(`(%[1]s LIKE '/%%' OR %[1]s LIKE '%%..%%' AND %[1]s ~ '(^|/)[.][.](/|$)')`, text)
}

// ClimbsReason says of a text that climbs what is wrong, for people.
const ClimbsReason = "would lead out of its directory"

// Climbing returns the index of the first column of a row whose text climbs, and whether there is one.
func (r *Relation) Climbing(row [][]byte) (column int, climbs bool) {
	for i := range r.Columns {
		if r.Columns[i].Path && Climbs(row[i]) {
			return i, true
		}
	}
	return 0, false
}
