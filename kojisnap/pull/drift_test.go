package pull_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// allowedDrift: an incremental pull may differ from a pull that asks for everything only where Koji
// leaves no event. It may differ until the sweep reaches the build, or until another change, which
// leaves an event, makes the pull ask for the build. These tests derive that rule from the hub's rows,
// independently of the code that they check.

// traceless are the changes that leave no event and are in no list by time. differ is what of a build may
// differ until it is asked for: relations, columns of its row, or everything that belongs to it.
var traceless = []struct {
	did    *regexp.Regexp
	differ []string
}{
	{regexp.MustCompile(`^reset build (\S+)`), []string{"all"}},
	{regexp.MustCompile(`^changed the owner of build (\S+)`), []string{"build.owner"}},
	{regexp.MustCompile(`^changed the completion time of build (\S+)`), []string{"build.completion_time"}},
	{regexp.MustCompile(`^moved build (\S+) to volume`), []string{"build.volume_id"}},
	{regexp.MustCompile(`^signed \d+ rpms of build (\S+)`), []string{"rpmsigs"}},
	{regexp.MustCompile(`^removed the signature "\w*" of rpm \d+ of build (\S+)`), []string{"rpmsigs"}},
	{regexp.MustCompile(`^imported rpm \d+ into build (\S+)`), []string{"rpminfo", "rpmsigs"}},
	// Of a build that only an image has, not a tag: untagging leaves an event.
	{regexp.MustCompile(`^deleted build (\S+)`), []string{"build.state"}},
}

// staleRows says, by build id, which rows and columns may differ, and because of which change.
type staleRows map[string]map[string]string

func (d staleRows) add(build, what, why string) {
	if d[build] == nil {
		d[build] = map[string]string{}
	}
	d[build][what] = why
}

func (d staleRows) has(build string, what ...string) bool {
	return slices.ContainsFunc(what, func(w string) bool { return d[build][w] != "" })
}

// note notes what may differ after a change.
func (w *changingHub) note(did string) {
	w.t.Helper()
	for _, kind := range traceless {
		m := kind.did.FindStringSubmatch(did)
		if m == nil {
			continue
		}
		build := w.buildID(m[1])
		if w.everything && kind.differ[0] == "build.state" { // it is in everything no more
			w.stale.add(build, "all", did)
		}
		for _, what := range kind.differ {
			w.stale.add(build, what, did)
		}
		if kind.differ[0] == "all" {
			// Images that had its rpms and archives as components lost them, too.
			for image := range w.images(build) {
				w.stale.add(image, "archive_rpm_components", did)
				w.stale.add(image, "archive_components", did)
			}
		}
	}
}

func (w *changingHub) buildID(nvr string) string {
	w.t.Helper()
	for _, b := range w.find("build", nil) {
		pkg := w.find("package", hubtest.Values{"id": b["pkg_id"]})
		if nvr == fmt.Sprintf("%s-%s-%s", pkg[0]["name"], b["version"], b["release"]) {
			return fmt.Sprint(b["id"])
		}
	}
	w.t.Fatalf("no build %s", nvr)
	return ""
}

// images returns the builds whose archives had a build's rpms or archives as components at the last full
// pull.
func (w *changingHub) images(build string) map[string]bool {
	in := map[string]bool{}
	of := ownersIn(w, w.last)
	for name, part := range componentOf {
		for _, row := range pulltest.SnapshotRows(w.t, w.last, name) {
			archive, id, _ := strings.Cut(row, "\t")
			if of[part][id] == build {
				in[of["archiveinfo"][archive]] = true
			}
		}
	}
	return in
}

// componentOf has the relation of the components in a relation's rows.
var componentOf = map[string]string{"archive_rpm_components": "rpminfo", "archive_components": "archiveinfo"}

// ownersIn returns the builds of a snapshot's rpms and archives.
func ownersIn(w *changingHub, snap *snapfile.Snapshot) map[string]map[string]string {
	of := map[string]map[string]string{"rpminfo": {}, "archiveinfo": {}}
	for name := range of {
		at := relation.Get(name).Index("build_id")
		for _, row := range pulltest.SnapshotRows(w.t, snap, name) {
			fields := strings.Split(row, "\t")
			of[name][fields[0]] = fields[at]
		}
	}
	return of
}

