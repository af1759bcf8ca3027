package integration_test

import (
	"fmt"
	"maps"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/relation"
)

// truth is the history of production's versioned relations as it was when a snapshot was pulled,
// read from production's own tables.
type truth struct {
	events map[int]bool // that were committed by then
	rows   state        // by key, with production's ids; revoked rows too
	names  state        // the relations that are known by name
	builds map[string]row
	rpms   map[string]map[string]row // by build
	types  map[string]map[string]row
}

func readTruth(t testing.TB, prod *hubtest.Memory) *truth {
	t.Helper()
	h := &truth{events: map[int]bool{}, rows: state{}, names: state{}, builds: map[string]row{},
		rpms: map[string]map[string]row{}, types: map[string]map[string]row{}}
	read := func(table string, each func(row)) {
		found, err := prod.Select(table, nil)
		must(t, err)
		for _, v := range found {
			each(textRow(v))
		}
	}
	read("events", func(e row) { h.events[e.id("id")] = true })
	for _, r := range relation.All() {
		if !r.Versioned && !r.Named() {
			continue
		}
		rows := map[string]row{}
		read(r.Name, func(v row) { rows[keyOf(r.Name, v)] = v })
		if r.Versioned {
			h.rows[r.Name] = rows
		} else {
			h.names[r.Name] = rows
		}
	}
	read("build", func(b row) { h.builds[b["id"]] = b })
	byBuild := func(into map[string]map[string]row, table string) {
		read(table, func(v row) {
			if into[v["build_id"]] == nil {
				into[v["build_id"]] = map[string]row{}
			}
			into[v["build_id"]][keyOf(table, v)] = v
		})
	}
	byBuild(h.rpms, "rpminfo")
	byBuild(h.types, "build_types")
	return h
}

// textRow is a row of hubtest's as COPY has it.
func textRow(v hubtest.Values) row {
	r := row{}
	for c, x := range v {
		switch x := x.(type) {
		case nil:
		case bool:
			r[c] = fmt.Sprint(x)[:1]
		default:
			r[c] = fmt.Sprint(x)
		}
	}
	return r
}

// visible reports whether a versioned row is in the view at an event.
func visible(d row, event int) bool {
	return d != nil && d.id("create_event") <= event && (d["revoke_event"] == "" || d.id("revoke_event") > event)
}

// scope is what a snapshot has all versioned rows of, by ids: those of tags and external repos. Of
// targets it has those that a tag of it is in.
type scope struct{ tags, repos, targets map[string]bool }

func (w *wanted) scopeOf() scope {
	s := scope{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, id := range w.scope {
		s.tags[id] = true
	}
	for _, r := range w.view["external_repo"] {
		s.repos[r["id"]] = true
	}
	for _, r := range w.view["build_target_config"] {
		s.targets[r["build_target_id"]] = true
	}
	return s
}

// has reports whether a versioned row is in the scope.
func (s scope) has(r *relation.Relation, d row) bool {
	switch r.Name {
	case "build_target_config":
		return s.tags[d["build_tag"]] || s.tags[d["dest_tag"]]
	case "external_repo_config":
		return s.repos[d["external_repo_id"]]
	}
	return s.tags[d["tag_id"]]
}

// part is a scope with the ids that a mapping gives it.
func (s scope) mapped(ids map[string]map[string]string) scope {
	to := func(rel string, from map[string]bool) map[string]bool {
		out := map[string]bool{}
		for id := range from {
			if other, ok := ids[rel][id]; ok {
				id = other
			}
			out[id] = true
		}
		return out
	}
	return scope{to("tag", s.tags), to("external_repo", s.repos), to("build_target", s.targets)}
}

// immutable are the columns that no change of production's touches once the row is there.
func immutable(d row) row {
	d = maps.Clone(d)
	for _, c := range []string{"active", "revoke_event", "revoker_id"} {
		delete(d, c)
	}
	return d
}

// checkPull demands that a snapshot's view is production's at its event. Of builds that were
// reset, which leaves no event, it may have listings that are gone.
func checkPull(w *wanted, h *truth, event int) (problems []string) {
	in := w.scopeOf()
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		have := map[string]row{}
		for _, s := range w.view[r.Name] {
			have[keyOf(r.Name, s)] = s
		}
		for key, d := range h.rows[r.Name] {
			s, ok := have[key]
			delete(have, key)
			switch {
			case ok && !visible(d, event):
				problems = append(problems, fmt.Sprintf("the snapshot has %s %s, production revoked it at %s", r.Name, key, d["revoke_event"]))
			case ok && !maps.Equal(immutable(s), immutable(d)):
				problems = append(problems, fmt.Sprintf("the snapshot has %s %s as %v, production as %v", r.Name, key, s, d))
			case !ok && visible(d, event) && in.has(r, d):
				problems = append(problems, fmt.Sprintf("the snapshot does not have %s %s: %v", r.Name, key, d))
			}
		}
		for key, s := range have {
			if r.Name != "tag_listing" {
				problems = append(problems, fmt.Sprintf("the snapshot has %s %s, production has not: %v", r.Name, key, s))
			}
		}
	}
	return problems
}
