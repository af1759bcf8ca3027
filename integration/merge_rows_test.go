package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/relation"
)

// sameRow compares what production has with what stands there, less what is not production's:
// where a build stands, and tasks and buildroots.
func (j *judge) sameRow(r *relation.Relation, s, d row) bool {
	for _, c := range r.Columns {
		if c.External || c.Name == "volume_id" {
			continue
		}
		sv, sok := s[c.Name]
		if dv, dok := d[c.Name]; sok != dok || sv != dv {
			return false
		}
	}
	return true
}

// subjects are the sets of columns in which rows must differ from one another.
func subjects(r *relation.Relation) (out [][]string) {
	if r.Name == "rpminfo" {
		return [][]string{{"name", "version", "release", "arch", "external_repo_id"}}
	}
	return r.Unique
}

func (j *judge) own(r *relation.Relation, key string) bool { return j.m.own[r.Name][key] }

// complete demands that each of the snapshot's rows is there as production has it, or that it
// is noted, truly, why not, and that nothing was changed then.
func (j *judge) complete(r *relation.Relation) {
	if j.satisfied == nil {
		j.satisfied, j.gone = map[string]map[string]bool{}, map[string]map[string]bool{}
	}
	j.satisfied[r.Name], j.gone[r.Name] = map[string]bool{}, map[string]bool{}
	// Who holds a place, by subject and values.
	holders := map[string][]string{}
	for i, u := range subjects(r) {
		for _, key := range sorted(j.after[r.Name]) {
			h := j.after[r.Name][key]
			if v, all := h.values(u); all && !(r.Name == "rpminfo" && h["draft"] == "t") {
				holders[fmt.Sprint(i, v)] = append(holders[fmt.Sprint(i, v)], key)
			}
		}
	}
	stuck := map[string]bool{}
	for again := true; again; {
		again = false
		for _, key := range sorted(j.view[r.Name]) {
			s := j.view[r.Name][key]
			d, there := j.after[r.Name][key]
			if there && j.sameRow(r, s, d) {
				j.satisfied[r.Name][key] = true
				continue
			}
			out, kept := j.entries("left_out", r.Name)[key], j.entries("kept", r.Name)[key]
			if !stuck[key] && (out != "" || kept != "") {
				stuck[key], again = true, true
			}
		}
	}
	for _, key := range sorted(j.view[r.Name]) {
		s := j.view[r.Name][key]
		var hangs string
		for _, c := range r.Columns {
			if c.Ref != "" && j.gone[c.Ref][s[c.Name]] {
				hangs = c.Ref + " " + s[c.Name]
			}
		}
		if j.satisfied[r.Name][key] {
			if id, ok := s["id"]; ok && hangs != "" {
				j.gone[r.Name][id] = true
			}
			continue
		}
		d, there := j.after[r.Name][key]
		b, was := j.before[r.Name][key]
		out, kept := j.entries("left_out", r.Name)[key], j.entries("kept", r.Name)[key]
		if stand := s["name"][:min(len(s["name"]), 30)] + "-production-" + s["id"]; r.InPlace && r.Named() && !was && there {
			if !j.sameRow(r, s.with("name", stand), d) || out == "" || j.cause(r, key, s, holders, stuck) == "" {
				j.problem("%s %s is %v, production has %v: %s", r.Name, key, d, s, out)
			}
			continue
		}
		if was != there || !maps.Equal(b.with("volume_id", ""), d.with("volume_id", "")) {
			j.problem("%s %s: it is %v, was %v, and production has %v", r.Name, key, d, b, s)
			continue
		}
		if id, ok := s["id"]; ok && (out != "" || hangs != "" || r.Name == "build" && j.heldStays(key)) && !(r.Named() && there) {
			j.gone[r.Name][id] = true
		}
		switch {
		case hangs != "" && (there || out != "" || j.old[r.Name][key]):
		case out == "" && kept == "" && j.old[r.Name][key] && !r.InPlace && j.cause(r, key, s, holders, stuck) != "":
			// A load of what changed looks at such rows again when production changes them.
		case out == "" && kept == "":
			j.problem("%s %s: production has %v, staging %v, and nothing says why", r.Name, key, s, d)
		default:
			if why := j.cause(r, key, s, holders, stuck); why == "" {
				j.problem("%s %s: production has %v, staging %v, and it is not true that %s", r.Name, key, s, d, out+kept)
			}
		}
	}
}

