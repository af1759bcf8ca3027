package pull

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// leftOuts collects what cannot be had, or not as it is. Its methods may be called concurrently.
type leftOuts struct {
	mu   sync.Mutex
	rows []snapfile.LeftOut
	at   map[string]int // by what identifies them
}

// add notes one, unless it is known.
func (l *leftOuts) add(x snapfile.LeftOut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := identity(&x)
	if at, known := l.at[key]; known {
		if l.rows[at].Stripped() { // the less
			l.rows[at] = x
		}
		return
	}
	if l.at == nil {
		l.at = map[string]int{}
	}
	l.at[key] = len(l.rows)
	l.rows = append(l.rows, x)
}

// sorted returns all, in an order that does not depend on when they were met.
func (l *leftOuts) sorted() []snapfile.LeftOut {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := slices.Clone(l.rows)
	slices.SortFunc(rows, snapfile.CompareLeftOut)
	return rows
}

// each lets fn change them.
func (l *leftOuts) each(fn func(x *snapfile.LeftOut)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		fn(&l.rows[i])
	}
}

// lack is a column that a row goes without, and why.
type lack struct {
	column string
	why    error
}

// spare reports whether a row is of use without a column: no compose goes by it, or so many rows
// refer to the name that one made up does less harm than none.
func spare(rel *relation.Relation, column string) bool {
	switch rel.Name + "." + column {
	case "build.extra", "build.source", "rpminfo.extra", "archiveinfo.extra", "permissions.description":
		return true
	}
	return column == "name" && rename(rel)
}

// rename reports whether a row of a relation whose name cannot be had gets one that is made up. The
// others are parts of paths, or the very thing that a compose asks for.
func rename(rel *relation.Relation) bool {
	switch rel.Name {
	case "users", "permissions", "content_generator", "external_repo", "archivetypes", "btype":
		return true
	}
	return false
}

// madeUp is a name for a row whose own cannot be had.
func madeUp(relationName string, id []byte) []byte {
	return fmt.Appendf(nil, "unreadable-%s-%s", relationName, id)
}

// goWithout notes that a row is there without some columns; a name is made up.
func (p *puller) goWithout(rel *relation.Relation, row [][]byte, lacks []lack) {
	for _, l := range lacks {
		x := describeLeftOut(rel, row, fmt.Errorf("%s.%s: %w", rel.Name, l.column, l.why))
		x.Kept = snapfile.KeptWithout + l.column
		if l.column == "name" {
			row[rel.Index("name")] = madeUp(rel.Name, row[0])
			x.Kept = snapfile.KeptName
		}
		p.leave(x)
	}
}

// maxKey is how long a text may be that identifies a row that is left out.
const maxKey = 4096

// leaveRow notes that a row is left out. Its columns are there as far as they are right. A tag
// without its config is none, and so the pull ends there.
func (p *puller) leaveRow(rel *relation.Relation, row [][]byte, why error) error {
	for _, i := range rel.KeyIndexes() {
		if len(row[i]) > maxKey { // what is left out is kept in mind by its key
			return fmt.Errorf("%w, in a row of %s whose %s has %d bytes: mend it in production", why, rel.Name, rel.Columns[i].Name, len(row[i]))
		}
	}
	x := describeLeftOut(rel, row, why)
	if rel.Name == "tag_config" {
		return fmt.Errorf("%w, in the row %s: a tag is nothing without its config: mend it in production", why, x.Row)
	}
	p.leave(x)
	return nil
}

// describeLeftOut tells which row it is.
func describeLeftOut(rel *relation.Relation, row [][]byte, why error) snapfile.LeftOut {
	x := snapfile.LeftOut{Relation: rel.Name, Reason: why.Error()}
	number := func(column string) (int64, bool) {
		at := rel.Index(column)
		if at < 0 || row[at] == nil {
			return 0, false
		}
		id, err := idOf(row[at])
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
		x.Row = rowName(rel.Name, first, id)
	case known:
		x.Row = rowName(rel.Name, first, id)
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
		x.Row = rowName(rel.Name, "build_id", build)
	case rel.Name == "rpminfo":
		x.Row += fmt.Sprintf(" (%.100q)", fmt.Sprintf("%s-%s-%s.%s", row[rel.Index("name")], row[rel.Index("version")], row[rel.Index("release")], row[rel.Index("arch")]))
	case ofBuild && rel.Index("build_id") > 0:
		x.Row += " of " + rowName("", "build_id", build)
	}
	return x
}

