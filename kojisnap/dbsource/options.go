package dbsource

import (
	"fmt"
	"log/slog"
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

// complete returns the options with the defaults of those that are not set, which are those of pulls from a hub.
func (o Options) complete() (Options, tagglob.Set, error) {
	if o.Hub == "" {
		return o, tagglob.Set{}, fmt.Errorf("pull: no hub names the production whose database this is")
	}
	c, set, err := pull.Options{Everything: o.Everything, Tags: o.Tags, Builds: o.Builds, Margin: o.Margin, Now: o.Now, Log: o.Log, Progress: o.Progress}.Complete()
	o.Tags, o.Builds, o.Margin, o.Now, o.Log, o.Progress = c.Tags, c.Builds, c.Margin, c.Now, c.Log, c.Progress
	return o, set, err
}