// cause says why a row of the snapshot is not there as production has it, "" if it ought to be.
func (j *judge) cause(r *relation.Relation, key string, s row, holders map[string][]string, stuck map[string]bool) string {
	b, was := j.before[r.Name][key]
	placed := j.m.placed[r.Name][key]
	replace := j.replaces()
	for i, u := range subjects(r) {
		v, all := s.values(u)
		if !all || r.Name == "rpminfo" && s["draft"] == "t" {
			continue
		}
		// Of an image that was not asked for since, a snapshot may still have an rpm that was made again.
		twice := func(h string) bool { return r.Name == "rpminfo" && j.satisfied[r.Name][h] }
		for _, h := range holders[fmt.Sprint(i, v)] {
			if h == key || replace && !twice(h) {
				continue
			}
			own := j.own(r, h)
			if own && r.Named() && !was && !j.standsElsewhere(r, h) {
				return "" // it should have been taken for the same
			}
			if own || stuck[h] || twice(h) || j.m.edited(r.Name, h, j.before) || r.Name == "rpminfo" && j.entries("kept", r.Name)[h] != "" {
				return "its place is held by " + h
			}
		}
	}
	switch {
	case r.Name == "build" && j.heldStays(key):
		return "staging made it its own"
	case r.Name == "build" && !replace && was && b["draft"] == "t" && s["draft"] == "f":
		for _, rpm := range j.after["rpminfo"] {
			if rpm["build_id"] != s["id"] {
				continue
			}
			for other, h := range j.after["rpminfo"] {
				a, _ := rpm.values(subjects(relation.Get("rpminfo"))[0])
				if v, _ := h.values(subjects(relation.Get("rpminfo"))[0]); v == a && h["draft"] != "t" && other != "id="+rpm["id"] {
					return "its rpms' places are held"
				}
			}
		}
	}
	switch {
	case r.InPlace && was && j.m.edited(r.Name, key, j.before):
		return "staging edited it"
	case was && j.own(r, key):
		return "staging made one"
	case !was && placed != nil && r.Columns[0].Name != "id":
		return "staging deleted it"
	}
	return ""
}

// standsElsewhere reports whether a row of staging's own stands for another row of production's.
func (j *judge) standsElsewhere(r *relation.Relation, key string) bool {
	for _, x := range j.after["kojisnap.idmap"] {
		if x["relation"] == r.Name && "id="+x["staging_id"] == key {
			return true
		}
	}
	return false
}

// buildOf is the id of the build that a row hangs on.
func (j *judge) buildOf(r *relation.Relation, d row, in state) string {
	switch first := r.Columns[0]; {
	case r.Versioned:
		return ""
	case r.Name == "build":
		return d["id"]
	case r.Index("build_id") >= 0:
		return d["build_id"]
	case first.Ref == "rpminfo" || first.Ref == "archiveinfo":
		return in[first.Ref]["id="+d[first.Name]]["build_id"]
	}
	return ""
}

// noted demands that what is noted of rows that the snapshot has not, or of those that are as
// production has them, is true.
func (j *judge) noted(r *relation.Relation) {
	for _, list := range []string{"left_out", "kept"} {
		for _, key := range sorted(j.entries(list, r.Name)) {
			why := j.entries(list, r.Name)[key]
			if r.Name == "build" && strings.Contains(why, "staging moved it to volume") {
				why = strings.Join(slices.DeleteFunc(strings.Split(why, "; "), func(s string) bool { return strings.HasPrefix(s, "staging moved it") }), "; ")
				if !j.moved(key) {
					j.problem("build %s: it is not true that staging moved it", key)
				}
			}
			_, in := j.view[r.Name][key]
			d, there := j.after[r.Name][key]
			switch {
			case r.Versioned && (list == "kept" || !in || there):
				j.problem("%s %s is noted, though it is no row that could not go in: %s", r.Name, key, why)
			case r.Versioned:
			case why == "", in && !j.satisfied[r.Name][key]:
			case in:
				j.problem("%s %s is as production has it, but is noted: %s", r.Name, key, why)
			case strings.Contains(why, "production deleted it"):
				if j.referring(r.Name, d["id"]) == "" {
					j.problem("%s %s: it is not true that %s", r.Name, key, why)
				}
			case r.Named() && j.own(r, key):
			case r.InPlace && list == "kept" && there && j.m.edited(r.Name, key, j.before): // it is staging's, whether production has it still or not
			default:
				j.problem("%s %s is not in the snapshot, but noted: %s", r.Name, key, why)
			}
		}
	}
}
