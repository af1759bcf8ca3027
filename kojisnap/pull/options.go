package pull

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// DefaultMargin is how far the event of a snapshot is behind the hub's clock: more than the longest import
// takes, which gets its event at its start and commits at its end.
const DefaultMargin = 15 * time.Minute

// DefaultSweep is how many pulls make a sweep of all builds.
const DefaultSweep = 30

// DefaultOverlap is how far before the base's event events are read again: an event of a transaction that
// took hours appears long after later ones.
const DefaultOverlap = 24 * time.Hour

// Options say what to pull, and how.
type Options struct {
	Tags   []string // names and patterns of tags, see package tagglob; what they inherit from is included
	Builds []string // builds besides the tags, by NVR or, in digits, by id
	// Everything asks for the whole catalogue, in the place of Tags and Builds.
	Everything bool
	Event      int64         // E; 0: the last event before the hub's clock less Margin
	Margin     time.Duration // 0: DefaultMargin; negative: none
	Full       bool          // ignore earlier snapshots and the state of an interrupted pull, and leave no such state
	// Since asks for the history of the scope from this event on, so that each event from there to E can be
	// asked for. SinceTime does so from the last event before that time, if Since is 0. With neither, the
	// snapshot has what was revoked since its base or, without one, since the newest snapshots of the hub.
	Since     int64
	SinceTime time.Time

	Sweep   int           // how many pulls make a sweep of all builds; 0: DefaultSweep; 1: each pull asks for everything
	Overlap time.Duration // how far before the base's event events are read again; 0: DefaultOverlap; negative: none
	DryRun  bool          // find the scope and estimate the pull, but write nothing
	// NoContentTags leaves out the tags with the rpms of the scope's module builds.
	NoContentTags bool
	TempDir       string // for sorting; empty: the system's
	Program       string // what manifests say made them
	Now           func() time.Time
	// Deadline limits the time of the whole pull; 0: no limit. The error is then a context.DeadlineExceeded.
	Deadline time.Duration

	pager       pager.Options // for tests
	windowRows  int64         // for tests: the constants, if not 0
	mostChanged int64

	Log      *slog.Logger
	Progress progress.Progress
}

// Asked returns what identifies the scope of a pull, as snapfile.Scope.AskedFor does.
func (o Options) Asked() []string {
	if o.Everything {
		return []string{snapfile.AskedEverything}
	}
	return o.Tags
}

// CheckAsked refuses a pull that asks for nothing, or for everything and for single tags or builds.
func CheckAsked(everything bool, tags, builds []string) error {
	switch {
	case everything && len(tags)+len(builds) > 0:
		return fmt.Errorf("pull: everything, and single tags or builds")
	case !everything && len(tags) == 0:
		return fmt.Errorf("pull: no tag given")
	case slices.Contains(tags, snapfile.AskedEverything):
		return fmt.Errorf("pull: tag %q: that stands for the whole catalogue", snapfile.AskedEverything)
	}
	return nil
}

// Complete returns the options with defaults for those that are not set.
func (o Options) Complete() (Options, tagglob.Set, error) {
	if err := CheckAsked(o.Everything, o.Tags, o.Builds); err != nil {
		return o, tagglob.Set{}, err
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
	o.windowRows, o.mostChanged = cmp.Or(o.windowRows, windowRows), cmp.Or(o.mostChanged, mostChanged)
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
