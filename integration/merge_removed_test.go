package integration_test

import (
	"cmp"
	"fmt"
	"maps"

	"kojisnap/kojisnap/relation"
)

// removal is staging's word that it does not want what production has of a subject.
type removal struct {
	key    row         // the subject
	by     map[by]bool // who said so when; of several people each may be named
	unsure bool        // the rules leave it open whether it still holds
}

// removals are what staging removed and did not make again, by relation and subject, as the test
// saw it happen.
type removals map[string]map[string]*removal

func newRemovals() removals {
	all := removals{}
	for _, r := range relation.All() {
		if r.Versioned {
			all[r.Name] = map[string]*removal{}
		}
	}
	return all
}

// worked is what staging did to one subject.
type worked struct {
	key     row
	revoked map[by]bool // rows that were active, or made meanwhile
	ended   bool        // one of them was active
	made    bool        // a row of staging's own
	erased  bool        // a row of it was deleted
}

// watch takes in what staging did between two states.
func (all removals) watch(before, after state) (touched []subjectKey) {
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		done := map[string]*worked{}
		of := func(d row) *worked {
			s := subject(r, d)
			if done[s] == nil {
				done[s] = &worked{key: pick(d, subjectOf(r)), revoked: map[by]bool{}}
				touched = append(touched, subjectKey{r, done[s].key})
			}
			return done[s]
		}
		for key, d := range after[r.Name] {
			b, was := before[r.Name][key]
			if was && maps.Equal(b, d) {
				continue
			}
			if !was {
				of(d).made = true
			}
			if d["active"] == "" {
				of(d).revoked[revoked(d)] = true
				of(d).ended = of(d).ended || was
			}
		}
		for key, b := range before[r.Name] {
			if _, there := after[r.Name][key]; !there {
				of(b).erased = true
			}
		}
		if len(done) == 0 {
			continue
		}
		own, hidden := map[string]bool{}, map[string]bool{}
		for _, d := range after[r.Name] {
			own[subject(r, d)] = own[subject(r, d)] || isOwn(d) && d["active"] == "t"
			hidden[subject(r, d)] = hidden[subject(r, d)] || isHidden(d)
		}
		for s, d := range done {
			all.decide(r.Name, s, d, own[s], hidden[s])
		}
	}
	return touched
}

// decide says what staging's deeds on a subject mean.
func (all removals) decide(rel, s string, d *worked, own, hidden bool) {
	was := all[rel][s]
	switch {
	case own:
		delete(all[rel], s) // it has one, and so has undone what it removed
	case d.erased:
		// Nothing is left that tells of it, unless kojisnap has it on record already.
		if was != nil {
			was.unsure = true
		}
	case len(d.revoked) == 0:
	case hidden: // production's own row, or one of staging's over it
		now := &removal{key: d.key, by: d.revoked, unsure: !d.ended}
		if was != nil {
			maps.Copy(now.by, was.by)
			now.unsure = now.unsure && was.unsure
		}
		all[rel][s] = now
	case was != nil && d.made: // made and removed again, while production has none
		was.unsure = true
	default: // its own, under which production had nothing
		delete(all[rel], s)
	}
}

// subjectKey names a subject.
type subjectKey struct {
	rel *relation.Relation
	key row
}

// pick takes some columns of a row.
func pick(d row, columns []string) row {
	out := row{}
	for _, c := range columns {
		if v, ok := d[c]; ok {
			out[c] = v
		}
	}
	return out
}

// loaded takes in what a load did: with replace it forgets what staging removed in its scope, and
// where it was unsure the load decided.
func (all removals) loaded(j *judge) {
	in := j.want.scopeOf().mapped(j.ids.to)
	for rel, removed := range all {
		r := relation.Get(rel)
		active := map[string]bool{}
		for key := range j.view[rel] {
			if d := j.after[rel][key]; d["active"] == "t" {
				active[subject(r, d)] = true
			}
		}
		for s, x := range removed {
			switch {
			case j.replaces() && (active[s] || in.has(r, x.key)):
				delete(removed, s)
			case j.replaces() && rel == "build_target_config":
				x.unsure = true
			case x.unsure && active[s]:
				delete(removed, s)
			}
		}
	}
}

func (k subjectKey) compare(other subjectKey) int {
	return cmp.Or(cmp.Compare(k.rel.Name, other.rel.Name), cmp.Compare(fmt.Sprint(k.key), fmt.Sprint(other.key)))
}
