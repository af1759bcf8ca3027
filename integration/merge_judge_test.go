package integration_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/relation"
)

// judge says what is wrong with a load. It reads what was there before and after, and the
// snapshot, as plain rows; of kojisnap's bookkeeping it takes only which id stands for which,
// and what is noted as left out or kept.
type judge struct {
	m             *model
	before, after state
	want, base    *wanted // the snapshot, and the one since which the load looked at what changed; nil: at all
	opt           dbsync.LoadOptions
	rep           *dbsync.LoadReport
	refs          []reference
	listed        map[string]bool // create_event and build_id of all rows of tag_listing that production has

	user       string                     // kojisnap's id
	view       state                      // the snapshot's rows with staging's ids
	old        map[string]map[string]bool // those that the base has too, which a load does not look at
	revoked    state
	scope      map[string]bool
	volumeName map[string]string // production's
	made       map[string]map[string]bool
	satisfied  map[string]map[string]bool // rows of the view that are there as production has them
	gone       map[string]map[string]bool // ids of rows that did not go in, and what refers to them does not either
	covered    map[string]bool            // builds of which the snapshot has all rows
	mayGo      map[string]map[string]bool // rows of staging's that have to give way
	notes      map[string]map[string]map[string]string
	problems   []string
}

const floor = dbsync.DefaultFloor

