package integration_test

import (
	"maps"
	"slices"
	"strings"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/relation"
)

// readBook reads what the load noted, by relation and key, and compares it with the report.
func (j *judge) readBook() {
	n := j.readNotes()
	// The report has the same, but with production's ids. Which versioned rows are hidden the
	// tables themselves tell.
	noted := 0
	j.told = map[string]map[string]map[string]bool{"left_out": {}, "kept": {}}
	tell := func(list string, entries []book.Entry) {
		for _, e := range entries {
			if j.told[list][e.Relation] == nil {
				j.told[list][e.Relation] = map[string]bool{}
			}
			j.told[list][e.Relation][e.Key] = true
			if list == "kept" && relation.Get(e.Relation).Versioned {
				continue
			}
			noted++
			if !slices.ContainsFunc(slices.Collect(maps.Values(j.notes[list][e.Relation])), func(why string) bool { return strings.Contains(why, e.What) }) {
				j.problem("%s %s: the report says %q, kojisnap.%s does not", e.Relation, e.Key, e.What, list)
			}
		}
	}
	tell("left_out", slices.Concat(j.rep.Conflicts, j.rep.LeftOut))
	tell("kept", j.rep.Kept)
	if noted != n {
		j.problem("the report has %d rows left out or kept, the database %d", noted, n)
	}
	for _, e := range j.rep.Conflicts {
		if relation.Get(e.Relation).Versioned {
			j.problem("%s %s: a versioned row is no conflict: %s", e.Relation, e.Key, e.What)
		}
	}
}

// readNotes reads what the last load that did anything noted, and returns how many rows that are.
func (j *judge) readNotes() (n int) {
	last := 0
	for _, table := range []string{"left_out", "kept"} {
		for _, r := range j.after["kojisnap."+table] {
			last = max(last, r.id("load_id"))
		}
	}
	last = max(last, j.load())
	j.notes = map[string]map[string]map[string]string{"left_out": {}, "kept": {}}
	for list := range j.notes {
		for _, r := range j.after["kojisnap."+list] {
			if r.id("load_id") != last {
				continue
			}
			n++
			if j.notes[list][r["relation"]] == nil {
				j.notes[list][r["relation"]] = map[string]string{}
			}
			j.notes[list][r["relation"]][r["key"]] += r["reason"] + "; "
		}
	}
	return n
}

// skipped judges a load that passed the snapshot over, as the database held it already: of each of
// production's builds that staging has made its own since, it must be on record.
func (j *judge) skipped() []string {
	j.readNotes()
	j.mapView()
	j.problems = nil // of names the next load that does anything tells
	for _, key := range sorted(j.view["build"]) {
		if j.held(key) && j.entries("kept", "build")[key] == "" {
			j.problem("build %s: staging made it its own, %v, and a load passed over it", key, j.after["build"][key])
		}
	}
	return j.problems
}

// load is the number of the last load.
func (j *judge) load() (last int) {
	for _, r := range j.after["kojisnap.load"] {
		last = max(last, r.id("id"))
	}
	return last
}

func (j *judge) entries(list, rel string) map[string]string { return j.notes[list][rel] }

// others demands that tables that no snapshot has are as they were.
func (j *judge) others() {
	for _, table := range sorted(j.before) {
		if rel := relation.Get(table); rel != nil && !rel.Optional || strings.HasPrefix(table, "kojisnap.") {
			continue
		}
		for _, key := range sorted(j.before[table]) {
			if _, there := j.after[table][key]; there || j.mayGo[table][key] {
				continue
			}
			if table == "rpm_checksum" && !j.signed(j.before[table][key]) {
				continue // a cache of what is no more
			}
			j.problem("%s %s is gone", table, key)
		}
		for _, key := range sorted(j.after[table]) {
			d := j.after[table][key]
			if _, was := j.before[table][key]; !was && !(table == "tag_updates" && d["updater_id"] == j.user && d["update_type"] == "2" && d.id("update_event") >= floor) {
				j.problem("%s %s is new", table, key)
			}
		}
	}
}

// signed reports whether the signature that a checksum is of is what it was.
func (j *judge) signed(sum row) bool {
	key := ""
	for k, sig := range j.before["rpmsigs"] {
		if sig["rpm_id"] == sum["rpm_id"] && sig["sigkey"] == sum["sigkey"] {
			key = k
		}
	}
	return key != "" && j.after["rpmsigs"][key] != nil && j.after["rpmsigs"][key]["sighash"] == j.before["rpmsigs"][key]["sighash"]
}