// forget drops the stale rows of builds that the current pull has to ask for: those in its slice of the
// sweep, and those with a trace.
func (w *changingHub) forget(all *snapfile.Snapshot) {
	w.t.Helper()
	if w.base == nil {
		clear(w.stale)
		return
	}
	m := w.base.Manifest
	since := hubtest.Time(m.EventTime.Add(-againOverlap).UnixMicro())
	after := int64(0)
	for _, e := range w.find("events", nil) {
		if e["time"].(hubtest.Time) < since {
			after = max(after, e["id"].(int64))
		}
	}
	scope := map[int64]bool{}
	for _, tag := range all.Manifest.Scope.All {
		scope[tag.ID] = true
	}
	known := map[string]bool{} // by the base: complete or deleted, and no draft
	rel := relation.Get("build")
	for _, row := range pulltest.SnapshotRows(w.t, w.base, "build") {
		f := strings.Split(row, "\t")
		known[f[0]] = (f[rel.Index("state")] == "1" || f[rel.Index("state")] == "2") && f[rel.Index("draft")] == "f"
	}
	stands := func(b hubtest.Values) bool {
		at, ok := b["completion_time"].(hubtest.Time)
		return ok && at > since
	}
	completed := 0 // builds in the list by time
	for _, b := range w.find("build", nil) {
		if stands(b) {
			completed++
		}
	}
	carry := w.carryTagging()
	for id := range w.stale {
		b := w.find("build", hubtest.Values{"id": number(id)})[0]
		tagged, told := carry[id], false
		for _, l := range w.find("tag_listing", hubtest.Values{"build_id": number(id)}) {
			revoked, isRevoked := l["revoke_event"].(int64)
			if !scope[l["tag_id"].(int64)] || isRevoked && revoked <= m.Event {
				continue
			}
			tagged = true
			told = told || l["create_event"].(int64) > after || isRevoked
		}
		// A very long list is left to the sweep (askCompleted).
		told = told || stands(b) && completed <= 100
		swept := number(id)%againSweep == int64(m.Chain)%againSweep
		if swept || !known[id] || (tagged || w.everything) && told {
			delete(w.stale, id)
		}
	}
}

// carryTagging returns the stale builds that the base has tagged by a row which the hub deleted. The row stays until
// the build is asked for.
func (w *changingHub) carryTagging() map[string]bool {
	w.t.Helper()
	carry := map[string]bool{}
	rel := relation.Get("tag_listing")
	for _, row := range pulltest.SnapshotRows(w.t, w.base, rel.Name) {
		f := strings.Split(row, "\t")
		build := f[rel.Index("build_id")]
		if _, is := w.stale[build]; !is || carry[build] {
			continue
		}
		key := hubtest.Values{}
		for _, column := range rel.Key {
			key[column] = number(f[rel.Index(column)])
		}
		carry[build] = len(w.find(rel.Name, key)) == 0
	}
	return carry
}

// deviation is a row that only one snapshot has.
type deviation struct {
	rel     *relation.Relation
	fields  []string
	missing bool     // missing from the incremental pull
	revoked bool     // among the revoked rows, not in the view
	build   string   // the build that it belongs to, if any
	differ  []string // columns that differ from the other snapshot's row with the same key; nil: it has none
	allowed bool
	part    bool // only there as a component of an image
}

func (d *deviation) field(column string) string { return d.fields[d.rel.Index(column)] }

func (d *deviation) String() string {
	return fmt.Sprintf("%s of build %q (missing %v, revoked %v, other columns %v): %s", d.rel.Name, d.build, d.missing, d.revoked, d.differ, strings.Join(d.fields, "\t"))
}

// unexpected returns the deviations that are not allowed.
func (w *changingHub) unexpected(again, all *snapfile.Snapshot) []*deviation {
	w.t.Helper()
	ds := w.deviations(again, all)
	for _, d := range ds {
		d.allowed = w.isStale(d) || w.isReset(d)
	}
	// Drop rows that are only there because of allowed ones.
	for changed := true; changed; {
		changed = false
		for _, d := range ds {
			if !d.allowed && d.differ == nil && !d.revoked && slices.ContainsFunc(ds, func(by *deviation) bool { return d.comesWith(by) }) {
				d.allowed, changed = true, true
				d.part = d.build != ""
			}
		}
	}
	return slices.DeleteFunc(ds, func(d *deviation) bool { return d.allowed })
}

// isReset reports whether a row says that production reset or deleted a build that left, and notes which pull
// says so: an incremental pull may say it later, when it sweeps the build.
func (w *changingHub) isReset(d *deviation) bool {
	if d.rel.Name != "build" || !d.revoked {
		return false
	}
	if w.resets == nil {
		w.resets = map[string][2]bool{}
	}
	told := w.resets[d.fields[0]]
	told[map[bool]int{true: 1, false: 0}[d.missing]] = true
	w.resets[d.fields[0]] = told
	return true
}

