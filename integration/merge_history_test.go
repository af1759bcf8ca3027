package integration_test

import (
	"fmt"
	"math/rand/v2"

	"kojisnap/kojisnap/relation"
)

// pastEvents are how many events of production's, of those that were not loaded, are looked at after a load.
const pastEvents = 5

// historySince is the event since which a run pulls history: every other run does. 0: it does not.
func historySince(seed uint64) int64 {
	rnd := rand.New(rand.NewPCG(seed, 0x70617374))
	if seed%2 == 0 {
		return 0
	}
	return 1 + rnd.Int64N(lastEvent)
}

// pastViews demands that staging has of each tag of the snapshot what production had at events from that
// on from which its history is on record as whole. Exceptions are those of pinned.
func (j *judge) pastViews() {
	e := j.want.number()
	rnd := rand.New(rand.NewPCG(uint64(e), uint64(len(j.pulled))))
	from := map[string]int{}
	for _, r := range j.after["kojisnap.tag"] {
		if r.id("event") == e && r["history"] != "" {
			from[r["tag_id"]] = r.id("history")
		}
	}
	for _, tag := range j.want.scope {
		if _, known := from[tag]; !known && j.after["kojisnap.tag"]["tag_id="+tag] != nil {
			j.problem("tag %s: nothing says from when on its history is whole", tag)
		}
	}
	here := map[string]map[string]row{}
	for _, r := range relation.All() {
		if r.Versioned && r.Index("tag_id") >= 0 {
			here[r.Name] = productionRows(r, j.after, j.ids)
		}
	}
	lowest := e
	for _, history := range from {
		lowest = min(lowest, history)
	}
	for range pastEvents {
		at := lowest + rnd.IntN(e-lowest+1)
		for name, rows := range here {
			r := relation.Get(name)
			for key, s := range j.want.truth.rows[name] {
				history, known := from[s["tag_id"]]
				if !known || at < history || !visible(s, at) || visible(rows[key], at) || j.late(s) || j.m.erased[name][key] || j.hangs(r, j.ids.staging(r, s)) != "" {
					continue
				}
				j.problem("%s %s: at event %d production has it, staging not, though history is whole from %d on: %v, production %v", name, key, at, history, rows[key], s)
			}
			for key, d := range rows {
				history, known := from[d["tag_id"]]
				s, there := j.want.truth.rows[name][key]
				if known && at >= history && there && visible(d, at) && !visible(s, at) && !j.late(s) {
					j.problem("%s %s: at event %d staging has it, production not, though history is whole from %d on: %v, production %v", name, key, at, history, d, s)
				}
			}
		}
	}
}

// late reports whether a row was made or revoked by a transaction that a snapshot of a later event did not
// see yet.
func (j *judge) late(s row) bool {
	for _, column := range []string{"create_event", "revoke_event"} {
		if s[column] == "" {
			continue
		}
		event := s.id(column)
		for _, w := range j.pulled {
			if w.number() >= event && !w.truth.events[event] {
				return true
			}
		}
	}
	return false
}

// tellHistory counts what pastViews may look at: without history a run proves nothing.
func (g *merging) tellHistory() string {
	if g.since == 0 {
		return "a run without history"
	}
	return fmt.Sprintf("a run with history since event %d", g.since)
}
