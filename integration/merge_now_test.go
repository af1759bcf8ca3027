package integration_test

import (
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/relation"
)

// merge compares which rows of one versioned relation are active after a load with what is to be
// so: production's rows, over them what staging changed, subject by subject.
type merge struct {
	*judge
	r      *relation.Relation
	in     scope
	own    map[string]row // staging's active rows, by subject
	places []map[string]row
	here   map[string]bool // subjects of the snapshot's rows
}

// mergedNow demands that each row of a versioned relation is active, hidden or revoked as the
// three-way merge has it, and that staging's own are as they were.
func (j *judge) mergedNow(r *relation.Relation) {
	m := &merge{judge: j, r: r, in: j.want.scopeOf().mapped(j.ids.to), own: map[string]row{}, here: map[string]bool{}}
	for range r.Unique {
		m.places = append(m.places, map[string]row{})
	}
	for _, d := range j.after[r.Name] {
		if isOwn(d) && d["active"] == "t" {
			m.own[subject(r, d)] = d
			for i, u := range r.Unique {
				place, _ := d.values(u)
				m.places[i][place] = d
			}
		}
	}
	keys := map[string]bool{}
	for _, rows := range []map[string]row{j.before[r.Name], j.after[r.Name], j.view[r.Name]} {
		for key := range rows {
			keys[key] = true
		}
	}
	for _, s := range j.view[r.Name] {
		m.here[subject(r, s)] = true
	}
	for _, key := range sorted(keys) {
		b, was := j.before[r.Name][key]
		d, there := j.after[r.Name][key]
		s, wanted := j.view[r.Name][key]
		switch {
		case was && isOwn(b) || there && isOwn(d):
			m.ownRow(key, b, d)
		case wanted && !there:
			m.missing(key, s, was)
		case wanted:
			m.present(key, s, b, d)
		case !there:
			j.problem("%s %s is gone: %v", r.Name, key, b)
		case !was:
			m.passed(key, d)
		case !maps.Equal(immutable(b), immutable(d)):
			j.problem("%s %s was %v, is %v", r.Name, key, b, d)
		case m.in.has(r, b):
			m.left(key, b, d)
		case isHidden(b) && d["active"] == "t": // what hid it is no more
			m.present(key, b, b, d)
		case !maps.Equal(b, d) && !(m.here[subject(r, b)] || m.placed(b)):
			j.problem("%s %s is out of the scope, and was %v, but is %v", r.Name, key, b, d)
		case !maps.Equal(b, d):
			m.ended(key, b, d)
		}
	}
	m.toldOf()
}

// toldOf demands that what the snapshots since the one that the database held tell of revoked rows is so
// here: rows that were made and revoked between are there, and none has a guessed revocation any more.
func (m *merge) toldOf() {
	held := m.heldEvent()
	for _, w := range m.pulled {
		newer := held > 0 && w.number() > held
		if w.lost || w.number() > m.want.number() || w != m.want && !newer && m.base != nil {
			continue // a load has no cause to read it
		}
		for _, told := range sorted(w.gone[m.r.Name]) {
			s := m.ids.staging(m.r, w.gone[m.r.Name][told])
			key := keyOf(m.r.Name, s)
			_, now := m.view[m.r.Name][key]
			switch d, there := m.after[m.r.Name][key]; {
			case !m.in.has(m.r, s) || now || m.hangs(m.r, s) != "":
			case !there && newer:
				m.problem("%s %s is missing: production made and revoked it since event %d, says snapshot %s: %v", m.r.Name, key, held, w.id, s)
			case there && !isOwn(d) && d["revoke_event"] != "" && !isHidden(d) && !m.truly(d):
				m.problem("%s %s is revoked by %v, but snapshot %s tells who did it when: %v", m.r.Name, key, revoked(d), w.id, s)
			}
		}
	}
}

// ownRow looks at a row that staging made.
func (m *merge) ownRow(key string, b, d row) {
	switch {
	case maps.Equal(b, d):
		if m.replaces() && d["active"] == "t" && m.inTheWay(d) {
			m.problem("%s %s of staging's should have given way: %v", m.r.Name, key, d)
		}
	case d == nil && m.mayGo[m.r.Name][key]: // its build gave way
	case b == nil && m.r.Name == "tag_inheritance" && d["create_event"] == d["revoke_event"] && m.ofLoad(created(d)) && m.ofLoad(revoked(d)):
		// It tells Pungi that the tag changed.
	case b != nil && d != nil && m.replaces() && b["active"] == "t" && m.inTheWay(b):
		if d["active"] != "" || !m.ofLoad(revoked(d)) || !maps.Equal(immutable(b), immutable(d)) {
			m.problem("%s %s of staging's should have been revoked by the load: %v", m.r.Name, key, d)
		}
	default:
		m.problem("%s %s is staging's, and was %v, but is %v", m.r.Name, key, b, d)
	}
}

