package report

import (
	"fmt"
	"strconv"
	"strings"

	m "kojisnap/kojisnap/report/markup"
)

// article is an environment: the verdict and what is known beside it.
func (v *envView) article() m.Node {
	nodes := m.Nodes{m.A("class", "env"), m.A("id", v.id("panel")), v.verdict()}
	if v.Held() {
		nodes = append(nodes, v.facts())
		if v.StoreOnly {
			nodes = append(nodes, soft("This is what the store has on record: the environment’s database was not asked."))
		} else {
			nodes = append(nodes, v.contents(), v.checks(), v.syncs(), v.changes(), v.own(), v.files(), v.cost())
		}
	}
	return m.E("article", append(nodes, v.configuration())...)
}

// verdict says whether staging is ready, why not, and what helps.
func (v *envView) verdict() m.Node {
	where := m.Text("")
	if v.Database != "" {
		where = m.Text(", database " + v.Database)
	}
	var causes m.Node
	if len(v.Verdict.Causes) > 0 {
		var list m.Nodes
		for _, c := range v.Verdict.Causes {
			var about m.Node
			if c.About != "" {
				about = m.Nodes{m.E("b", m.Text(c.About)), m.Text(": ")}
			}
			list = append(list, m.E("li", about, m.Text(c.What+" "), cure(c.Cure)))
		}
		causes = m.E("ul", m.A("class", "causes"), list)
	}
	return m.E("section", m.A("class", "verdict "+string(v.Tone())),
		m.E("p", m.A("class", "soft small"), m.Text("Environment "), m.E("b", m.Text(v.Name)), where),
		m.E("h1", m.E("span", m.A("class", "mark"), hidden, m.Text(v.Mark())), m.Text(v.Verdict.Text)),
		causes,
		m.Each(v.Troubles, func(t string) m.Node {
			return m.E("p", m.A("class", "small"), m.Text("Could not be found out: "+t))
		}))
}

// facts are what people ask first.
func (v *envView) facts() m.Node {
	var list m.Nodes
	add := func(what, value, remark string) {
		list = append(list, m.E("div", m.E("dt", m.Text(what)), m.E("dd", m.Text(value), m.E("small", m.Text(remark)))))
	}
	name := func(what, value string) {
		list = append(list, m.E("div", m.E("dt", m.Text(what)), m.E("dd", m.A("class", "name"), m.Text(value))))
	}
	if v.Event > 0 {
		add("Pin composes at", fmt.Sprintf("event %d", v.Event), "of "+minute(v.EventTime))
	} else {
		add("Pin composes at", "none", "nothing was loaded yet")
	}
	switch {
	case v.StoreOnly:
	case v.Since():
		add("May be pinned", fmt.Sprintf("from %d on", v.History), "each event since")
	default:
		add("May be pinned", "that one", "pull --since adds earlier ones")
	}
	if v.Success.IsZero() {
		add("All was well", "never", minute(v.Success))
	} else {
		add("All was well", v.SuccessAge()+" ago", minute(v.Success))
	}
	switch {
	case v.Every == 0:
	case v.Overdue > 0:
		add("Syncs begin every", duration(float64(v.Every)), fmt.Sprintf("%d missed since the last", v.Overdue))
	default:
		add("Syncs begin every", duration(float64(v.Every)), "as measured")
	}
	switch d := v.Drift; {
	case d == nil || d.Error != "":
	case d.Loaded:
		add("Behind the store", "no", "the newest snapshot is loaded")
	default:
		add("Behind the store", count(d.Events)+" events", "of "+d.Snapshot)
	}
	name("Snapshot", v.Snapshot)
	if v.Hub != "" {
		name("Production", v.Hub)
	}
	return m.E("dl", m.A("class", "facts"), list)
}

// contents leads to the sections.
func (v *envView) contents() m.Node {
	type section struct{ id, title string }
	sections := []section{{"checks", "Checks"}, {"syncs", "Syncs"}, {"changes", "What changed"}, {"own", "Staging’s own"}, {"files", "Files"}, {"cost", "What it costs production"}}
	if len(v.Config) > 0 {
		sections = append(sections, section{"config", "Configuration"})
	}
	return m.E("nav", m.A("aria-label", "On this page"), m.E("ul", m.A("class", "toc"), m.Each(sections, func(s section) m.Node {
		return m.E("li", m.E("a", m.A("href", "#"+v.id(s.id)), m.Text(s.title)))
	})))
}

// id is the id of a part of the environment: unique on the page.
func (v *envView) id(part string) string { return part + strconv.Itoa(v.N) }

// section is a part of the environment.
func (v *envView) section(part, title string, nodes ...m.Node) m.Node {
	return m.E("section", m.A("id", v.id(part)), m.E("h2", m.Text(title)), m.Nodes(nodes))
}

// own is what staging has that production does not have.
func (v *envView) own() m.Node {
	if len(v.Own) == 0 {
		return v.section("own", "What is staging’s own", soft("Nothing: wherever staging could differ, it is as production."))
	}
	return v.section("own", "What is staging’s own", m.Each(v.Own, func(o Own) m.Node {
		var list m.Node
		if len(o.Entries) > 0 {
			title := "Show " + count(o.Total) + " entries"
			if o.Total == 1 {
				title = "Show 1 entry"
			}
			list = m.E("details", m.A("class", short(len(o.Entries))), m.E("summary", m.Text(title)),
				m.E("div", entries(o.Entries), left(o.Total-len(o.Entries), toStayReadable)))
		}
		kind := strings.ToUpper(o.Kind[:min(1, len(o.Kind))]) + o.Kind[min(1, len(o.Kind)):]
		return m.E("div", m.A("class", "group"),
			m.E("h3", m.Text(kind+" "), m.E("span", m.A("class", "soft num"), m.Text(count(o.Total)))),
			m.E("p", m.A("class", "small"), m.Text(o.Consequence)),
			list)
	}))
}

// configuration is what is set and what has its default.
func (v *envView) configuration() m.Node {
	if len(v.Config) == 0 {
		return nil
	}
	return v.section("config", "Configuration", small("Secrets are masked."), m.Each(v.Keys(), func(l keyList) m.Node {
		columns := m.Nodes{column("", "Key"), column("", "Value"), column("", "From")}
		return m.E("details", m.E("summary", m.Text(l.Title)), m.E("div", table("", l.Title, columns, m.Each(l.Keys, func(k ConfigKey) m.Node {
			key, from := k.Key, k.Origin
			if k.Section != "" {
				key = "[" + k.Section + "] " + k.Key
			}
			if k.Default {
				from = "default"
			}
			return m.E("tr", rowHead("name", key), cell("name value", k.Value), cell("small soft", from))
		}))))
	}))
}
