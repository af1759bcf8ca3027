package integration_test

import (
	"maps"

	"kojisnap/kojisnap/relation"
)

// model is what the judge knows of a staging database from having watched it, apart from what
// kojisnap has on record there.
type model struct {
	own     map[string]map[string]bool // rows that staging made
	placed  state                      // production's unversioned rows as loads left them
	stands  map[string]standing        // production's builds, by id
	removed removals                   // what staging removed of production's
	erased  map[string]map[string]bool // keys of production's versioned rows that staging deleted, with production's ids
	loaded  []*loaded
	held    map[string]int // the event that a tag of production's was loaded with last
	truth   *truth         // the newest that is known of production
}

// standing is where a load put a build, and in which state; and where production has it.
type standing struct{ volume, state, production string }

func newModel(fresh state) *model {
	m := &model{own: map[string]map[string]bool{}, placed: state{}, stands: map[string]standing{}, removed: newRemovals(),
		erased: map[string]map[string]bool{}, held: map[string]int{}}
	for _, r := range relation.All() {
		m.own[r.Name], m.placed[r.Name], m.erased[r.Name] = map[string]bool{}, map[string]row{}, map[string]bool{}
		for key := range fresh[r.Name] {
			m.own[r.Name][key] = true
		}
	}
	return m
}

// worked watches what staging did: rows that were not there are its own. It returns what of
// versioned relations it was about.
func (m *model) worked(before, after state) []subjectKey {
	ids := readMapping(before)
	for _, r := range relation.All() {
		for key, d := range after[r.Name] {
			_, was := before[r.Name][key]
			_, placed := m.placed[r.Name][key]
			if !was && !placed && !(r.Versioned && !isOwn(d)) {
				m.own[r.Name][key] = true
			}
		}
		for key, b := range before[r.Name] {
			if _, there := after[r.Name][key]; r.Versioned && !there && !isOwn(b) {
				m.erased[r.Name][keyOf(r.Name, ids.production(r, b))] = true
			}
		}
	}
	m.forget(after)
	return m.removed.watch(before, after)
}

// forget drops staging's rows that are no more.
func (m *model) forget(now state) {
	for rel, keys := range m.own {
		for key := range keys {
			if _, ok := now[rel][key]; !ok {
				delete(keys, key)
			}
		}
	}
}

// edited reports whether staging changed a row of production's since a load wrote it. On which
// volume a build stands is apart from that, and whether an rpm is a draft is its build's.
func (m *model) edited(rel, key string, now state) bool {
	apart := "volume_id"
	if rel == "rpminfo" {
		apart = "draft"
	}
	placed, ok := m.placed[rel][key]
	r, there := now[rel][key]
	return ok && there && !maps.Equal(placed.with(apart, ""), r.with(apart, ""))
}

// stood notes where a load put builds: one that passes the snapshot over does that, too.
func (m *model) stood(j *judge) {
	for key, b := range j.after["build"] {
		if m.own["build"][key] {
			continue
		}
		s, known := m.stands[b["id"]]
		want, inSnapshot := j.view["build"][key]
		if inSnapshot && !j.heldStays(key) {
			s.production = j.volumeName[want["volume_id"]]
		}
		if inSnapshot && j.satisfied["build"][key] {
			s.state = b["state"]
		}
		if !known || !j.moved(key) {
			s.volume = b["volume_id"]
		}
		m.stands[b["id"]] = s
	}
}

// load watches what a load did.
func (m *model) load(j *judge) {
	m.stood(j)
	m.removed.loaded(j)
	for tag := range j.want.scopeOf().tags {
		m.held[tag] = j.want.number()
	}
	for _, r := range relation.All() {
		if r.Versioned {
			continue
		}
		for key, now := range j.after[r.Name] {
			_, inSnapshot := j.view[r.Name][key]
			// With replace the load gave even a name of staging's another.
			renamed := r.Named() && j.before[r.Name][key] != nil && now["name"] == standIn(j.before[r.Name][key])
			if !m.own[r.Name][key] && (inSnapshot && j.satisfied[r.Name][key] || !inSnapshot && (renamed || !m.edited(r.Name, key, j.before))) {
				m.placed[r.Name][key] = now
			}
		}
		for key, placed := range m.placed[r.Name] {
			_, now := j.after[r.Name][key]
			_, before := j.before[r.Name][key]
			_, inSnapshot := j.view[r.Name][key]
			// What staging deleted is known as long as production has it.
			if !now && (before || !inSnapshot && j.covered[j.buildOf(r, placed, j.before)]) {
				delete(m.placed[r.Name], key)
			}
		}
	}
	m.forget(j.after)
}
