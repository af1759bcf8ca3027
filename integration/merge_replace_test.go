package integration_test

import (
	"fmt"
	"maps"

	"kojisnap/kojisnap/relation"
)

// giveWay finds the rows of staging's that --on-conflict replace may change: those whose place
// the snapshot's rows take, and what refers to them.
func (j *judge) giveWay() {
	j.mayGo = map[string]map[string]bool{}
	allow := func(table, key string) bool {
		if j.mayGo[table] == nil {
			j.mayGo[table] = map[string]bool{}
		}
		was := j.mayGo[table][key]
		j.mayGo[table][key] = true
		return !was
	}
	var deleted func(table, key string)
	deleted = func(table, key string) {
		if !allow(table, key) {
			return
		}
		id, ok := j.before[table][key]["id"]
		for _, ref := range j.refs {
			if !ok || ref.to != table {
				continue
			}
			for child, c := range j.before[ref.table] {
				if c[ref.column] == id {
					deleted(ref.table, child)
				}
			}
		}
	}
	for _, r := range relation.All() {
		if r.Versioned {
			continue // judged apart
		}
		for i, u := range subjects(r) {
			takes := map[string]string{}
			for key, s := range j.view[r.Name] {
				if v, all := s.values(u); all && j.satisfied[r.Name][key] && !(r.Name == "rpminfo" && s["draft"] == "t") {
					takes[fmt.Sprint(i, v)] = key
				}
			}
			for key, h := range j.before[r.Name] {
				v, all := h.values(u)
				other, taken := takes[fmt.Sprint(i, v)]
				switch {
				case !all || !taken || other == key || r.Name == "rpminfo" && h["draft"] == "t":
				case maps.Equal(h, j.after[r.Name][key]):
				case r.Named() && j.own(r, key):
					if d := j.after[r.Name][key]; d["name"] != fmt.Sprintf("%.30s-staging-%s", h["name"], h["id"]) || !maps.Equal(d.with("name", ""), h.with("name", "")) {
						j.problem("%s %s should have been renamed: %v", r.Name, key, d)
					}
					allow(r.Name, key)
				case j.own(r, key), r.Name == "rpminfo":
					deleted(r.Name, key)
				default:
					allow(r.Name, key)
				}
			}
		}
	}
	for key := range j.view["build"] {
		if !j.held(key) {
			continue
		}
		allow("build", key)
		for _, table := range []string{"rpminfo", "archiveinfo"} {
			for child, c := range j.before[table] {
				if "id="+c["build_id"] == key && c.id("id") >= floor {
					deleted(table, child)
				}
			}
		}
	}
}
