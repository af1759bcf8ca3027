package snapfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// LeftOut is something of production's that the hub could not give, or not as it is there. All
// else of the snapshot is whole.
type LeftOut struct {
	Relation string `json:"relation"`
	Row      string `json:"row"` // for people: "build 7", "archive 12"
	Reason   string `json:"reason"`
	// Kept says what the snapshot has of it all the same, one of the constants; empty: nothing,
	// nor any row that refers to it.
	Kept string `json:"kept,omitempty"`

	// Which rows of Relation it is: those with ID in Column, or the one with this Key (text of the
	// key's columns). Without either it is not known which, only where: in a Tag, or in Builds.
	Column string   `json:"column,omitempty"`
	ID     int64    `json:"id,omitempty"`
	Key    []string `json:"key,omitempty"`
	Tag    int64    `json:"tag,omitempty"`
	Builds []int64  `json:"builds,omitempty"` // that are to be asked for again by the next pull

	Hanging []Hanging `json:"hanging,omitempty"` // what refers to it, and is left out for that
}

// What a snapshot may have of what is left out.
const (
	KeptLast    = "last known"         // the rows that the snapshot before had
	KeptName    = "under another name" // with a name that is made up
	KeptWithout = "without "           // and the name of a column, which is NULL
	// KeptStripped: the row is there, but for the credentials that its URLs had. That is not for
	// want of anything, and stays so.
	KeptStripped = "without the credentials in its URL"
)

// Hanging are rows that are left out because of what they refer to.
type Hanging struct {
	Relation string `json:"relation"`
	Rows     int64  `json:"rows"`
	// IDs tell whose rows they are: of build and archiveinfo their own ids, of what archives consist
	// of the archives', of versioned relations the tags'. Of others there are none.
	IDs []int64 `json:"ids,omitempty"`
}

// Missing reports whether rows are missing from the snapshot for it.
func (l LeftOut) Missing() bool { return l.Kept == "" }

// Stripped reports whether it is nothing but credentials that the row is without.
func (l LeftOut) Stripped() bool { return l.Kept == KeptStripped }

// Missing reports whether rows are missing from the snapshot that the hub could not give.
func (m *Manifest) Missing() bool { return slices.ContainsFunc(m.LeftOut, LeftOut.Missing) }

// String is one line for people: what, what became of it, why.
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

// Noun is what one row of a relation is called.
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

// sameLeftOut compares but for the reasons, which may tell where in a reply they were met.
func sameLeftOut(a, b []LeftOut) bool {
	return slices.EqualFunc(a, b, func(a, b LeftOut) bool {
		return a.Relation == b.Relation && a.Row == b.Row && a.Kept == b.Kept && slices.EqualFunc(a.Hanging, b.Hanging, func(g, h Hanging) bool {
			return g.Relation == h.Relation && g.Rows == h.Rows && slices.Equal(g.IDs, h.IDs)
		})
	})
}

// SameRows reports whether two manifests describe the same view of the same event, for what was asked
// for. What they tell of history may differ.
func (m *Manifest) SameRows(o *Manifest) bool {
	same := m.Event == o.Event && m.KojiVersion == o.KojiVersion && m.Scope.same(o.Scope) && sameLeftOut(m.LeftOut, o.LeftOut)
	return same && slices.EqualFunc(m.Relations, o.Relations, func(a, b Relation) bool {
		return slices.EqualFunc(a.Segments, b.Segments, func(s, t Segment) bool { return s.SHA256 == t.SHA256 && s.Layer == t.Layer })
	})
}

// CompareLeftOut orders by relation and row.
func CompareLeftOut(a, b LeftOut) int {
	return cmp.Or(cmp.Compare(a.Relation, b.Relation), cmp.Compare(a.Row, b.Row), cmp.Compare(a.ID, b.ID), slices.Compare(a.Key, b.Key))
}
