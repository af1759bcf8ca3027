package dbsource

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/tagglob"
)

// Options say what to read from a source.
type Options struct {
	Hub    string   // URL of the hub whose database the source is: the name of the production; it is not asked
	Tags   []string // names and patterns of tags, as package tagglob has them; all that they inherit comes along
	Builds []string // builds beside the tags, by NVR or, in digits, by id
	// Everything asks for the whole catalogue, in the place of Tags and Builds.
	Everything bool
	Event      int64         // E; 0: the last event before the source's clock, or else its newest event, less Margin
	Margin     time.Duration // 0: pull.DefaultMargin; negative: none
	Full       bool          // pay no regard to earlier snapshots
	// Since and SinceTime ask for history, as in pull.Options.
	Since     int64
	SinceTime time.Time
	DryRun    bool // find the scope, but write nothing
	// NoContentTags leaves out the tags that hold the rpms of the scope's module builds.
	NoContentTags bool
	TempDir       string // of sorting; empty: the system's
	Program       string // what manifests name as their maker
	Now           func() time.Time

	// Large is from which id on a table is cut into pieces for several sessions; 0: a million. For tests.
	Large int64

	Log      *slog.Logger
	Progress progress.Progress
}

// complete returns the options with the defaults of those that are not set.
func (o Options) complete() (Options, tagglob.Set, error) {
	if err := pull.CheckAsked(o.Everything, o.Tags, o.Builds); err != nil {
		return o, tagglob.Set{}, err
	}
	if o.Hub == "" {
		return o, tagglob.Set{}, fmt.Errorf("pull: no hub names the production whose database this is")
	}
	if o.Margin == 0 {
		o.Margin = pull.DefaultMargin
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
