package report

import (
	"fmt"
	"strconv"

	"kojisnap/kojisnap"
	m "kojisnap/kojisnap/report/markup"
)

// syncs is the history: charts, the same as a table, and the events that may be pinned.
func (v *envView) syncs() m.Node {
	if len(v.Syncs) == 0 {
		return v.section("syncs", "Syncs", soft("No sync is on record."), v.events())
	}
	return v.section("syncs", "Syncs",
		m.E("div", m.A("class", "charts"), m.Each(v.Charts, chart.figure)),
		m.E("ul", m.A("class", "legend small"),
			m.E("li", key(rect("bar", 4, 1, 8, 13)), m.Text("done")),
			m.E("li", key(rect("bar failed", 4, 1, 8, 13), path("cross", "M4 3l8 8m0 -8l-8 8")), m.Text("ended with trouble")),
			m.E("li", key(path("gap", "M8 8"+dot)), m.Text("a scheduled sync was missed"))),
		v.syncTable(),
		v.events())
}

// key is a sign of the legend.
func key(signs ...m.Node) m.Node {
	return m.E("svg", m.A("class", "key"), m.A("viewBox", "0 0 16 14"), hidden, m.Nodes(signs))
}

// dot is the path of a small circle around the current point.
const dot = "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0"

func path(class, d string, nodes ...m.Node) m.Node {
	return m.E("path", m.A("class", class), m.A("d", d), m.Nodes(nodes))
}

func rect(class string, x, y, width, height int, nodes ...m.Node) m.Node {
	return m.E("rect", m.A("class", class), m.A("x", strconv.Itoa(x)), m.A("y", strconv.Itoa(y)),
		m.A("width", strconv.Itoa(width)), m.A("height", strconv.Itoa(height)), m.Nodes(nodes))
}

// figure is a chart with its caption and the times of its ends.
func (c chart) figure() m.Node {
	return m.E("figure",
		m.E("figcaption", m.E("b", m.Text(c.Title)), m.Text(" "), m.E("span", m.Textf("last %s, most %s", c.Last, c.Most))),
		m.E("svg", m.A("viewBox", fmt.Sprintf("0 0 %d 154", c.Width)), m.A("role", "img"),
			m.A("aria-label", fmt.Sprintf("%s of the last %d syncs: the last %s, the most %s", c.Title, c.Syncs, c.Last, c.Most)),
			path("axis", fmt.Sprintf("M0 153.5H%d", c.Width)),
			m.Each(c.Bars, bar.draw)),
		m.E("div", m.A("class", "range"), m.E("span", m.Text(c.From)), m.E("span", m.Text(c.To))))
}

func (b bar) draw() m.Node {
	label := m.E("title", m.Text(b.Label))
	switch {
	case b.Gap:
		return path("gap", fmt.Sprintf("M%d 142%s", b.X, dot), label)
	case b.Failed:
		return m.Nodes{rect("bar failed", b.X, b.Y, b.W, b.H, label), path("cross", fmt.Sprintf("M%d %dl%[3]d %[3]dm0 -%[3]dl-%[3]d %[3]d", b.X, b.Cross, b.W))}
	}
	return rect("bar", b.X, b.Y, b.W, b.H, label)
}

func (v *envView) syncTable() m.Node {
	columns := m.Nodes{column("n", "Sync"), column("", "Began"), column("n", "Took"), column("n", "Exit"), column("n", "Event"), column("n", "Rows"),
		column("n", "Bytes"), column("n", "Requests"), column("", "Trouble")}
	rows := m.Each(v.Syncs, func(s SyncPoint) m.Node {
		var exit m.Node = m.Text("0")
		if s.Exit != 0 {
			exit = m.E("b", m.Textf("✗ %d", s.Exit))
		}
		event, trouble := "–", s.Error
		if s.Event != 0 {
			event = strconv.FormatInt(s.Event, 10)
		}
		if s.Missed > 0 {
			trouble += fmt.Sprintf(" %d missed before this one", s.Missed)
		}
		return m.E("tr", cell("n", strconv.FormatInt(s.ID, 10)), cell("n", minute(s.Started)), cell("n", duration(s.Seconds)),
			m.E("td", m.A("class", "n"), exit), cell("n", event), cell("n", count(s.Rows)), cell("n", kojisnap.Size(s.Bytes)), cell("n", count(s.Requests)),
			cell("wide small", trouble))
	})
	return m.E("details", m.E("summary", m.Text("The last "+count(len(v.Syncs))+" syncs as a table")), m.E("div", table("", "Syncs", columns, rows)))
}

// events are those that may be pinned beside the current one.
func (v *envView) events() m.Node {
	if len(v.Events) == 0 {
		return nil
	}
	var list m.Nodes
	for _, e := range v.Events {
		list = append(list, m.E("li", m.A("class", "small"), m.Textf("event %d of %s, snapshot ", e.Event, minute(e.EventTime)), named(e.Snapshot)))
	}
	return m.E("details", m.A("class", "short"), m.E("summary", m.Text(count(len(v.Events))+" loaded events, which are safe to pin")),
		m.E("div", m.E("ul", m.A("class", "names"), list)))
}
