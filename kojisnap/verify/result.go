package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"kojisnap/kojisnap/oneline"
)

// Result is what Verify found out.
type Result struct {
	Event   int64   `json:"event"`
	Hub     string  `json:"hub"`     // staging's
	Against string  `json:"against"` // what it was compared with
	Checks  []Check `json:"checks"`

	suspects []string
	entries  int // of all checks
}

// Suspects returns the files below topdir, of builds on the copy volume, that are missing or are not as the
// database says. A copy with CopyOptions.Suspects makes those again that kojisnap copied.
func (r *Result) Suspects() []string { return r.suspects }

// Status is the outcome of a check.
type Status string

// The statuses. Only a failed check makes staging not compose-ready.
const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning" // a compose runs, but not as in production, or more slowly
	StatusFailed  Status = "failed"
	StatusSkipped Status = "skipped" // could not be made; Detail says why
	// StatusUnproven is like a warning: this machine cannot find out whether it is ok.
	StatusUnproven Status = "unproven"
)

// Check is the outcome of one check.
type Check struct {
	Name     string   `json:"name"`
	Tag      string   `json:"tag,omitempty"`
	Arch     string   `json:"arch,omitempty"`
	Status   Status   `json:"status"`
	Count    int      `json:"count"`              // things looked at
	Bad      int      `json:"bad"`                // how many of them are not as they should be
	Digests  int      `json:"digests,omitempty"`  // how many of the bad ones have other content: size, digest, key
	Detail   string   `json:"detail,omitempty"`   // one line, with the counts
	Examples []string `json:"examples,omitempty"` // of the bad ones: sorted, at most 5
	// Entries are all of the bad ones, sorted, if Examples are not all: at most MaxEntries, and at most
	// maxAllEntries of all checks of a result together. Only the record of a sync has them.
	Entries []string `json:"-"`
}

// MaxEntries limits the Entries of a check.
const MaxEntries = 10_000

const (
	maxExamples   = 5
	maxAllEntries = 5 * MaxEntries
)

// All returns the bad ones, as many as are known.
func (c Check) All() []string {
	if len(c.Entries) > 0 {
		return c.Entries
	}
	return c.Examples
}

// Ready reports whether staging is compose-ready: no check failed.
func (r *Result) Ready() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == StatusFailed })
}

// DigestMismatch reports whether the content of a file is not as the database says.
func (r *Result) DigestMismatch() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Digests > 0 })
}

// MarshalJSON adds Ready and DigestMismatch.
func (r *Result) MarshalJSON() ([]byte, error) {
	type plain Result
	return json.Marshal(struct {
		Ready          bool `json:"ready"`
		DigestMismatch bool `json:"digest_mismatch"`
		*plain
	}{r.Ready(), r.DigestMismatch(), (*plain)(r)})
}

// summary returns the counts and what they mean.
func (c Check) summary() string {
	var parts []string
	switch {
	case c.Bad > 0:
		parts = append(parts, fmt.Sprintf("%d of %d", c.Bad, c.Count))
	case c.Count > 0:
		parts = append(parts, fmt.Sprint(c.Count))
	}
	if c.Detail != "" {
		parts = append(parts, c.Detail)
	}
	return strings.Join(parts, ": ")
}

// bad counts something that is not as it should be, and keeps it as an example.
func (c *Check) bad(format string, args ...any) {
	c.Bad++
	example := fmt.Sprintf(format, args...)
	if strings.ContainsFunc(example, unicode.IsControl) {
		example = strconv.Quote(example) // names of a hub are hostile
	}
	c.Examples = append(c.Examples, example)
	if len(c.Examples) > 2*MaxEntries {
		slices.Sort(c.Examples)
		c.Examples = c.Examples[:MaxEntries]
	}
}

// trim sorts what bad kept into Examples and, room of them at most, Entries. It returns how many Entries there are.
func (c *Check) trim(room int) int {
	slices.Sort(c.Examples)
	all := c.Examples
	c.Examples = slices.Clone(all[:min(maxExamples, len(all))])
	if room = min(room, len(all), MaxEntries); c.Bad > maxExamples && room > maxExamples {
		c.Entries = slices.Clip(all[:room])
	}
	return len(c.Entries)
}

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
