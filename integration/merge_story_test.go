package integration_test

import (
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/relation"
)

// story is what chance seldom brings about: both sides remove the same, staging makes it again and
// takes that back, and production makes it again too. Then nothing of staging's is in its way.
type story struct {
	k    subjectKey
	step int  // what comes next
	due  bool // production has done its part of the step
}

// storyRelations are relations where a key may be removed and added at any time.
var storyRelations = []string{"tag_extra", "tag_packages", "tag_external_repos", "group_package_listing", "build_target_config"}

// produce is production's part, before a pull.
func (s *story) produce(t *testing.T, g *merging) {
	if s.k.rel == nil && !s.begin(g) {
		return
	}
	if s.due || s.step > 2 {
		return
	}
	s.due = true
	how := []string{"removed ", "", "added "}[s.step]
	for n := 0; how != ""; n++ {
		if n == 100 {
			s.step = 9 // it cannot be: what it hangs on is gone
			return
		}
		did, err := g.change(g.worker.mapping(), s.k)
		must(t, err)
		if did != "" {
			g.note(t, "production, of the story: "+did)
		}
		if strings.HasPrefix(did, how+s.k.rel.Name) {
			return
		}
	}
}

// stage is staging's part, after the pull and before the load.
func (s *story) stage(t *testing.T, g *merging) {
	if !s.due {
		return
	}
	s.due = false
	s.step++
	did := g.worker.once(deed{do: func(w *worker) string {
		cur, last := w.active(s.k.rel, s.k.key), w.newest(s.k.rel, s.k.key)
		switch {
		case s.step == 2 && cur == nil && last != nil && w.allows(s.k.rel, s.k.key):
			w.put(s.k.rel, last)
			return "made again "
		case s.step != 2 && cur != nil:
			w.drop(s.k.rel, s.k.key)
			return "removed "
		}
		return ""
	}})
	if did == "" {
		s.step = 9
		return
	}
	g.note(t, "staging, of the story: "+did+s.k.rel.Name)
}

// begin chooses what the story is about: something of production's that is active on both sides.
func (s *story) begin(g *merging) bool {
	if g.model.truth == nil {
		return false
	}
	ids := g.worker.mapping()
	var found []subjectKey
	for _, name := range storyRelations {
		r := relation.Get(name)
		for _, key := range sorted(g.model.truth.rows[name]) {
			d := ids.staging(r, g.model.truth.rows[name][key])
			if here := g.worker.active(r, pick(d, subjectOf(r))); d["active"] == "t" && here != nil && !isOwn(here) {
				found = append(found, subjectKey{r, pick(d, subjectOf(r))})
			}
		}
	}
	if len(found) == 0 {
		return false
	}
	slices.SortFunc(found, subjectKey.compare)
	s.k = found[g.rnd.IntN(len(found))]
	return true
}