// inTheWay reports whether a row that the snapshot has needs the place of one of staging's.
func (m *merge) inTheWay(own row) bool {
	if m.here[subject(m.r, own)] {
		for key, s := range m.view[m.r.Name] {
			if subject(m.r, s) == subject(m.r, own) && m.after[m.r.Name][key] != nil {
				return true
			}
		}
	}
	for _, u := range m.r.Unique {
		place, _ := own.with("active", "t").values(u)
		for key, s := range m.view[m.r.Name] {
			if v, _ := s.values(u); v == place && m.after[m.r.Name][key] != nil {
				return true
			}
		}
	}
	return false
}

// placed reports whether the snapshot has a row that needs the place of one that is out of its scope.
func (m *merge) placed(b row) bool { return m.inTheWay(b) }

// ofLoad reports whether an event and a user are this load's.
func (j *judge) ofLoad(x by) bool {
	_, was := j.before["events"]["id="+x.event]
	_, there := j.after["events"]["id="+x.event]
	return !was && there && x.user == j.user && row{"e": x.event}.id("e") >= floor
}

// missing looks at a row of the snapshot that did not go in.
func (m *merge) missing(key string, s row, was bool) {
	why := m.hangs(m.r, s)
	switch {
	case why == "" || was:
		m.problem("%s %s: production has %v, staging nothing", m.r.Name, key, s)
	case m.entries("left_out", m.r.Name)[key] == "" && !m.old[m.r.Name][key]:
		m.problem("%s %s: production has %v, staging nothing, for %s, and nothing says so", m.r.Name, key, s, why)
	}
}

// hangs says on what a versioned row hangs that is not there, "" if all is.
func (j *judge) hangs(r *relation.Relation, s row) string {
	for _, c := range r.Columns {
		v, ok := s[c.Name]
		if !ok || c.Ref == "" || c.Ref == "events" {
			continue
		}
		if _, there := j.after[c.Ref]["id="+v]; !there {
			return c.Ref + " " + v
		}
	}
	return ""
}

// present looks at a row of the snapshot that is there.
func (m *merge) present(key string, s, b, d row) {
	if !maps.Equal(immutable(s), immutable(d)) {
		m.problem("%s %s: production has %v, staging %v", m.r.Name, key, s, d)
		return
	}
	why, by, unsure := m.hiding(s, b)
	switch {
	case d["active"] == "t":
		if why != "" && !unsure {
			m.problem("%s %s is active, but %s (it was %v)", m.r.Name, key, why, b)
		}
	case why == "":
		m.problem("%s %s is not active, and nothing of staging's is in its way: %v (it was %v, production has %v)", m.r.Name, key, d, b, s)
	case !isHidden(d):
		m.problem("%s %s should be hidden, as %s: %v", m.r.Name, key, why, d)
	case !by(revoked(d)) && !(isHidden(b) && revoked(b) == revoked(d)):
		m.problem("%s %s is hidden by %v, but %s (it was %v)", m.r.Name, key, revoked(d), why, b)
	case !isHidden(b) && !m.told["kept"][m.r.Name][keyOf(m.r.Name, m.ids.production(m.r, d))]:
		m.problem("%s %s was hidden, and the report does not say so: %v", m.r.Name, key, d)
	}
}

// hiding says why a row that production has is not active in staging, and whose event and user
// may stand on it; "" if it is active. unsure: it may be.
func (m *merge) hiding(s, b row) (why string, ok func(by) bool, unsure bool) {
	if why, ok, unsure = m.decidedOn(s, b); why != "" && !unsure || b["active"] == "t" {
		return why, ok, unsure
	}
	if tag, removed := m.removedTag(s); tag != "" {
		of := ok // not the result, which this very function is to be
		return "staging removed its tag " + tag, func(x by) bool { return x == removed || of != nil && of(x) }, false
	}
	return why, ok, unsure
}

// removedTag finds a tag that a row refers to and that has no config any more, as staging removed it.
func (m *merge) removedTag(s row) (tag string, last by) {
	for _, c := range m.r.Columns {
		if c.Ref != "tag" || m.r.Name == "tag_config" {
			continue
		}
		last, active := by{event: "0"}, false
		for _, d := range m.after["tag_config"] {
			if d["tag_id"] == s[c.Name] {
				active = active || d["active"] == "t"
				if e := d.id("revoke_event"); e >= floor && e > (row{"e": last.event}).id("e") {
					last = revoked(d)
				}
			}
		}
		if !active && last.event != "0" {
			return s[c.Name], last
		}
	}
	return "", by{}
}

