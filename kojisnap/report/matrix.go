package report

import (
	"cmp"
	"slices"
	"strings"

	"kojisnap/kojisnap/verify"
)

// order is how checks follow each other: what a compose meets first comes first. Others come behind, by name.
var order = []string{"hub", "event", "history", "tags", "tag", "names", "inheritance", "package filters", "rpms", "signatures", "unsigned",
	"external repos", "hidden", "modules", "module archives", "content tags", "on record", "builds", "archives", "arches", "repo", "targets",
	"files", "signed copies", "sources", "archive files", "module files", "unmounted volumes", "placement", "links", "room", "trial", "topurl"}

func rank(name string) int {
	if at := slices.Index(order, strings.TrimPrefix(name, "build ")); at >= 0 {
		return at
	}
	return len(order)
}

func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(rank(a.Name), rank(b.Name)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch),
		-cmp.Compare(severity(a.Status), severity(b.Status)), cmp.Compare(a.Detail, b.Detail))
}

// severity orders statuses, the worst highest.
func severity(s verify.Status) int {
	return slices.Index([]verify.Status{verify.StatusOK, verify.StatusSkipped, verify.StatusUnproven, verify.StatusWarning, verify.StatusFailed}, s)
}

// matrix is the checks of an environment as a table: a block of rows for each tag, a row of these for each arch; a
// column for each check. Checks that have no arch stand once for all rows of their tag.
type matrix struct {
	TagChecks, ArchChecks []string // columns
	Blocks                []block
	Global                []*matrixCell // of no tag
	Omitted               int           // blocks beyond MaxRows
}

type block struct {
	Tag  string
	Of   []*matrixCell // for each of TagChecks; nil: not made
	Rows []row
}

type row struct {
	Arch string
	Of   []*matrixCell // for each of ArchChecks
}

// matrixCell is a check, with the number of its details on the page: 0 if there are none.
type matrixCell struct {
	*Cell
	Number int
}

// newMatrix arranges checks, which are in the order of compareCells.
func newMatrix(cells []Cell) *matrix {
	m := &matrix{}
	at := map[[3]string]*matrixCell{} // name, tag, arch: the worst
	var tags []string
	arches := map[string][]string{}
	number := 0
	for i := range cells {
		c := &matrixCell{Cell: &cells[i]}
		if c.Status != verify.StatusOK {
			number++
			c.Number = number
		}
		if c.Tag == "" {
			m.Global = append(m.Global, c)
			continue
		}
		if len(tags) == 0 || tags[len(tags)-1] != c.Tag { // they are sorted by tag
			tags = append(tags, c.Tag)
		}
		columns := &m.TagChecks
		if c.Arch != "" {
			columns = &m.ArchChecks
			if !slices.Contains(arches[c.Tag], c.Arch) {
				arches[c.Tag] = append(arches[c.Tag], c.Arch)
			}
		}
		if !slices.Contains(*columns, c.Name) {
			*columns = append(*columns, c.Name)
		}
		if key := [3]string{c.Name, c.Tag, c.Arch}; at[key] == nil || severity(at[key].Status) < severity(c.Status) {
			at[key] = c
		}
	}
	byRank := func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }
	slices.SortFunc(m.TagChecks, byRank)
	slices.SortFunc(m.ArchChecks, byRank)
	rows := 0
	for i, tag := range tags {
		if rows > MaxRows {
			m.Omitted = len(tags) - i
			break
		}
		b := block{Tag: tag}
		for _, name := range m.TagChecks {
			b.Of = append(b.Of, at[[3]string{name, tag, ""}])
		}
		slices.Sort(arches[tag])
		if len(arches[tag]) == 0 {
			arches[tag] = []string{""}
		}
		for _, arch := range arches[tag] {
			r := row{Arch: arch}
			for _, name := range m.ArchChecks {
				r.Of = append(r.Of, at[[3]string{name, tag, arch}])
			}
			b.Rows = append(b.Rows, r)
			rows++
		}
		m.Blocks = append(m.Blocks, b)
	}
	return m
}

// troubled returns the checks that are not ok, the worst first.
func (e *Env) troubled() (all []*matrixCell) {
	number := 0
	for i := range e.Checks {
		if c := &e.Checks[i]; c.Status != verify.StatusOK {
			number++
			all = append(all, &matrixCell{c, number})
		}
	}
	slices.SortStableFunc(all, func(a, b *matrixCell) int { return severity(b.Status) - severity(a.Status) })
	return all
}

// counts says how many checks have each status.
func (e *Env) counts() map[verify.Status]int {
	n := map[verify.Status]int{}
	for _, c := range e.Checks {
		n[c.Status]++
	}
	return n
}
