package tagged

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
)

// Builds returns the builds that a tag holds, in the hub's order: with inherit, those of the
// tags that it inherits after its own; with latest, of each package the most recently tagged
// of the first tag that has one. Only complete builds of packages that are in the package
// list and not blocked count (readTaggedBuilds).
func (v *View) Builds(tag int64, inherit, latest bool) ([]Build, error) {
	order, err := v.inheritance(tag)
	if err != nil {
		return nil, fmt.Errorf("tag %s: %w", v.Names[tag], err)
	}
	blocked := v.packageList(tag, order)
	tags := []int64{tag}
	if inherit {
		for _, s := range order {
			tags = append(tags, s.tag)
		}
	}
	var builds []Build
	seen := map[int64]bool{}
	for _, t := range tags {
		for _, l := range v.listing[t] {
			b := v.builds[l.build]
			if b == nil || b.State != Complete {
				continue
			}
			if isBlocked, listed := blocked[b.PackageID]; !listed || isBlocked || latest && seen[b.PackageID] {
				continue
			}
			seen[b.PackageID] = true
			found := *b
			found.TagID = t
			builds = append(builds, found)
		}
	}
	return builds, nil
}

// packageList returns, for the packages of a tag and of what it inherits, whether they are
// blocked. The first tag that lists a package decides; the filters of the links on the way
// choose what is inherited (readPackageList).
func (v *View) packageList(tag int64, order []step) map[int64]bool {
	list := map[int64]bool{}
	for id, blocked := range v.packages[tag] {
		list[id] = blocked
	}
	for _, s := range order {
		for id, blocked := range v.packages[s.tag] {
			if _, decided := list[id]; decided {
				continue
			}
			if !slices.ContainsFunc(s.filters, func(re *regexp.Regexp) bool { return !re.MatchString(v.Packages[id]) }) {
				list[id] = blocked
			}
		}
	}
	return list
}

const unlimited = math.MaxInt64

// step is one link in the order of inheritance.
type step struct {
	tag      int64
	depth    int64 // how many links may follow
	noconfig bool
	filters  []*regexp.Regexp
}

// inheritance returns the tags that a tag inherits, in the order in which they are searched
// (readFullInheritance). A tag comes twice if its first visit was more restricted.
func (v *View) inheritance(tag int64) ([]step, error) {
	w := walk{view: v, visits: map[int64][]step{}}
	err := w.from(tag, []int64{tag}, unlimited, false, nil)
	return w.order, err
}

type walk struct {
	view   *View
	order  []step
	visits map[int64][]step
}

// from visits the parents of a tag, depth first. path is the way from the top, depth what the
// links on it leave.
func (w *walk) from(tag int64, path []int64, depth int64, noconfig bool, filters []*regexp.Regexp) error {
	if depth < 1 {
		return nil
	}
	for _, l := range w.view.links[tag] {
		if slices.Contains(path, l.parent) || l.intransitive && len(path) > 1 {
			continue
		}
		next := l.maxdepth
		if depth != unlimited {
			next = min(next, depth) - 1
		}
		// As in Koji, a link without configuration makes its later siblings count as such too.
		noconfig = noconfig || l.noconfig
		s := step{tag: l.parent, depth: next, noconfig: l.noconfig, filters: slices.Clone(filters)}
		if l.filter != "" {
			// Python's re.match begins at the start of the name.
			re, err := regexp.Compile("^(?:" + l.filter + ")")
			if err != nil {
				return fmt.Errorf("package filter %q: %w", l.filter, err)
			}
			s.filters = append(s.filters, re)
		}
		if slices.ContainsFunc(w.visits[l.parent], func(before step) bool { return before.covers(s, noconfig) }) {
			continue
		}
		w.visits[l.parent] = append(w.visits[l.parent], s)
		w.order = append(w.order, s)
		if err := w.from(l.parent, append(slices.Clone(path), l.parent), next, noconfig, s.filters); err != nil {
			return err
		}
	}
	return nil
}

// covers reports whether an earlier visit of a tag makes a later one needless.
func (s step) covers(later step, noconfig bool) bool {
	if len(s.filters) > 0 || s.noconfig && !noconfig {
		return false
	}
	return s.depth >= later.depth
}

// All returns every build of the snapshot, by id.
func (v *View) All() []Build {
	all := make([]Build, 0, len(v.builds))
	for _, id := range slices.Sorted(maps.Keys(v.builds)) {
		all = append(all, *v.builds[id])
	}
	return all
}
