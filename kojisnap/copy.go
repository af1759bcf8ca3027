package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/shard"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/tagglob"
	"kojisnap/volumes"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

// CopyOptions say which files of a snapshot's builds are copied, from where, and below which topdir.
type CopyOptions struct {
	compose.Want
	Topdir string // staging's
	// HubTopdir is the path that staging's hub has for Topdir, if that is another.
	HubTopdir string
	// WritableSource accepts a production tree that staging's hub may be able to write; otherwise such a tree
	// is refused.
	WritableSource bool
	Sources        []string // directories, http(s) or s3 URLs that hold production's tree; the first directory is the read-only volume
	Env            string   // names the ledger in the store
	Jobs           int      // files at a time; 0: hardlink's default
	BwLimit        int64    // bytes a second of all sources together; 0: no limit
	// SourceLimits are bytes a second of single sources, by their names in Sources.
	SourceLimits map[string]int64
	Requests     float64 // files a second of each source; 0: no limit
	Audit        bool    // look at all files, not only at those that the ledger does not have; rebuild a damaged ledger
	Digest       bool    // also read files that are there already; implies Audit
	Repair       bool    // copy again what Audit or Digest find damaged, if a copy made it
	// Suspects are files below Topdir that verify found missing or damaged. They are copied again.
	Suspects []string
	// NewTopdir accepts an empty topdir although the store or the database knows of copies; otherwise it is
	// refused as one that is not mounted.
	NewTopdir bool
	DryRun    bool
	// Leave marks builds in the ledger that are no longer wanted. A load then moves them off the copy volume.
	Leave   bool
	KeepFor time.Duration // how long Remove leaves builds that are no longer wanted
	// Database is asked what staging decided; Remove needs it. nil: what the last load stored counts.
	Database *StagingDatabase
	// SourcePause is how long to wait before a request to an http(s) source is sent again; 0: hardlink's default.
	SourcePause time.Duration
	// Attributes are the owner, mode and label of what is made.
	Attributes topdir.Attributes

	// OnShard is called after each shard of CopyShards, with what became of it; err is not nil if something of it was kept back.
	OnShard func(r shard.Result, err error)

	maxShard int64       // bytes; 0: package shard's
	notes    *storeNotes // nil: that the store does not take the ledger is an error

	Log      *slog.Logger
	Progress progress.Progress
}

// CopyResult is what a copy did, or with DryRun would do.
type CopyResult struct {
	Snapshot string            `json:"snapshot"`
	Summary  *hardlink.Summary `json:"summary,omitempty"` // of all planned files; only of a DryRun of Copy
	Actions  hardlink.Actions  `json:"actions"`
	Report   hardlink.Report   `json:"report"`
	// Held is what was kept back, each thing once. All else was done.
	Held []hardlink.HeldError `json:"held,omitempty"`
	// Undecided are the package filters that could not be evaluated. Their builds stay as they are.
	Undecided []compose.Undecided `json:"undecided,omitempty"`
	// Shards is what became of the shards, in a sync that copies all builds.
	Shards *ShardsResult `json:"shards,omitempty"`
}

// WriteTo writes what a DryRun found: counts for each tag and arch, then a line for each action.
func (r *CopyResult) WriteTo(w io.Writer) (n int64, err error) {
	if r.Summary != nil {
		if n, err = r.Summary.WriteTo(w); err != nil {
			return n, err
		}
	}
	m, err := r.Actions.WriteTo(w)
	return n + m, err
}

// Incomplete reports whether err is a *hardlink.LeftOutError of single things only: files that production has
// lost or damaged, unusable rows, obstacles below topdir. All else of the copy is done then.
func Incomplete(err error) bool {
	left, ok := err.(*hardlink.LeftOutError)
	return ok && left.SourcesAnswered()
}

