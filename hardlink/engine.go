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
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/prodtree"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// Level is how much Diff looks at a file that is there already. New files have
// their digest checked at any level.
type Level int

const (
	VerifySize   Level = iota // size and mtime are the ledger's
	VerifyDigest              // its content is read
)

// Options of an Engine. Topdir is needed, and ReadOnly or a source.
type Options struct {
	Topdir string
	// HubTopdir is the path that staging's hub, and who else reads it, has for topdir: symlinks
	// of staged builds say it. "": as Topdir has it.
	HubTopdir string
	// ReadOnly is production's topdir, mounted read-only on this machine: vol/prod shows its
	// builds, and symlinks of staged builds lead to them. "": no symlinks are made.
	ReadOnly string
	// Clone is a writable clone of ReadOnly, which vol/prod shows instead; "": it shows ReadOnly.
	// Production's other volumes are not in it.
	Clone string
	// WritableSource says that staging's hub may be able to write ReadOnly, which else is refused:
	// a build that is deleted or moved in staging would go in production.
	WritableSource bool
	// Unmounted are production's volumes that this site never has, by production's names: their builds
	// are left out, which is nothing to report.
	Unmounted []string
	// Sources are directories that hold production's tree, or URLs of it, asked in turn.
	// Empty: ReadOnly.
	Sources []string
	// OpenSource opens URLs that are not http or https; nil: there are none.
	OpenSource func(url string) (source.Objects, error) `json:"-"`
	Jobs       int                                      // files at a time; default: one per CPU, at least 4; at least 8 if the first source is a URL
	Verify     Level                                    // default VerifySize
	// Audit makes Diff look at all that is planned, and a damaged ledger anew. VerifyDigest
	// looks at all, too.
	Audit bool
	// Repair makes again, from the sources, what an audit finds that was put there and is damaged
	// since; else it is told, and stays.
	Repair bool
	// Suspects are files below Topdir that were found missing or damaged: Diff looks at their
	// builds, reads them to their end, and makes them again if they were put there. What is in the
	// place of one and not ours stays.
	Suspects []string
	// Saved reads a copy of the ledger from elsewhere, nil if there is none, for a topdir
	// that has lost its own, or of which it is damaged and audited.
	Saved func(ctx context.Context) (*ledger.Ledger, error) `json:"-"`
	// Leave makes Diff note the builds that the ledger has and the plan has not: the database
	// is to move them off the copy volume, and after KeepFor DiffRemove removes them.
	Leave   bool
	KeepFor time.Duration
	// Rows asks staging's database for the volumes on which builds stand, by N-V-R: "" if the
	// database has the build, and not as a complete one. Diff asks about symlinks on DEFAULT that
	// are gone or have a directory in their place. DiffRemove removes no files of builds that
	// still stand on the copy volume, and only symlinks of builds that are not complete. nil: what
	// the database names is not known, no symlink goes, and each directory is staging's own.
	Rows    func(ctx context.Context, builds []volumes.Build) (map[string]string, error) `json:"-"`
	Now     func() time.Time                                                             `json:"-"` // nil: time.Now
	BwLimit int64                                                                        // bytes a second read from all sources together; 0: no limit
	// SourceLimits are bytes a second of single sources, as Sources names them.
	SourceLimits map[string]int64
	// BatchFiles is how many files are made before they are synced and get their
	// names: a batch also ends with 256 MiB, and what a kill loses is at most
	// three of them. Default 4000.
	BatchFiles int
	// Attributes are of all that is made. An owner to whom this process cannot give files
	// (Owner.CanGive) makes each Apply fail.
	Attributes topdir.Attributes
	Client     *http.Client // for URLs; nil: a default one
	// RetryInterval is the pause before a request is sent again, doubled for each further
	// time, with jitter. Default 1 s.
	RetryInterval time.Duration
	// SlowAfter is over how long the rate of a server's answer is measured, see package slow;
	// default a minute.
	SlowAfter time.Duration
	Log       *slog.Logger
	Progress  progress.Progress
}

// Engine makes the files of plans exist below one topdir.
type Engine struct {
	hub        string // topdir's path as staging's hub has it
	opts       Options
	top        *topdir.Dir
	sources    *source.Set
	noLink     devices // link(2) said EXDEV
	noClone    devices
	tree       *prodtree.Tree
	volumeDirs []string // of production's other volumes that are shown, below its topdir
	prefetch   ledger.Prefetch
	// sameMount: the first source can be hard-linked from, as far as mounts go.
	sameMount bool
}

// New checks topdir, read-only volume and sources, and writes nothing. Close the
// engine after use.
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
		SlowAfter: opts.SlowAfter, BwLimit: opts.BwLimit, Limits: opts.SourceLimits, Log: opts.Log})
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
	if dir := sources.First(); dir != "" {
		e.sameMount = topdir.SameMount(string(dir), top.Path())
	}
	return e, nil
}

// defaultJobs are one for each CPU and at least 4, or at least 8 where most of the time goes into
// waiting for a server.
func defaultJobs(first string) int {
	least := 4
	if strings.Contains(first, "://") {
		least = 8
	}
	return max(least, runtime.GOMAXPROCS(0))
}

// Close releases what New opened.
func (e *Engine) Close() error { return e.top.Close() }

// PrefetchLedger begins to read the ledger, which Diff and DiffRemove need, while the caller makes a plan.
func (e *Engine) PrefetchLedger() { e.prefetch.Begin(e.top.Path()) }

// Check says why no copy can be made, as far as that shows without a plan: a directory of topdir cannot
// be written, the ledger is of no use, the hub could write production's tree. It writes nothing.
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

// CheckRoom is a *SpaceError if topdir has no room for what is copied beside what stays free for staging's hub.
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

// CheckSources says of each source, by its name, why no file can be had from it, nil if it answers.
func (e *Engine) CheckSources(ctx context.Context) map[string]error { return e.sources.Check(ctx) }