// rowName names a row by the value of a column.
func rowName(relationName, column string, id int64) string {
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

// addNamed adds the name of something that a row refers to, as a member of that row has it. If
// there is none the row itself did not need it.
func (p *puller) addNamed(relationName string, id int64, name hub.Value) error {
	rel := relation.Get(relationName)
	switch name.Kind() {
	case hub.String:
		text := string(name.Text())
		row := [][]byte{fmt.Append(nil, id), []byte(text)}
		if _, err := climbs(rel, row); err != nil {
			p.leave(describeLeftOut(rel, row, fmt.Errorf("%s.name: %w", rel.Name, err)))
			return nil
		}
		return p.addName(relationName, id, text)
	case hub.Bad:
		row := [][]byte{fmt.Append(nil, id), nil}
		if !rename(rel) {
			p.leave(describeLeftOut(rel, row, fmt.Errorf("%s.name: %w", rel.Name, name.Bad())))
			return nil
		}
		p.goWithout(rel, row, []lack{{"name", name.Bad()}})
		return p.bring(relationName, id, row)
	}
	return nil
}

// tooMuch says that so much cannot be had that it is no matter of single rows: the hub, or what
// kojisnap knows of it, is wrong. The snapshot would be worse than the one before.
func (p *puller) tooMuch() error {
	first, roots := map[string]snapfile.LeftOut{}, map[string]int64{}
	for _, x := range p.leftOut.sorted() {
		if !x.Missing() && x.Kept != snapfile.KeptLast {
			continue
		}
		if _, known := first[x.Relation]; !known {
			first[x.Relation] = x
		}
		roots[x.Relation]++
	}
	for name, n := range roots {
		rows := n + p.tables[name].seen
		if p.base != nil {
			rows += p.base.Relation(name).Rows
		}
		if n > maxLeft && n > rows/maxLeftShare || n >= 3 && n == rows {
			return fmt.Errorf("%s: %w", first[name], tooManyError{n, name})
		}
	}
	return nil
}

// So many rows of a relation may be left out, and beyond that so large a part of it: 1/maxLeftShare.
// That all are, if there are some, is no matter of single rows either.
const (
	maxLeft      = 10
	maxLeftShare = 20
)

// errTooMuch says that what cannot be had is too much: what is kept of the pull is of no use.
var errTooMuch = errors.New("the hub, or what kojisnap knows of it, is wrong")

// tooManyError says that what is wrong with single rows is wrong with too many of them.
type tooManyError struct {
	rows     int64
	relation string
}

func (e tooManyError) Error() string {
	return fmt.Sprintf("and so it is with %d rows of %s: too many to be left out", e.rows, e.relation)
}

func (e tooManyError) Is(target error) bool { return target == errTooMuch }

// failing judges the calls of a stage for things by id. That one fails is the thing's trouble; that
// all do is the hub's. Its methods may be called concurrently.
type failing struct {
	mu    sync.Mutex
	known *idSet // that failed in earlier pulls; nil: none
	good  bool
	bad   int64
	first error // of the thing with the lowest id: what, and why
	id    int64
}

func (f *failing) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good = true
}

// passed notes the outcome of a batch: bad says which of its things could not be had.
func (f *failing) passed(bad []bool) {
	if slices.Contains(bad, false) {
		f.succeeded()
	}
}

// failed notes that a thing could not be had. It returns an error if nothing at all could.
func (f *failing) failed(id int64, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known != nil && f.known.has(id) {
		return nil
	}
	if f.bad++; f.bad == 1 || id < f.id {
		f.first, f.id = err, id
	}
	if f.bad >= 100 {
		return f.judge()
	}
	return nil
}

// end is the judgement when all calls were made.
func (f *failing) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bad < 3 {
		return nil
	}
	return f.judge()
}

func (f *failing) judge() error {
	if f.good {
		return nil
	}
	return &allFailedError{f.first, f.bad}
}

// allFailedError says that nothing that was asked for could be had.
type allFailedError struct {
	first error
	asked int64
}

func (e *allFailedError) Error() string {
	return fmt.Sprintf("%v: and so it is with all %d that were asked for", e.first, e.asked)
}
func (e *allFailedError) Unwrap() []error { return []error{e.first, errTooMuch} }

var errNoBType = errors.New("the hub lists no such build type")