// Copy makes the files that composes of a snapshot's tags need exist below a topdir: links of the volumes, a
// link for every build on DEFAULT, and regular files on the copy volume. It never touches staging's own
// files. If s is not nil, Copy puts the ledger of what is there into it, also after an error. A result that
// comes with an error says what was done up to there. For errors see Incomplete and package hardlink; tags,
// arches and keys that the snapshot does not have are a *compose.UnknownError.
func Copy(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions) (*CopyResult, error) {
	return o.onFiles(ctx, snap, s, func(e *hardlink.Engine, plan volumes.Plan, r *CopyResult) (err error) {
		if none := o.Want.UnmatchedPatterns(snap); len(none) > 0 && o.Log != nil {
			o.Log.WarnContext(ctx, "no tag of the snapshot matches "+tagglob.Quote(none), "snapshot", snap.ID)
		}
		if r.Actions, err = e.Diff(ctx, plan); err == nil && o.DryRun {
			summary := r.Actions.Summary(plan)
			r.Summary = &summary
		}
		return err
	})
}

// Remove removes builds that have not been wanted for o.KeepFor, and symlinks that nothing needs. That is safe
// only after a load, when the database no longer names their files. Its errors are those of Copy.
func Remove(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions) (*CopyResult, error) {
	return o.onFiles(ctx, snap, s, func(e *hardlink.Engine, plan volumes.Plan, r *CopyResult) (err error) {
		r.Actions, err = e.DiffRemove(ctx, plan)
		return err
	})
}

// nameTags puts the names of the tags that composes take of a snapshot of everything in the place of those asked for:
// patterns are resolved, and content tags added.
func (o *CopyOptions) nameTags(ctx context.Context, snap *snapfile.Snapshot) error {
	if !snap.Manifest.Scope.Everything || o.Builds == compose.BuildsNone || o.Builds == compose.BuildsAll {
		return nil
	}
	of, err := narrow.ForComposes(ctx, snap, o.Tags)
	if err == nil {
		o.Tags = of.Manifest.Scope.Composed()
	}
	return err
}

// onFiles does the actions that diff finds for the plan of a snapshot's files.
func (o CopyOptions) onFiles(ctx context.Context, snap *snapfile.Snapshot, s store.Store, diff func(*hardlink.Engine, volumes.Plan, *CopyResult) error) (*CopyResult, error) {
	if err := o.nameTags(ctx, snap); err != nil {
		return nil, err
	}
	saved := o.saved(s)
	var err error
	if !o.NewTopdir {
		err = checkTopdir(ctx, o.Topdir, o.Env, o.CopyVolume, s, o.Database)
	} else if anew, newErr := isNewTopdir(o.Topdir); anew || newErr != nil {
		saved, err = nil, newErr // nothing of what the saved ledger names is there
	}
	if err != nil {
		return nil, err
	}
	elsewhere := o.elsewhere(ctx)
	engine, err := o.engine(ctx, saved, elsewhere)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	engine.PrefetchLedger()
	decided, err := o.decided(ctx, s)
	if err != nil {
		return nil, err
	}
	plan, undecided, err := compose.PlanFiles(ctx, snap, o.Want, o.copied, decided)
	if err != nil {
		return nil, err
	}
	if plan, err = o.withoutShards(ctx, plan); err != nil {
		return nil, err
	}
	r := &CopyResult{Snapshot: snap.ID, Undecided: undecided}
	if err = diff(engine, plan, r); err == nil {
		err = o.apply(ctx, engine, s, r)
	}
	var left *hardlink.LeftOutError
	if errors.As(err, &left) {
		r.Held = left.Held()
	}
	return r, err
}

// apply does what was found, unless it is a DryRun.
func (o CopyOptions) apply(ctx context.Context, engine *hardlink.Engine, s store.Store, r *CopyResult) (err error) {
	if o.DryRun {
		return r.Actions.Err()
	}
	r.Report, err = engine.Apply(ctx, r.Actions)
	if s != nil {
		// Also after an error: the builds that could be made are there.
		if perr := putLedger(context.WithoutCancel(ctx), s, o.Env, o.Topdir); perr != nil && !o.notes.failed(ctx, perr) {
			err = errors.Join(err, perr)
		}
	}
	return err
}

// engine opens topdir and the sources. saved and elsewhere are hardlink.Options'.
func (o CopyOptions) engine(ctx context.Context, saved func(context.Context) (*ledger.Ledger, error), elsewhere func(string) bool) (*hardlink.Engine, error) {
	opts, err := o.engineOptions(ctx, saved)
	if err != nil {
		return nil, err
	}
	opts.Elsewhere = elsewhere
	return hardlink.New(opts)
}

