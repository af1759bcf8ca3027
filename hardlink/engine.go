package hardlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/prodtree"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Level says how closely Diff looks at files that exist. New files have their digest checked at each level.
type Level int

const (
	VerifySize   Level = iota // compare size and mtime with the ledger
	VerifyDigest              // read the content
)

// Options of an Engine. Topdir is needed, and ReadOnly or a source.
type Options struct {
	Topdir string
	// HubTopdir is the path that staging's hub, and whatever else reads the symlinks, has for topdir:
	// symlinks in staged builds begin with it. "": Topdir.
	HubTopdir string
	// ReadOnly is production's topdir, mounted read-only on this machine: vol/prod shows its builds, and
	// symlinks in staged builds lead to them. "": kojisnap makes no symlinks.
	ReadOnly string
	// Clone is a writable clone of ReadOnly, which vol/prod shows instead; "": it shows ReadOnly.
	// Production's other volumes are not in it.
	Clone string
	// WritableSource accepts a ReadOnly that staging's hub may be able to write. Without it New refuses
	// that: deleting or moving a build in staging would delete it in production.
	WritableSource bool
	// Unmounted are production's volumes, by production's names, that this site never mounts: their builds
	// are left out without a report.
	Unmounted []string
	// Sources are directories with production's tree, or URLs of it. They are asked in turn. Empty:
	// ReadOnly.
	Sources []string
	// OpenSource opens URLs other than http and https; nil: there are none.
	OpenSource func(url string) (source.Objects, error) `json:"-"`
	Jobs       int                                      // files at a time; default: one per CPU, at least 4; at least 8 if the first source is a URL
	Verify     Level                                    // default VerifySize
	// Audit makes Diff look at everything in the plan, and rebuild a damaged ledger. VerifyDigest implies
	// it.
	Audit bool
	// Repair makes files again that kojisnap made and an audit finds damaged. Without it the audit reports
	// them, and they stay.
	Repair bool
	// Suspects are files below Topdir that were found missing or damaged. Diff reads their builds' files to
	// the end, and makes those again that kojisnap made. It leaves what others put in their place.
	Suspects []string
	// Saved reads a copy of the ledger from elsewhere, nil if there is none. It serves a topdir whose own
	// ledger is lost, or is damaged and audited.
	Saved func(ctx context.Context) (*ledger.Ledger, error) `json:"-"`
	// Shard is the shard whose builds the plans have, as package ledger names it: their ledger is the shard's own. The
	// caller holds the shard's lock, and has made the volumes' links. "": the topdir's ledger, which Apply locks.
	Shard string
	// Whole makes everything in a build's directory a regular file: what no row names is compared and checked by size and
	// time. Otherwise that becomes symlinks into the read-only volume.
	Whole bool
	// Elsewhere reports whether the build of a directory on the copy volume is in the ledger of a shard. nil: none is.
	Elsewhere func(dir string) bool `json:"-"`
	// Leave makes Diff note the builds that the ledger has and the plan has not: the next load moves them
	// off the copy volume, and after KeepFor DiffRemove removes them.
	Leave   bool
	KeepFor time.Duration
	// Rows asks staging's database for the volumes of builds, by N-V-R: "" if the database has the build,
	// but not as a complete one. Diff asks about symlinks on DEFAULT that are gone or that a directory has
	// replaced. DiffRemove keeps builds that the database has on the copy volume, and removes symlinks only
	// of builds that it does not have as complete. nil: it is unknown what the database has, so no symlink
	// is removed, and each directory counts as staging's own.
	Rows    func(ctx context.Context, builds []volumes.Build) (map[string]string, error) `json:"-"`
	Now     func() time.Time                                                             `json:"-"` // nil: time.Now
	BwLimit int64                                                                        // bytes a second, read from all sources together; 0: no limit
	// SourceLimits are limits of single sources in bytes a second, by their names in Sources.
	SourceLimits map[string]int64
	// SourceRequests are files a second of single sources, by their names in Sources.
	SourceRequests map[string]float64
	// BatchFiles is how many files are made before they are synced and get their names. A batch also ends at
	// 256 MiB. A kill loses at most three batches. Default 4000.
	BatchFiles int
	// Attributes are the attributes of everything that is made. Apply fails if this process cannot give
	// files that owner (Owner.CanGive).
	Attributes topdir.Attributes
	Client     *http.Client // for URLs; nil: a default one
	// RetryInterval is the pause before a request is repeated. It doubles each time, with jitter. Default 1
	// s.
	RetryInterval time.Duration
	// SlowAfter is the time over which the rate of a server's answer is measured, see package slow. Default
	// 1 min.
	SlowAfter time.Duration
	Log       *slog.Logger
	Progress  progress.Progress
}