func (j *judge) problem(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// judgeLoad returns what is wrong with a load.
func (j *judge) judgeLoad() []string {
	j.readBook()
	j.mapView()
	j.cover()
	for _, r := range relation.All() {
		if r.Name != "volume" {
			j.complete(r)
		}
	}
	if j.opt.OnConflict == dbsync.Replace {
		j.giveWay()
	}
	for _, r := range relation.All() {
		j.changes(r)
		j.noted(r)
	}
	j.leaving()
	j.volumes()
	j.others()
	j.counted()
	j.touched()
	j.pinned()
	return j.problems
}

// readBook reads what the load noted, by relation and key.
func (j *judge) readBook() {
	last := 0
	for _, table := range []string{"left_out", "kept"} {
		for _, r := range j.after["kojisnap."+table] {
			last = max(last, r.id("load_id"))
		}
	}
	last = max(last, j.load())
	j.notes = map[string]map[string]map[string]string{"left_out": {}, "kept": {}}
	n := 0
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
	// The report has the same, but with production's ids.
	told := 0
	tell := func(list string, entries []dbsync.Entry) {
		for _, e := range entries {
			told++
			if !slices.ContainsFunc(slices.Collect(maps.Values(j.notes[list][e.Relation])), func(why string) bool { return strings.Contains(why, e.What) }) {
				j.problem("%s %s: the report says %q, kojisnap.%s does not", e.Relation, e.Key, e.What, list)
			}
		}
	}
	tell("left_out", slices.Concat(j.rep.Conflicts, j.rep.LeftOut))
	tell("kept", j.rep.Kept)
	if told != n {
		j.problem("the report has %d rows left out or kept, the database %d", told, n)
	}
}

// load is the number of the last load.
func (j *judge) load() (last int) {
	for _, r := range j.after["kojisnap.load"] {
		last = max(last, r.id("id"))
	}
	return last
}

func (j *judge) entries(list, rel string) map[string]string { return j.notes[list][rel] }

// mapView gives the snapshot's rows staging's ids.
func (j *judge) mapView() {
	ids := map[string]map[string]string{}
	j.made = map[string]map[string]bool{}
	for _, r := range relation.All() {
		ids[r.Name], j.made[r.Name] = map[string]string{}, map[string]bool{}
	}
	mine := map[string]map[string]string{} // staging's own rows that stand for production's
	for _, r := range j.after["kojisnap.idmap"] {
		rel, id := r["relation"], r["staging_id"]
		ids[rel][r["prod_id"]] = id
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
	convert := func(r *relation.Relation, s row) row {
		out := row{}
		for c, v := range s {
			rel := r.Columns[r.Index(c)].Ref
			if c == "id" {
				rel = r.Name
			}
			if id, ok := ids[rel][v]; ok && rel != "volume" {
				v = id
			}
			out[c] = v
		}
		return out
	}
	j.view, j.revoked, j.old = state{}, state{}, map[string]map[string]bool{}
	for _, r := range relation.All() {
		j.old[r.Name] = map[string]bool{}
		base := map[string]row{}
		if j.base != nil {
			for _, s := range j.base.view[r.Name] {
				base[keyOf(r.Name, s)] = s
			}
		}
		j.view[r.Name], j.revoked[r.Name] = map[string]row{}, map[string]row{}
		for _, s := range j.want.view[r.Name] {
			if id, ok := mine[r.Name][s["id"]]; ok && r.Name != "volume" {
				j.standsFor(r, s, j.after[r.Name]["id="+id])
				continue
			}
			v := convert(r, s)
			j.view[r.Name][keyOf(r.Name, v)] = v
			j.old[r.Name][keyOf(r.Name, v)] = maps.Equal(base[keyOf(r.Name, s)], s)
		}
		for _, s := range j.want.revoked[r.Name] {
			v := convert(r, s)
			j.revoked[r.Name][keyOf(r.Name, v)] = v
		}
	}
	j.scope = map[string]bool{}
	for _, id := range j.want.scope {
		if to, ok := ids["tag"][id]; ok {
			id = to
		}
		j.scope[id] = true
	}
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

// standsFor looks at a row of staging's own that stands for one of production's.
func (j *judge) standsFor(r *relation.Relation, s, own row) {
	if own["name"] != s["name"] && j.entries("kept", r.Name)["id="+own["id"]] == "" {
		j.problem("%s: production's %s %q is staging's %s %q, and nothing says so", r.Name, s["id"], s["name"], own["id"], own["name"])
	}
}

// cover finds the builds of which the snapshot has all rows.
func (j *judge) cover() {
	j.covered = map[string]bool{}
	for _, l := range j.view["tag_listing"] {
		if j.scope[l["tag_id"]] {
			j.covered[l["build_id"]] = true
		}
	}
	for _, b := range j.view["build"] {
		if b["state"] != "1" && b["state"] != "2" {
			j.covered[b["id"]] = true
		}
	}
	for key, b := range j.view["build"] {
		if j.heldStays(key) {
			delete(j.covered, b["id"])
		}
	}
}

// held reports whether staging made a build of production's its own.
func (j *judge) held(key string) bool {
	b, there := j.before["build"][key]
	s, inSnapshot := j.view["build"][key]
	if !there || !inSnapshot || j.m.own["build"][key] {
		return false
	}
	if j.sameRow(relation.Get("build"), s, b) {
		return false // production came to the same
	}
	known, placed := j.m.stands[b["id"]]
	return b.id("create_event") >= floor || placed && b["state"] != known.state ||
		b["draft"] != s["draft"] && j.m.edited("build", key, j.before)
}

func (j *judge) heldStays(key string) bool { return j.opt.OnConflict != dbsync.Replace && j.held(key) }

// moved reports whether staging moved a build to another volume.
func (j *judge) moved(key string) bool {
	b, there := j.before["build"][key]
	known, placed := j.m.stands[b["id"]]
	return there && placed && b["volume_id"] != known.volume && !(j.opt.OnConflict == dbsync.Replace && j.held(key))
}

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
		if was != there || !maps.Equal(b.with("volume_id", ""), d.with("volume_id", "")) {
			j.problem("%s %s: it is %v, was %v, and production has %v", r.Name, key, d, b, s)
			continue
		}
		if id, ok := s["id"]; ok && (out != "" || hangs != "" || r.Name == "build" && j.heldStays(key)) && !(r.Named() && there) {
			j.gone[r.Name][id] = true
		}
		switch {
		case hangs != "" && (there || out != "" || j.old[r.Name][key]):
		case out == "" && kept == "" && j.old[r.Name][key] && j.cause(r, key, s, holders, stuck) != "":
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
	replace := j.opt.OnConflict == dbsync.Replace
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
	case r.Versioned && was && b["active"] == "" && b.id("revoke_event") >= floor:
		return "staging revoked it"
	case r.InPlace && was && j.m.edited(r.Name, key, j.before):
		return "staging edited it"
	case was && j.own(r, key) && !r.Versioned:
		return "staging made one"
	case !was && placed != nil && !r.Versioned && r.Columns[0].Name != "id":
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
		case r.Versioned:
			j.revocation(r, key, b, d)
		case r.Named() && d["name"] == "kojisnap-parked-"+d["id"] && maps.Equal(b.with("name", ""), d.with("name", "")),
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

// unasked says why a row that is not in the snapshot may not be new.
func (j *judge) unasked(r *relation.Relation, d row) string {
	switch {
	case r.Name == "events" && (d["id"] == j.want.event || d.id("id") >= floor):
		return ""
	case r.Name == "volume" && (d["name"] == "prod" || d["name"] == "staged" || strings.HasPrefix(d["name"], "prod_")):
		return ""
	case r.Name == "tag_listing" && d.id("create_event") >= floor && d["create_event"] == d["revoke_event"] && d["creator_id"] == j.user && d["revoker_id"] == j.user:
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
	case r.Versioned || r.Name == "events" || r.Name == "build" || r.Named():
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

// inScope reports whether the snapshot has all rows of what a versioned row is about.
func (j *judge) inScope(r *relation.Relation, d row) bool {
	switch r.Name {
	case "build_target_config":
		return j.scope[d["build_tag"]] || j.scope[d["dest_tag"]]
	case "external_repo_config":
		_, ok := j.view["external_repo"]["id="+d["external_repo_id"]]
		return ok
	}
	return j.scope[d["tag_id"]]
}

// revocation looks at a versioned row that the snapshot does not have and that changed.
func (j *judge) revocation(r *relation.Relation, key string, b, d row) {
	is := func(x row) row {
		x = maps.Clone(x)
		for _, c := range []string{"active", "revoke_event", "revoker_id"} {
			delete(x, c)
		}
		return x
	}
	if b["active"] != "t" || d["active"] != "" || !maps.Equal(is(b), is(d)) {
		j.problem("%s %s: it was %v, is %v: no revocation", r.Name, key, b, d)
		return
	}
	event, user := j.want.event, j.user
	if s, ok := j.revoked[r.Name][key]; ok {
		event, user = s["revoke_event"], s["revoker_id"]
	}
	if d["revoke_event"] != event || d["revoker_id"] != user {
		j.problem("%s %s was revoked at %s by %s, not at %s by %s", r.Name, key, d["revoke_event"], d["revoker_id"], event, user)
	}
	if j.inScope(r, b) {
		return
	}
	for _, u := range r.Unique {
		subject := without(u, "active")
		name, _ := b.values(subject)
		for _, s := range j.view[r.Name] {
			if v, _ := s.values(subject); v == name {
				return
			}
		}
	}
	j.problem("%s %s was revoked, though it is out of the scope and nothing takes its place", r.Name, key)
}

func without(columns []string, drop string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == drop })
}

// leaving demands that what production no longer has is gone.
func (j *judge) leaving() {
	for _, r := range relation.All() {
		for _, key := range sorted(j.after[r.Name]) {
			d := j.after[r.Name][key]
			if _, in := j.view[r.Name][key]; in || j.own(r, key) {
				continue
			}
			build := j.buildOf(r, d, j.after)
			switch {
			case r.Versioned:
				if d["active"] == "t" && d.id("create_event") < floor && j.inScope(r, d) {
					j.problem("%s %s is active, but production has it no longer", r.Name, key)
				}
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
			d := j.after[r.Name][key]
			switch {
			case why == "", in && !j.satisfied[r.Name][key]:
			case in:
				j.problem("%s %s is as production has it, but is noted: %s", r.Name, key, why)
			case strings.Contains(why, "production deleted it"):
				if j.referring(r.Name, d["id"]) == "" {
					j.problem("%s %s: it is not true that %s", r.Name, key, why)
				}
			case r.Named() && j.own(r, key):
			default:
				j.problem("%s %s is not in the snapshot, but noted: %s", r.Name, key, why)
			}
		}
	}
}

// volumes demands that builds stand where their files are.
func (j *judge) volumes() {
	name := map[string]string{}
	for _, v := range j.after["volume"] {
		name[v["id"]] = v["name"]
	}
	for _, key := range sorted(j.after["build"]) {
		d := j.after["build"][key]
		if j.own(relation.Get("build"), key) {
			continue
		}
		b, was := j.before["build"][key]
		known := j.m.stands[d["id"]]
		want := name[b["volume_id"]]
		stays := j.heldStays(key) && (b.id("create_event") >= floor || b["state"] != known.state)
		if _, in := j.view["build"][key]; !in && was && (b.id("create_event") >= floor || b["state"] != known.state) {
			stays = true
		}
		if !stays && !j.moved(key) {
			production := known.production
			if s, in := j.view["build"][key]; in && !j.heldStays(key) {
				production = j.volumeName[s["volume_id"]]
			}
			before := known.volume
			if j.opt.OnConflict == dbsync.Replace && j.held(key) {
				before = b["volume_id"]
			}
			want = j.rule(d, production, name[before])
		}
		if name[d["volume_id"]] != want {
			j.problem("build %s stands on %s, not on %s (before: %s)", key, name[d["volume_id"]], want, name[b["volume_id"]])
		}
		if was && j.moved(key) && !strings.Contains(j.entries("kept", "build")[key], "staging moved it") {
			j.problem("build %s was moved by staging, which is not noted", key)
		}
	}
}

func (j *judge) rule(b row, production, before string) string {
	nvr := dbsync.NVR{Name: j.after["package"]["id="+b["pkg_id"]]["name"], Version: b["version"], Release: b["release"]}
	switch {
	case b["state"] != "1":
		return "DEFAULT"
	case slices.Contains(j.opt.Staged, nvr), j.opt.Staged == nil && before == "staged":
		return "staged"
	case production == "DEFAULT":
		return "prod"
	}
	return "prod_" + production
}

// others demands that tables that no snapshot has are as they were.
func (j *judge) others() {
	for _, table := range sorted(j.before) {
		if relation.Get(table) != nil || strings.HasPrefix(table, "kojisnap.") {
			continue
		}
		for _, key := range sorted(j.before[table]) {
			if _, there := j.after[table][key]; there || j.mayGo[table][key] {
				continue
			}
			if _, rpm := j.after["rpminfo"]["id="+j.before[table][key]["rpm_id"]]; table == "rpm_checksum" && !rpm {
				continue // a cache
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

// counted demands that the report has the right numbers.
func (j *judge) counted() {
	changed := false
	for _, r := range relation.All() {
		n := dbsync.RelationReport{Relation: r.Name}
		for key, d := range j.after[r.Name] {
			b, was := j.before[r.Name][key]
			switch {
			case !was && r.Name == "tag_listing" && d["create_event"] == d["revoke_event"], !was && r.Name == "events" && d.id("id") >= floor:
			case !was:
				n.Inserted++
			case r.Versioned && b["active"] == "t" && d["active"] == "":
				n.Revoked++
			case r.Versioned && b["active"] == "" && d["active"] == "t":
				n.Unrevoked++
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
		changed = changed || n != dbsync.RelationReport{Relation: r.Name}
		told := j.rep.Relation(r.Name)
		if told.Inserted != n.Inserted || told.Deleted != n.Deleted || told.Revoked != n.Revoked || told.Unrevoked != n.Unrevoked || told.Updated == 0 && n.Updated > 0 {
			j.problem("%s: the report counts %+v, not %+v", r.Name, told, n)
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
			if _, was := j.before[r.Name][key]; r.Name == "tag" && was {
				tell(d["id"], "its name")
			}
			if r.Versioned && d["create_event"] != d["revoke_event"] && d["tag_id"] != "" {
				tell(d["tag_id"], r.Name+" "+key)
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
}

// pinned demands that calls pinned at an event that was loaded answer as they did.
func (j *judge) pinned() {
	event, _ := strconv.Atoi(j.want.event)
	j.m.loaded = slices.DeleteFunc(j.m.loaded, func(l loaded) bool { return l.event > event }) // rolled back
	visible := func(d row, e int) bool {
		return d != nil && d.id("create_event") <= e && (d["revoke_event"] == "" || d.id("revoke_event") > e)
	}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		for _, key := range sorted(j.after[r.Name]) {
			b, d := j.before[r.Name][key], j.after[r.Name][key]
			if maps.Equal(b, d) || d.id("create_event") >= floor || j.m.was[r.Name][key] {
				continue
			}
			if r.Name == "tag_listing" && !j.listed[d["create_event"]+" "+d["build_id"]] {
				continue // of a build that was reset, which not all pulls know yet
			}
			if b == nil && j.m.placed[r.Name][key] != nil {
				continue // staging reset the build, and gives way
			}
			for _, l := range j.m.loaded {
				tags := l.scope[d["tag_id"]] || l.scope[d["build_tag"]] || l.scope[d["dest_tag"]]
				late := !l.known[d.id("create_event")] || d["revoke_event"] != "" && !l.known[d.id("revoke_event")] && d.id("revoke_event") <= l.event
				if tags && !late && visible(b, l.event) != visible(d, l.event) {
					j.problem("%s %s: pinned at event %d, it was %v and is %v", r.Name, key, l.event, b, d)
				}
			}
		}
	}
}