func (o CopyOptions) engineOptions(ctx context.Context, saved func(context.Context) (*ledger.Ledger, error)) (opts hardlink.Options, err error) {
	readOnly, err := o.readOnly()
	if err != nil {
		return opts, err
	}
	current, err := clone.Current(o.Topdir, o.prod())
	if err != nil {
		return opts, err
	}
	shown := ""
	if current != nil {
		shown = current.Path
	}
	level := hardlink.VerifySize
	if o.Digest {
		level = hardlink.VerifyDigest
	}
	return hardlink.Options{
		Topdir: o.Topdir, HubTopdir: o.HubTopdir, WritableSource: o.WritableSource || clone.OnRecord(o.Topdir, readOnly), Unmounted: o.Unmounted, ReadOnly: readOnly, Clone: shown, Sources: o.Sources, OpenSource: o.openSource(ctx), Jobs: o.Jobs, BwLimit: o.BwLimit, SourceLimits: o.SourceLimits, SourceRequests: o.sourceRequests(),
		Verify: level, Audit: o.Audit || o.Digest, Repair: o.Repair, Suspects: o.Suspects, Saved: saved, Leave: o.Leave, KeepFor: o.KeepFor, Rows: o.rows(),
		Attributes: o.Attributes, RetryInterval: o.SourcePause, Log: o.Log, Progress: o.Progress,
	}, nil
}

func (o CopyOptions) sourceRequests() map[string]float64 {
	limits := map[string]float64{}
	for _, name := range o.Sources {
		limits[name] = o.Requests
	}
	return limits
}

// openSource opens production's tree in a bucket. URLs have the same form as those of a store.
func (o CopyOptions) openSource(ctx context.Context) func(url string) (source.Objects, error) {
	return func(url string) (source.Objects, error) {
		if scheme, _, _ := strings.Cut(url, "://"); scheme != "s3" {
			return nil, fmt.Errorf("no way to read from %s://: want a directory, http, https or s3://BUCKET/PREFIX", scheme)
		}
		s, err := s3.Open(ctx, url, s3.Options{Log: o.Log})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// CheckSources refuses sources whose URLs cannot be ones of production's tree, with a *source.URLError. It asks no
// server, and does not look whether directories exist.
func (o CopyOptions) CheckSources() error {
	urls := slices.DeleteFunc(slices.Clone(o.Sources), func(name string) bool { return !strings.Contains(name, "://") })
	_, err := source.Open(urls, source.Options{Open: o.openSource(context.Background())})
	return err
}

// readOnly returns production's topdir on this machine: the first source that is a directory, or else what
// vol/NAME leads to already. It is empty if there is neither: all files come from URLs.
func (o CopyOptions) readOnly() (string, error) {
	prod := o.prod()
	if _, err := os.Stat(o.Topdir); err != nil {
		return "", fmt.Errorf("topdir: %w", err)
	}
	for _, s := range o.Sources {
		if strings.Contains(s, "://") {
			continue
		}
		if o.isVolume(s, prod) {
			break
		}
		return s, nil
	}
	if n, err := clone.Current(o.Topdir, prod); err != nil || n != nil && n.Source != "" {
		if err != nil {
			return "", err
		}
		return n.Source, nil // the clone is not all of production's tree
	}
	tree, err := topdir.FindTree(o.Topdir, prod)
	if err == nil && tree == "" && len(o.Sources) == 0 {
		err = fmt.Errorf("no source of files: %s is not there; give --source, production's tree", filepath.Join(o.Topdir, "vol", prod))
	}
	return tree, err
}

// prod is staging's name of the volume that shows production's topdir.
func (o CopyOptions) prod() string { return o.Mapping().Staging(volumes.DefaultVolume) }

// isVolume reports whether a directory is vol/NAME of topdir, by whatever path. Such a source stands for what
// vol/NAME leads to, because a copy makes vol/NAME itself anew.
func (o CopyOptions) isVolume(dir, name string) bool {
	place := func(path string) string {
		abs, err := filepath.Abs(path)
		if err != nil {
			return path
		}
		parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return path
		}
		return filepath.Join(parent, filepath.Base(abs))
	}
	return place(dir) == place(filepath.Join(o.Topdir, "vol", name))
}