// counted demands that the report has the right numbers.
func (j *judge) counted() {
	changed := false
	for _, r := range relation.All() {
		n, taken := book.RelationReport{Relation: r.Name}, int64(0)
		for key, d := range j.after[r.Name] {
			b, was := j.before[r.Name][key]
			switch {
			case !was && r.Name == "tag_inheritance" && d["create_event"] == d["revoke_event"], !was && r.Name == "events" && d.id("id") >= floor:
			case !was:
				n.Inserted++
			case r.Versioned && b["active"] == "t" && d["active"] == "":
				n.Revoked++
			case r.Versioned && b["active"] == "" && d["active"] == "t":
				n.Unrevoked++
			case r.Versioned && revoked(b) != revoked(d):
				taken++ // it was revoked already: what production did is another revocation, or an update
			case r.Name == "rpminfo" && maps.Equal(b.with("draft", ""), d.with("draft", "")): // it follows the build's
				changed = changed || !maps.Equal(b, d)
			case !maps.Equal(b, d):
				n.Updated++
			}
		}
		for key := range j.before[r.Name] {
			if _, there := j.after[r.Name][key]; !there {
				n.Deleted++
			}
		}
		changed = changed || taken > 0 || n != book.RelationReport{Relation: r.Name}
		told := counted(j.rep, r.Name)
		if told.Inserted != n.Inserted || told.Deleted != n.Deleted || told.Revoked < n.Revoked || told.Revoked > n.Revoked+taken ||
			told.Unrevoked != n.Unrevoked || told.Updated == 0 && n.Updated > 0 || told.Revoked+told.Updated < n.Revoked+taken {
			j.problem("%s: the report counts %+v, not %+v and %d revoked as in production", r.Name, told, n, taken)
		}
	}
	if changed != j.rep.Changed() {
		j.problem("the report says changed=%v", j.rep.Changed())
	}
}

// touched demands that kojira and Pungi are told of each tag whose content changed.
func (j *judge) touched() {
	tell := func(tag, what string) {
		if name := j.after["tag"]["id="+tag]["name"]; !slices.Contains(j.rep.Touched, name) {
			j.problem("tag %s was not touched, though this changed: %s", name, what)
		}
	}
	builds := map[string]string{}
	for _, r := range relation.All() {
		changed := map[string]row{}
		for key, d := range j.after[r.Name] {
			if b, was := j.before[r.Name][key]; !was || !maps.Equal(b, d) {
				changed[key] = d
			}
		}
		for key, b := range j.before[r.Name] {
			if _, there := j.after[r.Name][key]; !there {
				changed[key] = b
			}
		}
		for key, d := range changed {
			_, was := j.before[r.Name][key]
			if r.Name == "tag" && was {
				tell(d["id"], "its name")
			}
			// What is in neither view as of now, before and after, is in one of production's events alone. Who
			// has a package is nothing that Koji takes a tag for changed for.
			shown := j.before[r.Name][key]["active"] == "t" || d["active"] == "t"
			if r.Versioned && r.Name != "tag_package_owners" && d["tag_id"] != "" && shown {
				tell(d["tag_id"], r.Name+" "+key)
			}
			if r.Name == "build" && was && !shownChange(j.before[r.Name][key], j.after[r.Name][key]) {
				continue
			}
			build := j.buildOf(r, d, j.before)
			if build == "" {
				build = j.buildOf(r, d, j.after)
			}
			if build != "" {
				builds[build] = r.Name + " " + key
			}
		}
	}
	for _, l := range j.after["tag_listing"] {
		if what, ok := builds[l["build_id"]]; ok && l["active"] == "t" {
			tell(l["tag_id"], what)
		}
	}
	j.marked()
}

// shownChange reports whether a build's row changed in what its tags show of it.
func shownChange(before, after row) bool {
	for _, c := range []string{"pkg_id", "version", "release", "epoch", "draft", "state", "volume_id", "extra"} {
		if before[c] != after[c] {
			return true
		}
	}
	return false
}

// marked demands that each tag that was touched has the rows that kojira and Pungi look for.
func (j *judge) marked() {
	updates, history := map[string]bool{}, map[string]bool{}
	for key, d := range j.after["tag_updates"] {
		if _, was := j.before["tag_updates"][key]; !was {
			updates[j.after["tag"]["id="+d["tag_id"]]["name"]] = true
		}
	}
	for key, d := range j.after["tag_inheritance"] {
		if _, was := j.before["tag_inheritance"][key]; !was && isOwn(d) {
			history[j.after["tag"]["id="+d["tag_id"]]["name"]] = true
		}
	}
	for _, name := range j.rep.Touched {
		if !updates[name] || !history[name] {
			j.problem("tag %s was touched, but there is no row of tag_updates (%v) or tag_inheritance (%v)", name, updates[name], history[name])
		}
	}
}

// counted returns the numbers that a report has of a relation, zeros if it does not mention it.
func counted(rep *book.LoadReport, name string) book.RelationReport {
	for _, r := range rep.Relations {
		if r.Relation == name {
			return r
		}
	}
	return book.RelationReport{Relation: name}
}
