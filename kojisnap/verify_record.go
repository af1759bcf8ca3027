package kojisnap

import (
	"fmt"
	"maps"
	"slices"
)

// Record is what a staging database says of itself: where staging decided otherwise than production,
// and why, and which of its ids are not production's. Differences that it explains are counted, but
// not held against staging.
//
// Ids are production's.
type Record struct {
	Builds     map[int64]string        // builds that staging deleted, reset, promoted or edited, or whose place it holds
	RPMs       map[int64]string        // rpms likewise
	Signatures map[SignatureRow]string // rows of rpmsigs that staging deleted
	Types      map[int64]string        // builds of which staging deleted a row of build_types

	// What is versioned in production is in staging as it was, at the event. Rows that are not, as of a
	// database of an earlier kojisnap, are in these.
	Taggings []TagMember // of production's builds, by name-version-release
	Packages []TagMember // entries of production's package lists, by the package's name

	IDs map[string]map[int64]int64 // staging's ids by production's, of each relation those that differ
}

// SignatureRow is the key of a row of rpmsigs.
type SignatureRow struct {
	RPM int64
	Key string
}

// TagMember is something in a tag.
type TagMember struct{ Tag, Name string }

// decided is a Record as it applies to one tag and what that inherits.
type decided struct {
	Record
	nvrs     map[string]bool
	packages map[string]bool
	names    map[int64]string // production's, of builds: a promotion gives another
}

func (r Record) in(t *taggedTag, production []*taggedBuild) decided {
	tags := map[string]bool{t.name: true}
	for _, p := range t.parents() {
		tags[p.name] = true
	}
	d := decided{Record: r, nvrs: map[string]bool{}, packages: map[string]bool{}, names: map[int64]string{}}
	for _, b := range production {
		d.names[b.id] = b.nvr()
	}
	for _, m := range r.Taggings {
		if tags[m.Tag] {
			d.nvrs[m.Name] = true
		}
	}
	for _, m := range r.Packages {
		if tags[m.Tag] {
			d.packages[m.Name] = true
		}
	}
	return d
}

// about says what is on record about an rpm or its build, empty if nothing. Of a build that is not
// what it is in production, another of the package may be staging's latest.
func (d decided) about(r *taggedRPM) string {
	if why := d.RPMs[r.id]; why != "" {
		return r.nvra() + ": " + why
	}
	if why := d.aboutBuild(r.build); why != "" {
		return why
	}
	if d.packages[r.build.name] {
		return r.build.name + ": its entry of a package list is not production's"
	}
	return ""
}

func (d decided) aboutBuild(b *taggedBuild) string {
	switch why := d.Builds[b.id]; {
	case why != "":
		return or(d.names[b.id], b.nvr()) + ": " + why
	case d.nvrs[b.nvr()]:
		return b.nvr() + ": its tagging is not production's"
	}
	return ""
}

// aboutModule is aboutBuild, also where staging took a type from the build.
func (d decided) aboutModule(b *taggedBuild) string {
	if why := d.Types[b.id]; why != "" {
		return b.nvr() + ": one of its types: " + why
	}
	return d.aboutBuild(b)
}

// subtract notes that n differences of a tag are not held against staging.
func (t *taggedTag) subtract(why string, n int) {
	t.known[why] = true
	t.taken += n
}

// reportRecord tells how many differences were not held against staging, and what they come from.
func (v *verifier) reportRecord(t *taggedTag) {
	if t.taken == 0 {
		return
	}
	c := Check{Name: "on record", Tag: t.name, Status: StatusOK, Count: t.taken,
		Detail: fmt.Sprintf("differences left out of account: they follow from what staging itself decided, in %d cases; kojisnap status lists them", len(t.known))}
	for _, why := range slices.Sorted(maps.Keys(t.known)) {
		c.bad("%s", why)
	}
	c.Bad = 0
	v.add(c, StatusOK)
}
