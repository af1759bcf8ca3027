package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/tagged"
)

// Undecided is a package filter that could not be evaluated, with the builds that the wanted tags have
// or do not have, depending on it.
type Undecided struct {
	Tags     []string `json:"tags"` // wanted ones
	Child    string   `json:"child"`
	Parent   string   `json:"parent"` // that the child inherits, through the filter
	Filter   string   `json:"filter"`
	Reason   string   `json:"reason"`
	Refused  bool     `json:"refused"`  // Python refuses it: no hub lists these tags
	Packages []string `json:"packages"` // of the builds
	Builds   int      `json:"builds"`
	Copied   int      `json:"copied"` // builds among these that had been copied, and stay
}

// String explains the filter and its consequences in one line, and says what to do.
func (u Undecided) String() string {
	names := strings.Join(u.Packages[:min(5, len(u.Packages))], ", ")
	if n := len(u.Packages) - 5; n > 0 {
		names += fmt.Sprintf(" and %d more", n)
	}
	tags := make([]string, len(u.Tags))
	for i, tag := range u.Tags {
		tags[i] = fmt.Sprintf("%q", tag)
	}
	why := "cannot be evaluated here: " + u.Reason
	if u.Refused {
		why = "is refused by Python, so that no hub lists these tags: " + u.Reason
	}
	return fmt.Sprintf("tag %s: the package filter %#q by which %q inherits from %q %s; builds of %d packages that it decides about (%s) stay where they are: "+
		"%d copied, %d on the read-only volume; change the filter in production", strings.Join(tags, ", "), u.Filter, u.Child, u.Parent, why,
		len(u.Packages), names, u.Copied, u.Builds-u.Copied)
}

// keepUndecided adds to the wanted builds those that may be wanted and have been copied: what cannot be
// decided stays as it is. Each filter is returned once, whatever the number of tags, and not at all if all of
// its builds are wanted anyway.
func keepUndecided(wanted map[int64][]string, open []*tagged.Undecided, copied func() map[string]bool) []Undecided {
	if len(open) == 0 {
		return nil
	}
	type link struct{ child, parent, filter string }
	certain, there := maps.Clone(wanted), copied()
	var all []Undecided
	index, builds := map[link]int{}, map[link]map[int64]bool{}
	for _, o := range open {
		l := link{o.Child, o.Parent, o.Filter}
		for _, b := range o.Builds {
			if certain[b.ID] != nil {
				continue
			}
			if there[b.NVR()] && !slices.Contains(wanted[b.ID], o.Tag) {
				wanted[b.ID] = append(wanted[b.ID], o.Tag)
			}
			if builds[l] == nil {
				index[l], builds[l] = len(all), map[int64]bool{}
				all = append(all, Undecided{Child: o.Child, Parent: o.Parent, Filter: o.Filter, Reason: o.Reason, Refused: o.Refused})
			}
			u := &all[index[l]]
			u.Tags = append(u.Tags, o.Tag)
			u.Packages = append(u.Packages, b.Name)
			if !builds[l][b.ID] {
				builds[l][b.ID] = true
				u.Builds++
				if there[b.NVR()] {
					u.Copied++
				}
			}
		}
	}
	for i := range all {
		for _, names := range []*[]string{&all[i].Tags, &all[i].Packages} {
			slices.Sort(*names)
			*names = slices.Compact(*names)
		}
	}
	return all
}
