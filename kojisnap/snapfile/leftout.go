package snapfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// LeftOut is something of production's that the hub could not give as it is. The rest of the snapshot is
// complete. (The stored word is "left out"; the steps that leave something out call it skipped.)
type LeftOut struct {
	Relation string `json:"relation"`
	Row      string `json:"row"` // for people: "build 7", "archive 12"
	Reason   string `json:"reason"`
	// Kept says what the snapshot has of it nevertheless: one of the constants. Empty: nothing, and no row
	// that refers to it.
	Kept string `json:"kept,omitempty"`

	// Column and ID, or Key (the text of the key's columns), say which rows of Relation it is. Without them
	// only the Tag or the Builds of the missing rows are known.
	Column string   `json:"column,omitempty"`
	ID     int64    `json:"id,omitempty"`
	Key    []string `json:"key,omitempty"`
	Tag    int64    `json:"tag,omitempty"`
	Builds []int64  `json:"builds,omitempty"` // the next pull has to ask for these again

	Hanging []Hanging `json:"hanging,omitempty"` // what is left out because it refers to this
}

// What a snapshot may have of something that is left out.
const (
	KeptLast    = "last known"         // the rows that the previous snapshot had
	KeptName    = "under another name" // with a made-up name
	KeptWithout = "without "           // followed by the name of a column, which is NULL
	// KeptStripped: the row is there without the credentials that its URLs had. This is no fault, and
	// remains so.
	KeptStripped = "without the credentials in its URL"
)

// Hanging counts rows that are left out because they refer to something that is.
type Hanging struct {
	Relation string `json:"relation"`
	Rows     int64  `json:"rows"`
	// IDs say whose rows these are: the rows' own ids for build and archiveinfo, the archives' for
	// components of archives, the tags' for versioned relations. Other relations have none.
	IDs []int64 `json:"ids,omitempty"`
}

// Missing reports whether the snapshot lacks rows because of it.
func (l LeftOut) Missing() bool { return l.Kept == "" }

// Stripped reports whether the row lacks only credentials.
func (l LeftOut) Stripped() bool { return l.Kept == KeptStripped }

// Missing reports whether the snapshot lacks rows that the hub could not give.
func (m *Manifest) Missing() bool { return slices.ContainsFunc(m.LeftOut, LeftOut.Missing) }

// String returns one line for people: what, the consequence, the reason.
func (l LeftOut) String() string {
	what := l.Row
	if name := Noun(l.Relation); !strings.HasPrefix(what, name+" ") {
		what = name + " of " + what
	}
	switch {
	case l.Kept == KeptLast:
		what += " stays as it was last known"
	case l.Kept != "":
		what += " is there, but " + l.Kept
	default:
		what += " is left out"
		if dependents := l.dependents(); dependents != "" {
			what += ", and what refers to it (" + dependents + ")"
		}
	}
	return what + ": " + l.Reason
}

func (l LeftOut) dependents() string {
	var parts []string
	for _, h := range l.Hanging {
		parts = append(parts, fmt.Sprintf("%d of %s", h.Rows, h.Relation))
	}
	return strings.Join(parts, ", ")
}

// Noun returns the word for one row of a relation.
func Noun(relation string) string {
	switch relation {
	case "rpminfo":
		return "rpm"
	case "archiveinfo":
		return "archive"
	case "rpmsigs":
		return "signature"
	case "archivetypes":
		return "type of archive"
	case "btype":
		return "type of build"
	case "users", "groups", "channels", "permissions", "events":
		return strings.TrimSuffix(relation, "s")
	}
	return strings.ReplaceAll(relation, "_", " ")
}

// sameLeftOut compares everything except the reasons, which may name a place in a reply.
func sameLeftOut(a, b []LeftOut) bool {
	return slices.EqualFunc(a, b, func(a, b LeftOut) bool {
		return a.Relation == b.Relation && a.Row == b.Row && a.Kept == b.Kept && slices.EqualFunc(a.Hanging, b.Hanging, func(g, h Hanging) bool {
			return g.Relation == h.Relation && g.Rows == h.Rows && slices.Equal(g.IDs, h.IDs)
		})
	})
}

// SameRows reports whether two manifests describe the same view of the same event for the same request. Their
// history may differ.
func (m *Manifest) SameRows(o *Manifest) bool {
	same := m.Event == o.Event && m.KojiVersion == o.KojiVersion && m.Scope.same(o.Scope) && sameLeftOut(m.LeftOut, o.LeftOut)
	return same && slices.EqualFunc(m.Relations, o.Relations, func(a, b Relation) bool {
		return a.Name == b.Name && slices.EqualFunc(a.Segments, b.Segments, func(s, t Segment) bool { return s.SHA256 == t.SHA256 && s.Layer == t.Layer })
	})
}

// CompareLeftOut orders entries by relation and row.
func CompareLeftOut(a, b LeftOut) int {
	return cmp.Or(cmp.Compare(a.Relation, b.Relation), cmp.Compare(a.Row, b.Row), cmp.Compare(a.ID, b.ID), slices.Compare(a.Key, b.Key))
}
