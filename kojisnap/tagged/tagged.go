package tagged

import (
	"maps"
	"math"
	"slices"
)

// Builds returns the builds that a tag holds, in the hub's order: with inherit, those of the
// tags that it inherits after its own; with latest, of each package the most recently tagged
// of the first tag that has one. Only complete builds of packages that are in the package
// list and not blocked count (readTaggedBuilds). Builds of which that is not known, because a package
// filter could not be evaluated, are in unknown instead.
func (v *View) Builds(tag int64, inherit, latest bool) (builds []Build, unknown []*Undecided) {
	order := v.inheritance(tag)
	packages := v.packageList(tag, order)
	tags := []int64{tag}
	if inherit {
		for _, s := range order {
			tags = append(tags, s.tag)
		}
	}
	open := undecided{view: v, tag: tag}
	seen := map[int64]bool{}
	for _, t := range tags {
		for _, l := range v.listing[t] {
			b := v.builds[l.build]
			if b == nil || b.State != Complete {
				continue
			}
			member := packages[b.PackageID]
			if member.in() == no || latest && seen[b.PackageID] {
				continue
			}
			seen[b.PackageID] = true
			found := *b
			found.TagID = t
			if member.in() == yes {
				builds = append(builds, found)
			} else {
				open.add(found, member.by, member.why)
			}
		}
	}
	return builds, open.all
}

const unlimited = math.MaxInt64

// step is one link in the order of inheritance.
type step struct {
	tag      int64
	depth    int64 // how many links may follow
	noconfig bool
	filters  []*filter
}

// inheritance returns the tags that a tag inherits, in the order in which they are searched
// (readFullInheritance). A tag comes twice if its first visit was more restricted.
func (v *View) inheritance(tag int64) []step {
	w := walk{view: v, visits: map[int64][]step{}}
	w.from(tag, []int64{tag}, unlimited, false, nil)
	return w.order
}

type walk struct {
	view   *View
	order  []step
	visits map[int64][]step
}

// from visits the parents of a tag, depth first. path is the path from the top, depth how many more links it
// allows.
func (w *walk) from(tag int64, path []int64, depth int64, noconfig bool, filters []*filter) {
	if depth < 1 {
		return
	}
	for _, l := range w.view.links[tag] {
		if slices.Contains(path, l.parent) || l.intransitive && len(path) > 1 {
			continue
		}
		next := l.maxdepth
		if depth != unlimited {
			next = min(next, depth) - 1
		}
		// As in Koji, a link without configuration makes its later siblings count as such, too.
		noconfig = noconfig || l.noconfig
		s := step{tag: l.parent, depth: next, noconfig: l.noconfig, filters: slices.Clone(filters)}
		if l.filter != nil {
			s.filters = append(s.filters, l.filter)
		}
		if slices.ContainsFunc(w.visits[l.parent], func(before step) bool { return before.covers(s, noconfig) }) {
			continue
		}
		w.visits[l.parent] = append(w.visits[l.parent], s)
		w.order = append(w.order, s)
		w.from(l.parent, append(slices.Clone(path), l.parent), next, noconfig, s.filters)
	}
}

// covers reports whether an earlier visit of a tag makes a later one needless.
func (s step) covers(later step, noconfig bool) bool {
	if len(s.filters) > 0 || s.noconfig && !noconfig {
		return false
	}
	return s.depth >= later.depth
}

// PossibleBuilds is Builds with those of which it is not known whether the tag holds them.
func (v *View) PossibleBuilds(tag int64, inherit, latest bool) []Build {
	builds, undecided := v.Builds(tag, inherit, latest)
	for _, u := range undecided {
		builds = append(builds, u.Builds...)
	}
	return builds
}

// AllBuilds returns every build of the snapshot, sorted by id.
func (v *View) AllBuilds() []Build {
	all := make([]Build, 0, len(v.builds))
	for _, id := range slices.Sorted(maps.Keys(v.builds)) {
		all = append(all, *v.builds[id])
	}
	return all
}
