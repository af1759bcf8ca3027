package integration_test

import (
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/relation"
)

// loaded is an event that was loaded, at which calls may be pinned, and what production had then.
type loaded struct {
	event int
	in    scope // with production's ids
	// undone are tags and repos that an older snapshot was loaded for since.
	undone scope
	known  map[int]bool // the events of production that were committed when it was pulled
	view   state        // of production's versioned rows, with its ids, those of the scope
	free   map[string]map[string]bool
}

// newLoaded is the event that was loaded now.
func (j *judge) newLoaded() *loaded {
	l := &loaded{event: j.want.number(), in: j.want.scopeOf(), undone: scope{map[string]bool{}, map[string]bool{}, map[string]bool{}}, known: j.want.truth.events,
		view: state{}, free: map[string]map[string]bool{}}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		l.view[r.Name], l.free[r.Name] = map[string]row{}, map[string]bool{}
		for _, s := range j.want.view[r.Name] {
			key := keyOf(r.Name, s)
			if l.in.has(r, s) {
				l.view[r.Name][key] = s
			}
			if j.hangs(r, j.ids.staging(r, s)) != "" {
				l.free[r.Name][key] = true // it is judged by itself whether that is as it should be
			}
		}
	}
	return l
}

// compared reports whether a row, with production's ids, is held to what production had.
func (l *loaded) compared(r *relation.Relation, d row) bool {
	return l.in.has(r, d) && !l.undone.has(r, d) && !l.undone.targets[d["build_target_id"]]
}

// undo takes note that a snapshot of an earlier event was loaded. What that one has not may
// change at the events that are later.
func (l *loaded) undo(event int, of scope) {
	if l.event > event {
		maps.Copy(l.undone.tags, of.tags)
		maps.Copy(l.undone.repos, of.repos)
		maps.Copy(l.undone.targets, of.targets)
	}
}

// pinned demands that at every event that was loaded staging has what production had: the same
// rows, column by column. Exceptions are rows that hang on one that could not go in, and what
// was committed late, or was deleted, which only a reset does.
func (j *judge) pinned() {
	event := j.want.number()
	j.m.loaded = slices.DeleteFunc(j.m.loaded, func(l *loaded) bool {
		l.undo(event, j.want.scopeOf())
		return l.event == event && maps.Equal(l.in.tags, j.want.scopeOf().tags)
	})
	j.m.loaded = append(j.m.loaded, j.newLoaded())
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		here := productionRows(r, j.after, j.ids)
		for _, l := range j.m.loaded {
			wrong := j.pinnedAt(l, r, here)
			for _, key := range sorted(wrong) {
				j.problem("%s %s: at event %d %s", r.Name, key, l.event, wrong[key])
			}
		}
	}
}

// pinnedAt tells what is wrong with a relation at an event, by key. here are the rows that staging
// has of production's, with its ids.
func (j *judge) pinnedAt(l *loaded, r *relation.Relation, here map[string]row) map[string]string {
	wrong := map[string]string{}
	for key, s := range l.view[r.Name] {
		d := here[key]
		if !l.compared(r, s) {
			continue
		}
		now, still := j.m.truth.rows[r.Name][key]
		switch {
		case visible(d, l.event) && !maps.Equal(immutable(s), immutable(d)):
			wrong[key] = fmt.Sprintf("production has %v, staging %v", s, d)
		case visible(d, l.event), l.free[r.Name][key]:
		case !still && l.event != j.want.number(): // reset
		case still && !visible(now, l.event) && !l.known[now.id("revoke_event")]: // committed late
		case d == nil && j.m.erased[r.Name][key] && l.event != j.want.number(): // staging reset the build
		default:
			wrong[key] = fmt.Sprintf("production has it, staging not: %v", d)
		}
	}
	for key, d := range here {
		if j.m.truth.rows[r.Name][key] == nil && l.event != j.want.number() {
			continue // of a build that was reset, which not all snapshots know
		}
		if _, ok := l.view[r.Name][key]; !ok && visible(d, l.event) && l.compared(r, d) && l.known[d.id("create_event")] {
			wrong[key] = fmt.Sprintf("staging has it, production not: %v", d)
		}
	}
	return wrong
}

// productionRows are the rows of production's that staging has, by key, with production's ids.
func productionRows(r *relation.Relation, s state, ids mapping) map[string]row {
	out := map[string]row{}
	for _, d := range s[r.Name] {
		if !isOwn(d) {
			p := ids.production(r, d)
			out[keyOf(r.Name, p)] = p
		}
	}
	return out
}
