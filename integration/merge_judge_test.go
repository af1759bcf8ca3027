package integration_test

import (
	"fmt"
	"maps"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/relation"
)

// judge says what is wrong with a load. It reads what was there before and after, and the
// snapshot, as plain rows; of kojisnap's bookkeeping it takes only which id stands for which,
// and what is noted as left out or kept.
type judge struct {
	m             *model
	before, after state
	want, base    *wanted   // the snapshot, and the one since which the load looked at what changed; nil: at all
	pulled        []*wanted // all snapshots that there are
	opt           dbsync.LoadOptions
	rep           *book.LoadReport
	refs          []reference

	ids        mapping
	user       string                     // kojisnap's id
	view       state                      // the snapshot's rows with staging's ids
	old        map[string]map[string]bool // those that the base has too, which a load does not look at
	scope      map[string]bool
	volumeName map[string]string // production's
	made       map[string]map[string]bool
	satisfied  map[string]map[string]bool              // rows of the view that are there as production has them
	gone       map[string]map[string]bool              // ids of rows that did not go in, and what refers to them does not either
	covered    map[string]bool                         // builds whose rows the snapshot has completely
	mayGo      map[string]map[string]bool              // rows of staging's that have to give way
	notes      map[string]map[string]map[string]string // by list, relation and key: why
	told       map[string]map[string]map[string]bool   // what the report lists, by production's keys
	problems   []string
}

const floor = book.DefaultFloor

func (j *judge) replaces() bool { return j.opt.OnConflict == dbsync.Replace }

func (j *judge) problem(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// judgeLoad returns what is wrong with a load.
func (j *judge) judgeLoad() []string {
	j.readBook()
	j.mapView()
	j.mapReset()
	j.cover()
	for _, r := range relation.All() {
		if !r.Versioned && r.Name != "volume" {
			j.complete(r)
		}
	}
	if j.opt.OnConflict == dbsync.Replace {
		j.giveWay()
	}
	for _, r := range relation.All() {
		if r.Versioned {
			j.mergedNow(r)
		} else {
			j.changes(r)
		}
		j.noted(r)
	}
	j.leaving()
	j.volumes()
	j.others()
	j.counted()
	j.touched()
	j.pinned()
	j.pastViews()
	return j.problems
}

// mapView gives the snapshot's rows staging's ids.
func (j *judge) mapView() {
	j.ids, j.made = readMapping(j.after), map[string]map[string]bool{}
	for _, r := range relation.All() {
		j.made[r.Name] = map[string]bool{}
	}
	mine := map[string]map[string]string{} // staging's own rows that stand for production's
	for _, r := range j.after["kojisnap.idmap"] {
		rel, id := r["relation"], r["staging_id"]
		_, there := j.after[rel]["id="+id]
		switch own := j.m.own[rel]["id="+id]; {
		case r["made"] == "t":
			j.made[rel][id] = true
			if own {
				j.problem("%s %s is staging's, but taken for one that a load made", rel, id)
			}
		case !own || !there:
			j.problem("production's %s %s is mapped to %s, which is no row of staging's own", rel, r["prod_id"], id)
		default:
			if mine[rel] == nil {
				mine[rel] = map[string]string{}
			}
			mine[rel][r["prod_id"]] = id
		}
	}
	j.view, j.old = state{}, map[string]map[string]bool{}
	for _, r := range relation.All() {
		j.view[r.Name], j.old[r.Name] = map[string]row{}, map[string]bool{}
		base := map[string]row{}
		if j.base != nil {
			for _, s := range j.base.view[r.Name] {
				base[keyOf(r.Name, s)] = s
			}
		}
		for _, s := range j.want.view[r.Name] {
			if id, ok := mine[r.Name][s["id"]]; ok && r.Name != "volume" {
				j.standsFor(r, s, j.after[r.Name]["id="+id])
				continue
			}
			v := j.ids.staging(r, s)
			j.view[r.Name][keyOf(r.Name, v)] = v
			j.old[r.Name][keyOf(r.Name, v)] = maps.Equal(base[keyOf(r.Name, s)], s)
		}
	}
	j.scope = j.want.scopeOf().mapped(j.ids.to).tags
	j.volumeName = map[string]string{}
	for _, v := range j.want.view["volume"] {
		j.volumeName[v["id"]] = v["name"]
	}
	for _, u := range j.after["users"] {
		if u["name"] == "kojisnap" {
			j.user = u["id"]
		}
	}
}

// heldEvent is the event that the database held, as far as the scope goes, 0 before the first load of it.
func (j *judge) heldEvent() (held int) {
	for tag := range j.want.scopeOf().tags {
		if event, ok := j.m.held[tag]; ok && (held == 0 || event < held) {
			held = event
		}
	}
	return held
}

// mapReset adds builds to the view that production reset or deleted, according to a snapshot since the one
// that the database held.
func (j *judge) mapReset() {
	r := relation.Get("build")
	held := j.heldEvent()
	for _, w := range j.pulled {
		if w.lost || w.number() > j.want.number() || w != j.want && (held == 0 || w.number() < held && j.base != nil) {
			continue
		}
		for _, s := range w.gone[r.Name] {
			v := j.ids.staging(r, s)
			key := keyOf(r.Name, v)
			b, there := j.before[r.Name][key]
			if _, in := j.view[r.Name][key]; !in && there && b["create_event"] == v["create_event"] {
				j.view[r.Name][key] = v
			}
		}
	}
}

// standsFor looks at a row of staging's own that stands for one of production's.
func (j *judge) standsFor(r *relation.Relation, s, own row) {
	if own["name"] != s["name"] && j.entries("kept", r.Name)["id="+own["id"]] == "" {
		j.problem("%s: production's %s %q is staging's %s %q, and nothing says so", r.Name, s["id"], s["name"], own["id"], own["name"])
	}
}
