package verify

import (
	"cmp"
	"strings"

	"kojisnap/dbsync/book"
)

// Record is what a staging database knows of itself: where staging decided otherwise than production, and why,
// and which of its ids are not production's. Differences that it explains do not fail a check; they are counted
// apart. Versioned rows are not in it: at the event they are as in production, whatever staging decided.
//
// Ids are production's, unless a field says otherwise.
type Record struct {
	Mark       book.Mark
	Builds     map[int64]string        // builds that staging deleted, reset, promoted or edited, or whose NVR it took
	RPMs       map[int64]string        // rpms likewise
	Signatures map[SignatureRow]string // rows of rpmsigs that staging deleted
	Types      map[int64]string        // builds whose row of build_types staging deleted

	// History has for each tag the event from which on staging answers as production does.
	History map[int64]int64

	// IDs has for each relation staging's ids by production's, where they differ.
	IDs map[string]map[int64]int64
}

// SignatureRow is the key of a row of rpmsigs.
type SignatureRow struct {
	RPM int64
	Key string
}

// decided is a Record with production's names of builds: a promotion in staging gives a build another name.
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

// about returns what is on record about an rpm or its build, empty if there is nothing.
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

// aboutModule is aboutBuild, and also knows builds whose type staging deleted.
func (d decided) aboutModule(b *taggedBuild) string {
	if why := d.Types[b.id]; why != "" {
		return b.nvr() + ": one of its types: " + why
	}
	return d.aboutBuild(b)
}

// explain counts n differences of a tag that staging's own decision explains.
func (t *taggedTag) explain(why string, n int) {
	t.reasons[why] = true
	t.explained += n
}