// Engine makes the files of plans below one topdir.
type Engine struct {
	hub        string // topdir's path as staging's hub has it
	opts       Options
	top        *topdir.Dir
	sources    *source.Set
	noLink     devices // file systems from which link(2) said EXDEV
	noClone    devices
	tree       *prodtree.Tree
	volumeDirs []string // directories of production's other volumes that staging shows, below production's topdir
	prefetch   ledger.Prefetch
	unlisted   sync.Once // told that a source lists no directories
	// sameMount: the first source is on topdir's mount, so that hard links may work.
	sameMount bool
}

// New checks topdir, the read-only volume and the sources. It writes nothing. Close the engine after use.
func New(opts Options) (*Engine, error) {
	if opts.BatchFiles <= 0 {
		opts.BatchFiles = 4000
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	opts.Progress = progress.OrDiscard(opts.Progress)
	if opts.ReadOnly != "" {
		var err error
		if opts.ReadOnly, err = filepath.Abs(opts.ReadOnly); err != nil {
			return nil, err
		}
		if _, err := topdir.CheckReadOnlyVolume(opts.ReadOnly); err != nil {
			return nil, err
		}
		if len(opts.Sources) == 0 {
			opts.Sources = []string{opts.ReadOnly}
		}
	}
	if len(opts.Sources) == 0 {
		return nil, errors.New("no source of files given")
	}
	if opts.Shard != "" {
		if err := ledger.CheckShard(opts.Shard); err != nil {
			return nil, err
		}
	}
	hub, err := hubTopdir(opts)
	if err != nil {
		return nil, err
	}
	if opts.RetryInterval <= 0 {
		opts.RetryInterval = time.Second
	}
	if opts.Jobs <= 0 {
		opts.Jobs = defaultJobs(opts.Sources[0])
	}
	sources, err := source.Open(opts.Sources, source.Options{Open: opts.OpenSource, Client: opts.Client, Jobs: opts.Jobs, RetryInterval: opts.RetryInterval,
		SlowAfter: opts.SlowAfter, BwLimit: opts.BwLimit, Limits: opts.SourceLimits, Requests: opts.SourceRequests, Log: opts.Log})
	if err != nil {
		return nil, err
	}
	top, err := topdir.Open(opts.Topdir, opts.ReadOnly)
	if err != nil {
		return nil, err
	}
	top.SetAttributes(opts.Attributes)
	e := &Engine{hub: hub, opts: opts, top: top, sources: sources, tree: &prodtree.Tree{Root: opts.ReadOnly, Unmounted: opts.Unmounted, Writable: opts.WritableSource,
		Owner: opts.Attributes.Owner, Top: top, Log: opts.Log}}
	top.SetTempSuffix(e.tempSuffix())
	if dir := sources.First(); dir != "" {
		e.sameMount = topdir.SameMount(string(dir), top.Path())
	}
	return e, nil
}

// defaultJobs returns one for each CPU and at least 4; at least 8 for a server, where most of the time is
// waiting.
func defaultJobs(first string) int {
	least := 4
	if strings.Contains(first, "://") {
		least = 8
	}
	return max(least, runtime.GOMAXPROCS(0))
}

// ledgerFile is the ledger that the engine works with, below topdir.
func (e *Engine) ledgerFile() string {
	if e.opts.Shard != "" {
		return ledger.ShardFile(e.opts.Shard)
	}
	return ledger.File
}

// Close releases what New opened.
func (e *Engine) Close() error { return e.top.Close() }

// PrefetchLedger begins to read the ledger, which Diff and DiffRemove need, while the caller makes a plan.
func (e *Engine) PrefetchLedger() { e.prefetch.Begin(e.top.Path()) }

// Check says why no copy can be made, as far as that shows without a plan: a directory of topdir cannot be
// written, the ledger cannot be used, or the hub could write production's tree. It writes nothing.
func (e *Engine) Check(copyVolume string) error {
	for _, dir := range []string{".", ledger.Dir, "packages", "vol", "vol/" + copyVolume} {
		path := e.top.Join(dir)
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("topdir %s: this process (uid %d) cannot write %s: %w", e.top.Path(), os.Geteuid(), path, err)
		}
	}
	if err := topdir.CheckCopyVolume(e.top, copyVolume); err != nil {
		return err
	}
	if _, err := ledger.Read(e.top.Path()); err != nil && !(errors.Is(err, ledger.ErrDamaged) && e.opts.Audit) {
		return cureLedger(err)
	}
	if e.opts.ReadOnly != "" {
		if err := e.tree.RefuseWritable(volumes.Plan{}); err != nil {
			return err
		}
	}
	return nil
}

// CheckRoom returns a *SpaceError if topdir has less free room than what stays free for staging's hub.
func (e *Engine) CheckRoom() error {
	room, err := e.top.Room()
	if err != nil {
		return err
	}
	if keep := reserve(room); room.Bytes <= keep {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Free: room.Bytes, Reserve: keep}
	}
	if room.Inodes < 1 {
		return &SpaceError{Topdir: e.top.Path(), Need: 1, Inodes: true}
	}
	return nil
}

// CheckSources says of each source, by name, why it gives no files; nil if it answers.
func (e *Engine) CheckSources(ctx context.Context) map[string]error { return e.sources.Check(ctx) }
