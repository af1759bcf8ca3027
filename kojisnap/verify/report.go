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

// add puts a check into the result: with the status given if something is bad, else ok.
func (r *report) add(c Check, whenBad Status) {
	if c.Status == "" {
		c.Status = StatusOK
		if c.Bad > 0 {
			c.Status = whenBad
		}
	}
	c.trim()
	c.Detail = c.summary()
	r.result.Checks = append(r.result.Checks, c)
}

// suspect notes a file below topdir that is to be copied again.
func (r *report) suspect(path string) { r.result.suspects = append(r.result.suspects, path) }

// attempt runs make, which adds the check c or leaves it out. If make cannot find out what it has
// to, that is one failed check, c, with the reason, and all other checks are made; only a hub that is
// gone, or an end of ctx, is an error.
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

// reportNames tells what staging calls otherwise than production. It is no difference: kojisnap asks
// by ids, and staging's name of a row that it renamed is there to stay. But who asks for production's
// name does not find it.
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

// reportRecord tells how many differences were not held against staging, and what they come from.
func (r *report) reportRecord(t *taggedTag) {
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
	r.add(c, StatusOK)
}