// checkResets requires, after a whole sweep, that incremental pulls have reported each build that is still
// reset or deleted and that full pulls have reported.
func (w *changingHub) checkResets() {
	w.t.Helper()
	for id, told := range w.resets {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		state := w.find("build", hubtest.Values{"id": n})[0]["state"]
		if told[1] && !told[0] && state != int64(1) && state != int64(0) && state != int64(3) {
			w.t.Errorf("build %d has the state %v: only a full pull reported that", n, state)
		}
	}
}

// isStale reports whether a row differs only in what a traceless change may have changed.
func (w *changingHub) isStale(d *deviation) bool {
	switch {
	case d.build == "" || d.revoked && (w.since == 0 || d.rel.Name != "tag_listing"): // history is kept until the build is swept
		return false
	case w.stale.has(d.build, "all", d.rel.Name):
		return true
	case d.rel.Name == "build" && d.differ != nil:
		return !slices.ContainsFunc(d.differ, func(column string) bool { return !w.stale.has(d.build, "build."+column) })
	}
	return false
}

// comesWith reports whether a row is there only because of an allowed one: as its event, user or other name,
// as a component of an image, as the build of a component, or as what belongs to such a build or archive.
// Rows of a tagged build do not justify each other: each must be allowed itself.
func (d *deviation) comesWith(by *deviation) bool {
	if !by.allowed || by.missing != d.missing {
		return false
	}
	refers := func(column string) bool { return by.rel.Index(column) >= 0 && by.field(column) == d.fields[0] }
	switch {
	case d.rel.Name == "rpminfo":
		return by.rel.Name == "archive_rpm_components" && refers("rpm_id")
	case d.rel.Name == "archiveinfo":
		return by.rel.Name == "archive_components" && refers("component_id")
	case d.rel.Name == "build":
		return by.part && (by.rel.Name == "rpminfo" || by.rel.Name == "archiveinfo") && refers("build_id")
	case d.rel.Index("archive_id") == 0:
		return by.part && by.rel.Name == "archiveinfo" && d.fields[0] == by.fields[0] && componentOf[d.rel.Name] == ""
	case d.rel.Index("build_id") == 0 && !d.rel.Versioned:
		return by.part && by.rel.Name == "build" && d.fields[0] == by.fields[0]
	case d.build == "" && d.rel.Key[0] == "id":
		return slices.ContainsFunc(by.rel.Columns, func(c relation.Column) bool { return c.Ref == d.rel.Name && refers(c.Name) })
	}
	return false
}

// deviations returns the rows that are not in both snapshots.
func (w *changingHub) deviations(again, all *snapfile.Snapshot) (ds []*deviation) {
	w.t.Helper()
	of := [2]map[string]map[string]string{ownersIn(w, again), ownersIn(w, all)}
	for _, rel := range relation.All() {
		for _, revoked := range []bool{false, true} {
			rows := [2][]string{rowsOf(w.t, again, rel.Name, revoked), rowsOf(w.t, all, rel.Name, revoked)}
			for side := range rows {
				others := map[string][]string{}
				for _, row := range difference(rows[1-side], rows[side]) {
					f := strings.Split(row, "\t")
					others[keyOf(rel, f)] = f
				}
				for _, row := range difference(rows[side], rows[1-side]) {
					d := &deviation{rel: rel, fields: strings.Split(row, "\t"), missing: side == 1, revoked: revoked}
					d.build = owner(d, of[side])
					if other := others[keyOf(rel, d.fields)]; other != nil {
						for i, c := range rel.Columns {
							if d.fields[i] != other[i] {
								d.differ = append(d.differ, c.Name)
							}
						}
					}
					ds = append(ds, d)
				}
			}
		}
	}
	return ds
}

// owner returns the build that a row belongs to, empty for rows of names, events and tags.
func owner(d *deviation, of map[string]map[string]string) string {
	switch rel := d.rel; {
	case rel.Name == "build":
		return d.fields[0]
	case rel.Index("build_id") >= 0:
		return d.field("build_id")
	case rel.Name == "rpmsigs":
		return of["rpminfo"][d.fields[0]]
	case rel.Index("archive_id") >= 0:
		return of["archiveinfo"][d.field("archive_id")]
	}
	return ""
}

func keyOf(rel *relation.Relation, fields []string) string {
	var key []string
	for _, i := range rel.KeyIndexes() {
		key = append(key, fields[i])
	}
	return strings.Join(key, "\t")
}
