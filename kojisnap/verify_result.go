package kojisnap

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// VerifyResult is what Verify found.
type VerifyResult struct {
	Event   int64   `json:"event"`
	Hub     string  `json:"hub"`     // staging's
	Against string  `json:"against"` // what it was compared with
	Checks  []Check `json:"checks"`

	suspects []string
}

// Suspects are the files below topdir, of builds on the copy volume, that are missing or that are not
// what they are to be: a copy with CopyOptions.Suspects makes again those that are ours.
func (r *VerifyResult) Suspects() []string { return r.suspects }

// Status is the outcome of a check.
type Status string

// The statuses. Only a failed check makes staging not compose-ready.
const (
	StatusOK      Status = "ok"
	StatusWarning Status = "warning" // a compose runs, but not as in production, or slower
	StatusFailed  Status = "failed"
	StatusSkipped Status = "skipped" // could not be made; Detail says why
)

// Check is the outcome of one check.
type Check struct {
	Name     string   `json:"name"`
	Tag      string   `json:"tag,omitempty"`
	Arch     string   `json:"arch,omitempty"`
	Status   Status   `json:"status"`
	Count    int      `json:"count"`              // things looked at
	Bad      int      `json:"bad"`                // of them not as they should be
	Digests  int      `json:"digests,omitempty"`  // of the bad those whose content is another: size, digest, key
	Detail   string   `json:"detail,omitempty"`   // one line, with the counts
	Examples []string `json:"examples,omitempty"` // of what is bad: sorted, at most 5
}

const maxExamples = 5

// Ready reports whether staging is compose-ready: no check failed.
func (r *VerifyResult) Ready() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == StatusFailed })
}

// DigestMismatch reports whether a file has another content than the database says.
func (r *VerifyResult) DigestMismatch() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Digests > 0 })
}

// MarshalJSON adds what follows from the checks.
func (r *VerifyResult) MarshalJSON() ([]byte, error) {
	type plain VerifyResult
	return json.Marshal(struct {
		Ready          bool `json:"ready"`
		DigestMismatch bool `json:"digest_mismatch"`
		*plain
	}{r.Ready(), r.DigestMismatch(), (*plain)(r)})
}

// summary is the counts and what they mean.
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

// bad notes something that is not as it should be.
func (c *Check) bad(format string, args ...any) {
	c.Bad++
	example := fmt.Sprintf(format, args...)
	if strings.ContainsFunc(example, unicode.IsControl) {
		example = strconv.Quote(example) // names of a hub are hostile
	}
	c.Examples = append(c.Examples, example)
	if len(c.Examples) > 100*maxExamples {
		c.trim()
	}
}

func (c *Check) trim() {
	slices.Sort(c.Examples)
	c.Examples = slices.Clip(c.Examples[:min(maxExamples, len(c.Examples))])
}

// add puts a check into the result: with the status given if something is bad, else ok.
func (v *verifier) add(c Check, whenBad Status) {
	if c.Status == "" {
		c.Status = StatusOK
		if c.Bad > 0 {
			c.Status = whenBad
		}
	}
	c.trim()
	c.Detail = c.summary()
	v.result.Checks = append(v.result.Checks, c)
}
