package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// skipped collects notes about what the source cannot give as it is. Its methods may be called concurrently.
type skipped struct {
	mu   sync.Mutex
	rows []snapfile.LeftOut
	at   map[string]int // by Identity
}

// add adds a note, unless it is there.
func (s *skipped) add(x snapfile.LeftOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := Identity(&x)
	if at, known := s.at[key]; known {
		if s.rows[at].Stripped() { // any other reason is worse
			s.rows[at] = x
		}
		return
	}
	if s.at == nil {
		s.at = map[string]int{}
	}
	s.at[key] = len(s.rows)
	s.rows = append(s.rows, x)
}

// each lets fn change the notes.
func (s *skipped) each(fn func(x *snapfile.LeftOut)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rows {
		fn(&s.rows[i])
	}
}

// Identity identifies a note.
func Identity(x *snapfile.LeftOut) string {
	return fmt.Sprintf("%s\x00%s\x00%d\x00%q", x.Relation, x.Row, x.ID, x.Key)
}

// Skip adds a note about something that the source cannot give as it is. If it has an ID in the column "id",
// CloseReferences skips what refers to that row, unless the note says what is kept of it.
func (b *Builder) Skip(x snapfile.LeftOut) { b.skipped.add(x) }

// Skipped returns the notes, in an order that does not depend on when they were added.
func (b *Builder) Skipped() []snapfile.LeftOut {
	b.skipped.mu.Lock()
	defer b.skipped.mu.Unlock()
	rows := slices.Clone(b.skipped.rows)
	slices.SortFunc(rows, snapfile.CompareLeftOut)
	return rows
}

// Lack is a column that a row has no value for, and the reason.
type Lack struct {
	Column string
	Why    error
}

// Spare reports whether a row is useful without a column: no compose depends on the column, or so many rows
// refer to the row's name that a made-up one does less harm than none.
func Spare(rel *relation.Relation, column string) bool {
	switch rel.Name + "." + column {
	case "build.extra", "build.source", "rpminfo.extra", "archiveinfo.extra", "permissions.description":
		return true
	}
	return column == "name" && MakesUpName(rel)
}

// MakesUpName reports whether a row of a relation gets a made-up name if the source cannot give its name.
// Names of other relations are parts of paths, or what composes ask for.
func MakesUpName(rel *relation.Relation) bool {
	switch rel.Name {
	case "users", "permissions", "content_generator", "external_repo", "archivetypes", "btype":
		return true
	}
	return false
}

// madeUp returns a name for a row whose own name the source cannot give.
func madeUp(relationName string, id []byte) []byte {
	return fmt.Appendf(nil, "unreadable-%s-%s", relationName, id)
}

// Without returns the notes for a row without some columns. If one of them is the name, it makes up a name in
// the row. The caller passes the notes to Skip, and adds the row.
func Without(rel *relation.Relation, row [][]byte, lacks []Lack) []snapfile.LeftOut {
	var notes []snapfile.LeftOut
	for _, l := range lacks {
		x := DescribeSkipped(rel, row, fmt.Errorf("%s.%s: %w", rel.Name, l.Column, l.Why))
		x.Kept = snapfile.KeptWithout + l.Column
		if l.Column == "name" {
			row[rel.Index("name")] = madeUp(rel.Name, row[0])
			x.Kept = snapfile.KeptName
		}
		notes = append(notes, x)
	}
	return notes
}

// DescribeSkipped returns the note for a skipped row. The row has the columns that the source gave.
func DescribeSkipped(rel *relation.Relation, row [][]byte, why error) snapfile.LeftOut {
	x := snapfile.LeftOut{Relation: rel.Name, Reason: why.Error()}
	number := func(column string) (int64, bool) {
		at := rel.Index(column)
		if at < 0 || row[at] == nil {
			return 0, false
		}
		id, err := idset.Parse(row[at])
		return id, err == nil
	}
	var key []string
	for _, i := range rel.KeyIndexes() {
		if row[i] != nil {
			key = append(key, string(row[i]))
		}
	}
	if len(key) == len(rel.Key) {
		x.Key = key
	}
	first := rel.Columns[0].Name
	id, known := number(first)
	switch {
	case rel.Versioned:
		x.Row = describeKey(rel, row)
		x.Tag, _ = number("tag_id")
	case known && (first == "id" || first == "archive_id" && len(rel.Key) == 1):
		x.Column, x.ID = first, id
		x.Row = RowName(rel.Name, first, id)
	case known:
		x.Row = RowName(rel.Name, first, id)
	default:
		x.Row = "a row"
	}
	build, ofBuild := number("build_id")
	if rel.Name == "build" {
		build, ofBuild = id, known
	}
	if ofBuild && !rel.Versioned {
		x.Builds = []int64{build}
	}
	switch {
	case rel.Name == "archiveinfo" && ofBuild:
		x.Reason = fmt.Sprintf("archive %d (%q): %s", id, row[rel.Index("filename")], x.Reason)
		x.Row = RowName(rel.Name, "build_id", build)
	case rel.Name == "rpminfo":
		x.Row += fmt.Sprintf(" (%.100q)", fmt.Sprintf("%s-%s-%s.%s", row[rel.Index("name")], row[rel.Index("version")], row[rel.Index("release")], row[rel.Index("arch")]))
	case ofBuild && rel.Index("build_id") > 0:
		x.Row += " of " + RowName("", "build_id", build)
	}
	return x
}

// RowName names a row by the value of a column.
func RowName(relationName, column string, id int64) string {
	noun := strings.TrimSuffix(column, "_id")
	if column == "id" {
		noun = snapfile.Noun(relationName)
	}
	return fmt.Sprint(noun, " ", id)
}

// describeKey names a versioned row by its key.
func describeKey(rel *relation.Relation, row [][]byte) string {
	var parts []string
	for _, i := range rel.KeyIndexes() {
		if row[i] != nil {
			parts = append(parts, fmt.Sprintf("%s=%.100s", rel.Columns[i].Name, row[i]))
		}
	}
	return strings.Join(parts, " ")
}

// checkShare returns an error if so many rows are missing that the cause cannot lie with single rows: the
// source is wrong, or kojisnap does not understand it. The snapshot would be worse than the one before.
func (b *Builder) checkShare() error {
	first, roots := map[string]snapfile.LeftOut{}, map[string]int64{}
	for _, x := range b.Skipped() {
		if !x.Missing() && x.Kept != snapfile.KeptLast {
			continue
		}
		if _, known := first[x.Relation]; !known {
			first[x.Relation] = x
		}
		roots[x.Relation]++
	}
	for name, n := range roots {
		rows := n + b.tables[name].seen
		if b.base != nil {
			rows += b.base.Relation(name).Rows
		}
		if n > maxSkipped && n > rows/maxSkippedShare || n >= 3 && n == rows {
			return fmt.Errorf("%s: %w", first[name], tooManyError{n, name})
		}
	}
	return nil
}

// A relation may lack maxSkipped rows, and more if they are less than 1/maxSkippedShare of it. It must not
// lack all of its rows.
const (
	maxSkipped      = 10
	maxSkippedShare = 20
)

// ErrTooMuch says that too much is skipped: the snapshot would be of no use.
var ErrTooMuch = errors.New("the source, or what kojisnap knows of it, is wrong")

// tooManyError says that too many rows of a relation are skipped.
type tooManyError struct {
	rows     int64
	relation string
}

func (e tooManyError) Error() string {
	return fmt.Sprintf("the same holds for %d rows of %s: too many to leave out", e.rows, e.relation)
}

func (e tooManyError) Is(target error) bool { return target == ErrTooMuch }
