package report

import (
	"strings"

	m "kojisnap/kojisnap/report/markup"
)

// changes are the builds that came, moved or went.
func (v *envView) changes() m.Node {
	const title = "What changed in the last sync"
	c := v.Changes
	if c == nil {
		return v.section("changes", title, soft("Not known: there is no earlier snapshot to compare with."))
	}
	var none m.Node
	if c.New.Total+c.Moved.Total+c.Added.Total+c.Gone.Total == 0 {
		none = soft("No build came, moved or went.")
	}
	return v.section("changes", title,
		m.E("p", m.Textf("From event %d of %s to event %d of %s.", c.FromEvent, minute(c.FromTime), c.Event, minute(c.EventTime))),
		builds("New builds", "made since, and tagged", c.New),
		builds("Moved", "from tags to others", c.Moved),
		builds("Tagged or untagged", "beside tags that they keep", c.Added),
		builds("Gone", "in no tag any longer: their copies go after --keep-days", c.Gone),
		none)
}

// builds are the builds of one kind of change.
func builds(title, what string, list BuildList) m.Node {
	if list.Total == 0 {
		return nil
	}
	rows := m.Each(list.Builds, func(b BuildChange) m.Node {
		return m.E("tr", rowHead("name", b.Build), cell("name", strings.Join(b.Into, ", ")), cell("name", strings.Join(b.From, ", ")))
	})
	return m.E("details", m.A("class", short(list.Total)),
		m.E("summary", m.Text(title+" "), figureOf(count(list.Total)), m.Text(" "), m.E("span", m.A("class", "soft small"), m.Text(what))),
		m.E("div",
			table("", title, m.Nodes{column("", "Build"), column("", "Into"), column("", "Out of")}, rows),
			left(list.Total-len(list.Builds), toStayReadable)))
}
