package report

import (
	"strings"

	m "kojisnap/kojisnap/report/markup"
)

// What several sections of the page have.

// hidden is for signs that screen readers pass over: words beside them say the same.
var hidden = m.A("aria-hidden", "true")

// soft is a remark.
func soft(text string) m.Node { return m.E("p", m.A("class", "soft"), m.Text(text)) }

// small is a remark in small letters.
func small(text string) m.Node { return m.E("p", m.A("class", "soft small"), m.Text(text)) }

// left says how many things of a list, n, the page does not have, and why.
func left(n int, why string) m.Node {
	if n <= 0 {
		return nil
	}
	return small("and " + count(n) + " more, which " + why)
}

// toStayReadable is why a list is cut off.
const toStayReadable = "this page leaves out to stay readable."

// short is the class of details that are printed. Longer ones are not.
func short(n int) string {
	if n <= 200 {
		return "short"
	}
	return ""
}

// named is a name in its own letters.
func named(name string) m.Node { return m.E("span", m.A("class", "name"), m.Text(name)) }

// figureOf is a number beside a heading.
func figureOf(text string) m.Node { return m.E("span", m.A("class", "num"), m.Text(text)) }

// unseen is a text for screen readers.
func unseen(text string) m.Node { return m.E("span", m.A("class", "vh"), m.Text(text)) }

// entries are the lines of a list: each has what it is about and, behind a colon, what there is to say about that.
func entries(lines []string) m.Node {
	return m.E("ul", m.A("class", "names"), m.Each(lines, func(line string) m.Node {
		name, rest, _ := strings.Cut(line, ": ")
		if rest == "" {
			return m.E("li", named(name))
		}
		return m.E("li", named(name), m.Text(": "), m.E("span", m.A("class", "small soft"), m.Text(rest)))
	}))
}

// cure is what helps. Flags in it do not break at the end of a line.
func cure(text string) m.Node {
	var words m.Nodes
	for _, w := range strings.Fields(text) {
		if strings.HasPrefix(w, "--") {
			words = append(words, m.E("span", m.A("class", "flag"), m.Text(w)), m.Text(" "))
		} else {
			words = append(words, m.Text(w+" "))
		}
	}
	return m.E("span", m.A("class", "cure"), words)
}

// table is a table that scrolls in itself where it is too broad for the page. Class may be empty.
func table(class, label string, columns, rows m.Node) m.Node {
	return m.E("div", m.A("class", strings.TrimSpace("scroll "+class)), m.A("tabindex", "0"), m.A("role", "region"), m.A("aria-label", label),
		m.E("table", m.E("thead", m.E("tr", columns)), m.E("tbody", rows)))
}

// column is the head of a column. Those of numbers have the class n.
func column(class, text string) m.Node {
	return m.E("th", m.A("scope", "col"), m.A("class", class), m.Text(text))
}

// rowHead is the first cell of a row.
func rowHead(class, text string) m.Node {
	return m.E("th", m.A("scope", "row"), m.A("class", class), m.Text(text))
}

func cell(class, text string) m.Node { return m.E("td", m.A("class", class), m.Text(text)) }
