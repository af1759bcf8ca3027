package kojisnap

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/dbsync"
)

// Record is what a staging database says of itself: where staging decided otherwise than production,
// and why, and which of its ids are not production's. Differences that it explains are counted, but
// not held against staging. What is versioned in production is in staging as it was, at the event,
// whatever staging decided: of that nothing is on record.
//
// Ids are production's.
type Record struct {
	Mark       dbsync.Mark
	Builds     map[int64]string        // builds that staging deleted, reset, promoted or edited, or whose place it holds
	RPMs       map[int64]string        // rpms likewise
	Signatures map[SignatureRow]string // rows of rpmsigs that staging deleted
	Types      map[int64]string        // builds of which staging deleted a row of build_types

	// History are the events from which on staging answers as production does, for calls about a tag.
	History map[int64]int64

	IDs map[string]map[int64]int64 // staging's ids by production's, of each relation those that differ
}

// SignatureRow is the key of a row of rpmsigs.
type SignatureRow struct {
	RPM int64
	Key string
}

// decided is a Record with production's names of builds: a promotion gives another.
type decided struct {
	Record
	names map[int64]string
}

func (r Record) of(production []*taggedBuild) decided {
	d := decided{Record: r, names: map[int64]string{}}
	for _, b := range production {
		d.names[b.id] = b.nvr()
	}
	return d
}

// about says what is on record about an rpm or its build, empty if nothing. Of a build that is not
// what it is in production, another of the package may be staging's latest.
func (d decided) about(r *taggedRPM) string {
	if why := d.aboutBuild(r.build); why != "" {
		return why
	}
	why := d.RPMs[r.id]
	if why == "" || strings.HasPrefix(why, r.nvra()) {
		return why
	}
	return r.nvra() + ": " + why
}

func (d decided) aboutBuild(b *taggedBuild) string {
	if why := d.Builds[b.id]; why != "" {
		return cmp.Or(d.names[b.id], b.nvr()) + ": " + why
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
	c := checkOf("on record", t.name)
	c.Status, c.Count = StatusOK, t.taken
	c.Detail = fmt.Sprintf("differences left out of account: they follow from what staging itself decided, in %d cases; kojisnap status lists them", len(t.known))
	for _, why := range slices.Sorted(maps.Keys(t.known)) {
		c.bad("%s", why)
	}
	c.Bad = 0
	v.add(c, StatusOK)
}
