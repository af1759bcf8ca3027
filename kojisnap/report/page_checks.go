package report

import (
	"cmp"
	"fmt"
	"strconv"

	m "kojisnap/kojisnap/report/markup"
	"kojisnap/kojisnap/verify"
)

// marks are the signs of statuses, which do not rest on colour.
var marks = map[verify.Status]string{verify.StatusOK: "✓", verify.StatusWarning: "!", verify.StatusFailed: "✗", verify.StatusSkipped: "–", verify.StatusUnproven: "?"}

func mark(s verify.Status) string { return cmp.Or(marks[s], "?") }

// checks are all checks of the last verify: a table of those of tags, a list of the others, and what is wrong.
func (v *envView) checks() m.Node {
	const title = "Checks of compose-readiness"
	if len(v.Checks) == 0 {
		return v.section("checks", title, soft("No sync on record has come to a result of verify."))
	}
	return v.section("checks", title,
		m.E("p", m.Text(v.CheckedText())),
		v.matrix(),
		v.global(),
		m.E("ul", m.A("class", "legend small"),
			legend(verify.StatusOK, " ok, and how many things it looked at"),
			legend(verify.StatusFailed, " failed: staging is not ready"),
			legend(verify.StatusWarning, " warning: a compose runs, but not as in production"),
			legend(verify.StatusUnproven, " unproven: this machine cannot find out"),
			legend(verify.StatusSkipped, " could not be made")),
		m.Each(v.Troubled(), v.problem))
}

func legend(s verify.Status, text string) m.Node {
	return m.E("li", m.A("class", string(s)), m.E("span", m.A("class", "mark"), m.Text(mark(s))), m.Text(text))
}

// matrix is the table of the checks of tags.
func (v *envView) matrix() m.Node {
	if len(v.Matrix.Blocks) == 0 {
		return nil
	}
	up := func(name string) m.Node {
		return m.E("th", m.A("scope", "col"), m.A("class", "up"), m.E("span", m.Text(name)))
	}
	var omitted m.Node
	if n := v.Matrix.Omitted; n > 0 {
		omitted = small(count(n) + " more tags, which " + toStayReadable)
	}
	return m.Nodes{
		m.E("div", m.A("class", "scroll fit"), m.A("tabindex", "0"), m.A("role", "region"), m.A("aria-label", "Checks by tag and arch"),
			m.E("table", m.A("class", "matrix"),
				m.E("thead", m.E("tr", column("tag", "Tag"), column("arch", "Arch"), m.Each(v.Matrix.ArchChecks, up), m.Each(v.Matrix.TagChecks, up))),
				m.Each(v.Matrix.Blocks, v.block))),
		omitted}
}

// block is a tag: a row for each arch. The first row has the cells that stand for all of them.
func (v *envView) block(b block) m.Node {
	rows := strconv.Itoa(len(b.Rows))
	var nodes m.Nodes
	for i, r := range b.Rows {
		var tag, ofTag m.Node
		if i == 0 {
			tag = m.E("th", m.A("scope", "rowgroup"), m.A("class", "tag name"), m.A("rowspan", rows), m.Text(b.Tag))
			ofTag = m.Each(b.Of, func(c *matrixCell) m.Node { return v.check(c, len(b.Rows)) })
		}
		nodes = append(nodes, m.E("tr", tag, rowHead("arch name", cmp.Or(r.Arch, "–")),
			m.Each(r.Of, func(c *matrixCell) m.Node { return v.check(c, 1) }), ofTag))
	}
	return m.E("tbody", nodes)
}

// check is one in the table, or none, which spans rows.
func (v *envView) check(c *matrixCell, span int) m.Node {
	var rows m.Node
	if span > 1 {
		rows = m.A("rowspan", strconv.Itoa(span))
	}
	if c == nil {
		return m.E("td", rows)
	}
	if c.Number == 0 {
		return m.E("td", m.A("class", string(c.Status)), rows, m.E("span", m.A("class", "mark"), m.Text(mark(c.Status))), unseen(" ok"), m.Text(" "+count(c.Count)))
	}
	bad, of := "", ""
	if c.Bad > 0 {
		bad, of = " "+count(c.Bad), ", of "+count(c.Count)
	}
	return m.E("td", m.A("class", string(c.Status)), rows,
		m.E("a", m.A("href", v.details(c)), m.E("b", m.Text(mark(c.Status))), m.Text(bad), unseen(" "+string(c.Status)+of)))
}

// details is the link to what is wrong with a check.
func (v *envView) details(c *matrixCell) string { return fmt.Sprintf("#check%d-%d", v.N, c.Number) }

// global are the checks of no tag.
func (v *envView) global() m.Node {
	if len(v.Matrix.Global) == 0 {
		return nil
	}
	return m.Nodes{m.E("h3", m.Text("Checks of no single tag")), m.E("ul", m.A("class", "legend"), m.Each(v.Matrix.Global, func(c *matrixCell) m.Node {
		var name m.Node = m.Text(c.Name)
		if c.Number > 0 {
			name = m.E("a", m.A("href", v.details(c)), name)
		}
		return m.E("li", m.A("class", string(c.Status)), m.E("span", m.A("class", "mark"), m.Text(mark(c.Status))),
			m.Text(" "), name, m.Text(before(" ", c.Arch)+" "), unseen(string(c.Status)))
	}))}
}

// problem is a check that is not ok: why, what helps, and all that is bad.
func (v *envView) problem(t trouble) m.Node {
	class, said := "check "+string(t.Status)+before(" ", short(len(t.Entries))), string(t.Status)
	if t.Bad > 0 {
		said += ", " + count(t.Bad) + " of " + count(t.Count)
	}
	var detail, list m.Node
	if t.Detail != "" {
		detail = m.E("p", m.Text(t.Detail))
	}
	if len(t.Entries) > 0 {
		list = entries(t.Entries)
	}
	return m.E("details", m.A("class", class), m.Flag("open", t.Open),
		m.E("summary", m.E("span", m.A("class", "mark"), hidden, m.Text(mark(t.Status))), m.Text(" "), m.E("b", m.Text(t.Name)), m.Text(" "),
			named(t.Tag+before(" ", t.Arch)), m.Text(" "), figureOf(said)),
		m.E("div", m.A("id", fmt.Sprintf("check%d-%d", v.N, t.Number)),
			detail, m.E("p", cure(t.Cure)), list, left(t.More, "are not on record; kojisnap verify finds them again.")))
}

// before puts a text before another one, if there is one.
func before(text, other string) string {
	if other == "" {
		return ""
	}
	return text + other
}
