package report

import (
	"kojisnap/kojisnap"
	m "kojisnap/kojisnap/report/markup"
)

// files are what copies made, where, and how.
func (v *envView) files() m.Node {
	return v.section("files", "Files", v.below(), v.made())
}

// below is the tree of files, and how much room is left there.
func (v *envView) below() m.Node {
	f := v.Files
	if f.Topdir == "" {
		return nil
	}
	grace := m.Text("")
	if f.Grace > 0 {
		grace = m.Text(" " + count(f.Grace) + " of the builds are not needed any longer and stay for some days yet.")
	}
	tree := m.E("p", m.Text("Below "), named(f.Topdir),
		m.Textf(" are %s files of %s builds that kojisnap made, %s in all; hard links of these take no room.", count(f.Copies), count(f.Builds), kojisnap.Size(f.Bytes)), grace)
	if f.Room == 0 {
		return tree
	}
	free := kojisnap.Size(f.Free) + " of " + kojisnap.Size(f.Room) + " are left"
	return m.Nodes{tree, m.E("p", m.Text(free+" there.")),
		m.E("svg", m.A("class", "few"), m.A("viewBox", "0 0 600 14"), m.A("role", "img"), m.A("aria-label", free),
			m.E("rect", m.A("class", "room"), m.A("x", ".5"), m.A("y", ".5"), m.A("width", "599"), m.A("height", "13")),
			rect("used", 0, 0, v.Used(), 14))}
}

// made counts files by the way they were made.
func (v *envView) made() m.Node {
	last, all := v.Files.Last, v.Files.All
	if all.Since.IsZero() {
		return soft("No sync on record has copied files.")
	}
	return table("few", "Files by the way they were made",
		m.Nodes{column("", "Made by"), column("n", "last copy"), column("n", "all since "+minute(all.Since))},
		m.Nodes{
			twoNumbers("hard link", count(last.Hardlinked), count(all.Hardlinked)),
			twoNumbers("reflink", count(last.Reflinked), count(all.Reflinked)),
			twoNumbers("copy", count(last.Copied), count(all.Copied)),
			twoNumbers("signature and unsigned rpm", count(last.Spliced), count(all.Spliced)),
			twoNumbers("download", count(last.Fetched), count(all.Fetched)),
			twoSums("all files", count(last.Files), count(all.Files)),
			twoSums("bytes", kojisnap.Size(last.Bytes), kojisnap.Size(all.Bytes)),
		})
}

// cost is what pulls asked of production.
func (v *envView) cost() m.Node {
	const title = "What it costs production"
	last, all := v.Cost.Last, v.Cost.All
	if all.Pulls == 0 {
		return v.section("cost", title, soft("No sync on record has pulled."))
	}
	return v.section("cost", title, table("few", "What syncs asked of production",
		m.Nodes{column("", "Asked of production"), column("n", "last pull"), column("n", count(all.Pulls)+" pulls since "+minute(all.Since))},
		m.Nodes{
			twoNumbers("requests to the hub", count(last.Requests), count(all.Requests)),
			twoNumbers("rows in its replies", count(last.Rows), count(all.Rows)),
			twoNumbers("bytes of requests", kojisnap.Size(last.Sent), kojisnap.Size(all.Sent)),
			twoNumbers("bytes of replies", kojisnap.Size(last.Received), kojisnap.Size(all.Received)),
			twoNumbers("bytes of files over the network", kojisnap.Size(last.Fetched), kojisnap.Size(all.Fetched)),
			twoNumbers("time", duration(last.Seconds), duration(all.Seconds)),
		}))
}

// twoNumbers is a row: what is counted, of the last sync and of all.
func twoNumbers(what, last, all string) m.Node {
	return m.E("tr", rowHead("", what), cell("n", last), cell("n", all))
}

func twoSums(what, last, all string) m.Node {
	sum := func(text string) m.Node { return m.E("td", m.A("class", "n"), m.E("b", m.Text(text))) }
	return m.E("tr", rowHead("", what), sum(last), sum(all))
}
