package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/oneline"
)

// report collects checks into the result. It is for one goroutine.
type report struct{ result *Result }

// add adds a check to the result. Unless it has a status, that is ok, or whenBad if something is bad.
func (r *report) add(c Check, whenBad Status) {
	if c.Status == "" {
		c.Status = StatusOK
		if c.Bad > 0 {
			c.Status = whenBad
		}
	}
	r.result.entries += c.trim(maxAllEntries - r.result.entries)
	c.Detail = c.summary()
	r.result.Checks = append(r.result.Checks, c)
}

// needsRecheck notes a file below topdir that copy has to check, and perhaps to copy again.
func (r *report) needsRecheck(path string) { r.result.suspects = append(r.result.suspects, path) }

// attempt runs make, which adds the check c or leaves it out. If make fails, c is a failed check with the reason,
// and verification goes on; attempt returns an error only if a hub does not answer at all, or ctx has ended.
func (r *report) attempt(ctx context.Context, c Check, make func() error) error {
	err := make()
	if err == nil {
		return nil
	}
	if err := gone(ctx, err); err != nil {
		return err
	}
	c.Count, c.Bad, c.Detail = 1, 1, oneline.Of(err).Error()
	r.add(c, StatusFailed)
	return nil
}

// reportNames adds a warning about what staging has renamed. That is no difference: kojisnap asks by ids, and
// a load keeps staging's names. But composes that ask for production's name do not find it.
func (r *report) reportNames(t *taggedTag) {
	if len(t.renamed) == 0 {
		return
	}
	c := checkOf("names", t.name)
	c.Count, c.Detail = len(t.renamed), "names that staging has changed: what asks for production's does not find them"
	for _, line := range slices.Sorted(maps.Keys(t.renamed)) {
		c.bad("%s", line)
	}
	r.add(c, StatusWarning)
}

// reportRecord adds how many differences were not counted, because staging's own decisions explain them.
func (r *report) reportRecord(t *taggedTag) {
	if t.explained == 0 {
		return
	}
	c := checkOf("on record", t.name)
	c.Status, c.Count = StatusOK, t.explained
	c.Detail = fmt.Sprintf("differences left out of account: they follow from what staging itself decided, in %d cases; kojisnap status lists them", len(t.reasons))
	for _, why := range slices.Sorted(maps.Keys(t.reasons)) {
		c.bad("%s", why)
	}
	c.Bad = 0
	r.add(c, StatusOK)
}
