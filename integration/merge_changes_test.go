package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/relation"
)

// standIn is what a load calls a row of production's whose name it cannot have, or whose new name it does
// not know.
func standIn(d row) string { return fmt.Sprintf("%.30s-production-%s", d["name"], d["id"]) }

// changes demands of each row that changed that it was production's and that production
// changed it so.
func (j *judge) changes(r *relation.Relation) {
	keys := map[string]bool{}
	for key := range j.before[r.Name] {
		keys[key] = true
	}
	for key := range j.after[r.Name] {
		keys[key] = true
	}
	for _, key := range sorted(keys) {
		b, was := j.before[r.Name][key]
		d, there := j.after[r.Name][key]
		if was == there && maps.Equal(b, d) {
			continue
		}
		_, inSnapshot := j.view[r.Name][key]
		moves := r.Name == "build" && was && there && maps.Equal(b.with("volume_id", ""), d.with("volume_id", "")) // judged apart
		switch {
		case j.own(r, key):
			if follows := r.Name == "rpminfo" && there && maps.Equal(b.with("draft", ""), d.with("draft", "")); follows && d["draft"] == j.after["build"]["id="+d["build_id"]]["draft"] {
				continue // whether it is a draft's is its build's
			}
			if !j.mayGo[r.Name][key] {
				j.problem("%s %s is staging's, and was %v, but is %v", r.Name, key, b, d)
			}
		case inSnapshot || moves:
			if !moves && j.m.edited(r.Name, key, j.before) && !j.mayGo[r.Name][key] {
				j.problem("%s %s was edited by staging to %v, but is %v", r.Name, key, b, d)
			}
		case !was:
			if why := j.unasked(r, d); why != "" {
				j.problem("%s %s is new: %v: %s", r.Name, key, d, why)
			}
		case !there:
			if why := j.mayDelete(r, key, b); why != "" && !j.mayGo[r.Name][key] {
				j.problem("%s %s was deleted: %s", r.Name, key, why)
			}
		case r.Named() && d["name"] == standIn(b) && maps.Equal(b.with("name", ""), d.with("name", "")),
			r.Name == "build" && d["release"] == "kojisnap,draft_"+d["id"] && maps.Equal(b.with("release", "").with("volume_id", ""), d.with("release", "").with("volume_id", "")):
			if !j.given(r, key, b) {
				j.problem("%s %s is called %v, but nothing took its name", r.Name, key, d)
			}
		case r.Name == "rpminfo" && maps.Equal(b.with("draft", ""), d.with("draft", "")) && d["draft"] == j.after["build"]["id="+d["build_id"]]["draft"]:
		default:
			j.problem("%s %s: it was %v, is %v, and the snapshot does not have it", r.Name, key, b, d)
		}
	}
}

// revokedBy reports whether a user is one that an earlier snapshot has, and that a revoked row of
// production's names.
func (j *judge) revokedBy(user row) bool {
	known := slices.ContainsFunc(j.pulled, func(w *wanted) bool {
		return slices.ContainsFunc(w.view["users"], func(u row) bool { return maps.Equal(u, user) })
	})
	if !known {
		return false
	}
	for _, r := range relation.All() {
		for _, d := range j.after[r.Name] {
			if r.Versioned && d["active"] != "t" && !isOwn(d) {
				for _, c := range r.Columns {
					if c.Ref == "users" && d[c.Name] == user["id"] {
						return true
					}
				}
			}
		}
	}
	return false
}

// unasked says why a row that is not in the snapshot may not be new.
func (j *judge) unasked(r *relation.Relation, d row) string {
	switch {
	case r.Name == "events" && (d["id"] == j.want.event || d.id("id") >= floor):
		return ""
	case r.Name == "events" && j.m.truth.events[d.id("id")]:
		return "" // of a row that was revoked since
	case r.Name == "users" && j.revokedBy(d):
		return ""
	case r.Name == "volume" && (d["name"] == "prod" || d["name"] == "staged" || strings.HasPrefix(d["name"], "prod_")):
		return ""
	}
	return "the snapshot does not have it"
}

// given reports whether a row of the snapshot has the name that a parked one had.
func (j *judge) given(r *relation.Relation, key string, b row) bool {
	name, _ := b.values(r.Unique[0])
	for other, d := range j.after[r.Name] {
		if v, _ := d.values(r.Unique[0]); v == name && other != key && j.satisfied[r.Name][other] {
			return true
		}
	}
	return false
}

// mayDelete says why a row may not have been deleted.
func (j *judge) mayDelete(r *relation.Relation, key string, b row) string {
	build := j.buildOf(r, b, j.before)
	switch {
	case r.Name == "events" || r.Name == "build" || r.Named():
		return "such rows never are"
	case r.InPlace && j.m.edited(r.Name, key, j.before):
		return "staging edited it"
	case j.covered[build]:
		return ""
	}
	if r.Name == "rpminfo" && !j.heldStays("id="+build) {
		name, _ := b.values(subjects(r)[0])
		for _, s := range j.view["rpminfo"] {
			if v, _ := s.values(subjects(r)[0]); v == name && s["draft"] != "t" {
				return ""
			}
		}
	}
	for _, c := range r.Columns {
		if c.Ref == "rpminfo" || c.Ref == "archiveinfo" {
			if _, there := j.after[c.Ref]["id="+b[c.Name]]; !there {
				return ""
			}
		}
	}
	return "nothing says that production did"
}

// leaving demands that what production no longer has is gone.
func (j *judge) leaving() {
	for _, r := range relation.All() {
		if r.Versioned {
			continue
		}
		for _, key := range sorted(j.after[r.Name]) {
			d := j.after[r.Name][key]
			if _, in := j.view[r.Name][key]; in || j.own(r, key) {
				continue
			}
			build := j.buildOf(r, d, j.after)
			switch {
			case r.Name == "rpminfo" || r.Name == "archiveinfo":
				if d.id("id") < floor && j.covered[build] && j.referring(r.Name, d["id"]) == "" {
					j.problem("%s %s is there, but production has it no longer", r.Name, key)
				}
			case r.Columns[0].Name != "id" && build != "" && j.covered[build] && !(r.InPlace && j.m.edited(r.Name, key, j.before)):
				j.problem("%s %s is there, but production has it no longer", r.Name, key)
			}
		}
	}
}

// referring names a row of staging's that refers to an rpm or an archive, "" if none does.
func (j *judge) referring(table, id string) string {
	for _, ref := range j.refs {
		if ref.to != table || ref.table == "rpm_checksum" {
			continue
		}
		for key, d := range j.after[ref.table] {
			if d[ref.column] == id && (relation.Get(ref.table) == nil || j.m.own[ref.table][key]) {
				return ref.table + " " + key
			}
		}
	}
	return ""
}