// decidedOn says why of staging's own changes a row is hidden.
func (m *merge) decidedOn(s, b row) (why string, ok func(by) bool, unsure bool) {
	if m.replaces() {
		return "", nil, false
	}
	if own := m.own[subject(m.r, s)]; own != nil {
		return fmt.Sprintf("staging has a row of its own: %v", own), func(x by) bool { return x == created(own) }, false
	}
	removed := m.m.removed[m.r.Name][subject(m.r, s)]
	if removed != nil && !removed.unsure {
		return fmt.Sprintf("staging removed it: %v", removed.by), m.said(s, removed), false
	}
	maybe := func(x by) bool { return removed != nil && m.said(s, removed)(x) }
	for i, u := range m.r.Unique {
		place, _ := s.values(u)
		if own := m.places[i][place]; own != nil {
			return fmt.Sprintf("staging holds its place: %v", own), func(x by) bool { return x == created(own) || maybe(x) }, false
		}
	}
	if m.r.Name == "tag_listing" && m.madeAnew("id="+s["build_id"]) && b["active"] != "t" {
		return "staging made its build its own", func(x by) bool { return m.ofLoad(x) || maybe(x) }, false
	}
	if removed != nil {
		return fmt.Sprintf("staging may have removed it: %v", removed.by), maybe, true
	}
	return "", nil, false
}

// said are the events and users by which staging revoked what there was of a row's subject.
func (m *merge) said(s row, removed *removal) func(by) bool {
	return func(x by) bool {
		if removed.by[x] {
			return true
		}
		for _, b := range m.before[m.r.Name] {
			if subject(m.r, b) == subject(m.r, s) && b["active"] == "" && b.id("revoke_event") >= floor && revoked(b) == x {
				return true
			}
		}
		return false
	}
}

// passed looks at a row that is new and not in the snapshot's view: production made and revoked
// it since what the database held.
func (m *merge) passed(key string, d row) {
	truth := m.truthOf(m.r, d)
	switch {
	case truth == nil:
		m.problem("%s %s is new, and production has no such row: %v", m.r.Name, key, d)
	case !m.truly(d) || !maps.Equal(immutable(truth), immutable(d)):
		m.problem("%s %s is new: %v, but production has %v", m.r.Name, key, d, truth)
	}
}

// truthOf is production's row of a key, with staging's ids, as it was known last: a reset deletes
// rows. nil if there never was one.
func (j *judge) truthOf(r *relation.Relation, d row) row {
	key := keyOf(r.Name, j.ids.production(r, d))
	for _, w := range slices.Backward(j.pulled) {
		if s, ok := w.truth.rows[r.Name][key]; ok {
			return j.ids.staging(r, s)
		}
	}
	for _, w := range j.pulled { // before the test began
		if s, ok := w.gone[r.Name][key]; ok {
			return j.ids.staging(r, s)
		}
	}
	return nil
}

// left looks at a row of the scope that production has no longer.
func (m *merge) left(key string, b, d row) {
	switch {
	case maps.Equal(b, d) && b.id("create_event") > m.want.number() && b["active"] == "":
		// An older snapshot was loaded: whatever it is, it is later than that.
	case b["active"] == "t" || isHidden(b):
		m.ended(key, b, d)
	case b.id("revoke_event") > m.want.number() && b.id("create_event") <= m.want.number():
		m.ended(key, b, d) // an older snapshot does not have it either
	case !maps.Equal(b, d) && !m.truly(d):
		m.problem("%s %s was revoked already: %v, but is %v", m.r.Name, key, b, d)
	}
}

// truly reports whether a revoked row has production's event and user; of a user that could not go
// in, the user kojisnap.
func (m *merge) truly(d row) bool {
	truth := m.truthOf(m.r, d)
	if truth == nil || truth["revoke_event"] == "" {
		return false
	}
	if m.hangs(m.r, row{"revoker_id": truth["revoker_id"]}) != "" {
		truth = truth.with("revoker_id", m.user)
	}
	return revoked(truth) == revoked(d)
}

// ended demands that a row is revoked as production did it, or, where nothing tells how, by the
// user kojisnap at the snapshot's event.
func (m *merge) ended(key string, b, d row) {
	switch {
	case d["active"] != "":
		m.problem("%s %s is active, but production has it no longer: %v", m.r.Name, key, d)
	case m.truly(d):
	case revoked(d) != by{m.want.event, m.user}:
		m.problem("%s %s should be revoked as in production, %v: %v (it was %v)", m.r.Name, key, m.truthOf(m.r, d), d, b)
	case m.knownRevoked(m.r, d):
		m.problem("%s %s: a snapshot tells who revoked it when, %v, but it is %v", m.r.Name, key, m.truthOf(m.r, d), d)
	}
}

// knownRevoked reports whether one of the snapshots since what the database held tells who revoked
// a row.
func (j *judge) knownRevoked(r *relation.Relation, d row) bool {
	p := j.ids.production(r, d)
	held := 0
	for tag, event := range j.m.held {
		if r.Name == "external_repo_config" || tag == p["tag_id"] || tag == p["build_tag"] || tag == p["dest_tag"] {
			held = max(held, event)
		}
	}
	truth := j.truthOf(r, d)
	if truth == nil || j.hangs(r, row{"revoker_id": truth["revoker_id"]}) != "" {
		return false
	}
	for _, w := range j.pulled {
		if event := w.number(); !w.lost && event > held && event <= j.want.number() && w.gone[r.Name][keyOf(r.Name, p)] != nil {
			return true
		}
	}
	return false
}
