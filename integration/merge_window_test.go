package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
)

// compareWindows asks both hubs, for each two events that were loaded one after the other, what
// changed in a tag in between, as Pungi does to find out whether it can reuse its last compose. What
// production changed staging tells too, and no more. Only of rows that production made and revoked
// in between staging may know nothing, and of those that a reset deleted production.
func (g *merging) compareWindows(t *testing.T, after state) (problems []string, asked int) {
	a := newAsking(after, g.model.truth)
	for i := 1; i < len(g.model.loaded); i++ {
		from, to := g.model.loaded[i-1], g.model.loaded[i]
		if from.event >= to.event {
			continue
		}
		before, _ := a.differing(from.event)
		now, _ := a.differing(to.event)
		var tags []string
		for _, tag := range sorted(to.in.tags) {
			if from.in.tags[tag] && !from.undone.tags[tag] && !to.undone.tags[tag] && !before[tag] && !now[tag] {
				tags = append(tags, tag)
			}
		}
		want := a.window(t, g.prod, tags, nil, from.event, to.event, nil)
		got := a.window(t, g.staging, tags, a.ids.to["tag"], from.event, to.event, a.ids.back)
		for j, tag := range tags {
			asked++
			for _, key := range sorted(want[j]) {
				if got[j][key] == nil && !want[j].passed(key, from.event) {
					problems = append(problems, fmt.Sprintf("tag %s: between %d and %d production changed %s, which staging does not tell: %v", tag, from.event, to.event, key, want[j][key]))
				}
			}
			for _, key := range sorted(got[j]) {
				if _, there := a.truth.rows[got[j][key]["table"]][strings.SplitN(key, " ", 2)[1]]; there && want[j][key] == nil {
					problems = append(problems, fmt.Sprintf("tag %s: between %d and %d production did not change %s, as staging tells: %v", tag, from.event, to.event, key, got[j][key]))
				}
			}
		}
	}
	return problems, asked
}

// changedRows are versioned rows of a tag that were made or revoked between two events.
type changedRows map[string]row

// passed reports whether a row was made after an event and revoked since.
func (w changedRows) passed(key string, from int) bool {
	return w[key].id("create_event") > from && w[key]["revoke_event"] != ""
}

// window asks for the changes of tags between two events.
func (a *asking) window(t *testing.T, client *hub.Client, tags []string, to map[string]string, from, until int, back map[string]map[string]string) (out []changedRows) {
	var tables []any
	for _, r := range relation.All() {
		if r.Versioned && r.Index("tag_id") >= 0 {
			tables = append(tables, r.Name)
		}
	}
	var calls []hub.Call
	for _, tag := range tags {
		if id, ok := to[tag]; ok {
			tag = id
		}
		calls = append(calls, hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": tables, "tag": (row{"id": tag}).id("id"), "afterEvent": from, "beforeEvent": until + 1}})
	}
	answers, err := client.Multi(t.Context(), calls)
	must(t, err)
	for i, answer := range answers {
		must(t, answer.Err)
		rows := changedRows{}
		for _, table := range tables {
			r := relation.Get(table.(string))
			for _, v := range answer.Value.Field(r.Name).Items() {
				d := row{}
				for _, c := range r.ColumnNames() {
					if x := v.Field(c).Any(); x != nil {
						d[c] = fmt.Sprint(x)
					}
				}
				d = mapped(back, r, d)
				in := func(c string) bool { n := d.id(c); return n > from && n <= until }
				if (in("create_event") || in("revoke_event")) && d["tag_id"] == tags[i] {
					rows[r.Name+" "+keyOf(r.Name, d)] = d.with("table", r.Name)
				}
			}
		}
		out = append(out, rows)
	}
	return out
}
