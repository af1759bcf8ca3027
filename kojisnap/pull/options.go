package pull

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/tagglob"
)

// DefaultMargin is how far behind the hub's clock the event of a snapshot lies: longer than
// the longest import, which takes its event at its start and commits at its end.
const DefaultMargin = 15 * time.Minute

// DefaultSweep is over how many pulls a sweep of all builds is spread.
const DefaultSweep = 30

// DefaultOverlap is how far before the event of the base snapshot events are read again: an event
// of a transaction that took hours comes to light long after later ones.
const DefaultOverlap = 24 * time.Hour

// Options say what to pull.
type Options struct {
	Tags   []string      // names and patterns of tags, as package tagglob has them; all that they inherit comes along
	Builds []string      // builds beside the tags, by NVR or, in digits, by id
	Event  int64         // E; 0: the last event before the hub's clock less Margin
	Margin time.Duration // 0: DefaultMargin; negative: none
	Full   bool          // pay no regard to earlier snapshots, nor to what a pull that was cut off has left, and leave nothing of the kind
	// Since asks for the history of the scope from this event on: so that it can be asked at each event
	// from there to E. SinceTime does so from the last event before that time, if Since is 0. With neither
	// the snapshot has what was revoked since its base or, without one, since the newest snapshots of the hub.
	Since     int64
	SinceTime time.Time

	Sweep   int           // over how many pulls a sweep of all builds is spread; 0: DefaultSweep; 1: everything is asked for each time
	Overlap time.Duration // how far before an earlier snapshot's event events are read again; 0: DefaultOverlap; negative: none
	DryRun  bool          // find the scope, and what it would hold, but write nothing
	// NoContentTags leaves out the tags that hold the rpms of the scope's module builds.
	NoContentTags bool
	TempDir       string // of sorting; empty: the system's
	Program       string // what manifests name as their maker
	Now           func() time.Time
	// Deadline is how long the whole pull may take; 0: for ever. The error is then a
	// context.DeadlineExceeded.
	Deadline time.Duration

	pager pager.Options // for tests

	Log      *slog.Logger
	Progress progress.Progress
}

// complete returns the options with the defaults of those that are not set.
func (o Options) complete() (Options, tagglob.Set, error) {
	if len(o.Tags) == 0 {
		return o, tagglob.Set{}, fmt.Errorf("pull: no tag given")
	}
	if o.Margin == 0 {
		o.Margin = DefaultMargin
	}
	if o.Sweep == 0 {
		o.Sweep = DefaultSweep
	}
	if o.Sweep < 0 {
		return o, tagglob.Set{}, fmt.Errorf("pull: a sweep over %d pulls", o.Sweep)
	}
	if o.Overlap == 0 {
		o.Overlap = DefaultOverlap
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Progress = progress.OrDiscard(o.Progress)
	set, err := tagglob.Parse(o.Tags)
	if err != nil {
		return o, set, fmt.Errorf("pull: tag %w", err)
	}
	o.Tags = set.List()
	o.Builds = slices.Compact(slices.Sorted(slices.Values(o.Builds)))
	return o, set, nil
}
