package hardlink

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/progress"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// A batch also ends at this size. Nothing hides the sync of the last batch: it takes some 0.3 s on a disk.
const batchBytes = 256 << 20

// Apply executes the actions. It leaves out a build with a missing or damaged file and makes all others; then
// it returns a *LeftOutError about all that was left out, in which errors.As finds a DigestError, a
// MissingError or a TemporaryError. A full disk or a canceled ctx ends Apply at once: builds in place stay,
// and nothing unfinished is left. The report says what was done in each case.
func (e *Engine) Apply(ctx context.Context, a Actions) (Report, error) {
	report := Report{Present: a.Present, Absent: a.Absent, Adopted: a.Adopted, Leaving: len(a.Leaving), Grace: len(a.Grace), Kept: a.Kept}
	nothing := !a.Pending() && a.notes.Empty()
	if nothing && a.CopyVolume == "" {
		return report, a.Err()
	}
	if err := volumes.CheckName("copy volume name", a.CopyVolume); err != nil {
		return report, err
	}
	if nothing && !a.removal { // Apply did this already for the actions of Diff
		tempDirs{e}.tidy(a.CopyVolume)
		if a.Err() == nil {
			if err := e.noteAttributes(); err != nil {
				return report, err
			}
		}
	}
	if nothing {
		return report, a.Err()
	}
	need, _ := space(a.Builds)
	if e.opts.Shard == "" {
		unlock, err := ledger.Lock(e.top)
		if err != nil {
			return report, e.full(err, need)
		}
		defer unlock()
	}
	if err := e.checkSpace(a.Builds); err != nil {
		return report, err
	}
	r, err := e.begin(a, &report)
	if err != nil {
		return report, e.full(err, need)
	}
	defer r.end()
	if err := r.run(ctx, a); err != nil {
		return report, e.full(err, need-report.Bytes)
	}
	return report, a.leftOut(r.broken)
}

// run is one call of Apply.
type run struct {
	*Engine
	ledger *ledger.Writer
	known  *ledger.Ledger
	temp   string // directory for temporary names, relative to topdir
	volume string
	report *Report
	broken []error           // errors of builds that are left out, and of what else is kept back
	stay   map[string]string // for these builds: symlink on DEFAULT → its target
	folds  bool              // topdir's file system ignores case

	mu   sync.Mutex
	next int
	dirs map[string]string // directories of builds in lower case → N-V-R; only if folds is set
}

// begin removes what a killed run left, and makes the directory for temporary names.
func (e *Engine) begin(a Actions, report *Report) (*run, error) {
	if err := topdir.EnsureCopyVolume(e.top, a.CopyVolume); err != nil {
		return nil, err
	}
	if !a.removal {
		tempDirs{e}.clearTemp(a.CopyVolume)
	} else if dir := e.top.PackagesTemp(); dir != "" {
		tempDirs{e}.removeTemp(dir)
	}
	temp, err := tempDirs{e}.freeTemp(a.CopyVolume)
	if err != nil {
		return nil, err
	}
	if err := e.top.NotePackages(); err != nil {
		return nil, err
	}
	r := &run{Engine: e, volume: a.CopyVolume, report: report, temp: temp}
	if err := e.top.UseTemp(r.temp); err != nil {
		e.top.RemoveAll(r.temp) // its owner could not be set
		return nil, err
	}
	r.foldsCase()
	if r.known, r.ledger, err = ledger.OpenFile(e.top, e.ledgerFile(), a.instead); err != nil {
		e.top.RemoveAll(r.temp)
		return nil, err
	}
	if err := r.ledger.Append(&a.notes); err != nil {
		r.ledger.Close()
		e.top.RemoveAll(r.temp)
		return nil, err
	}
	return r, nil
}

func (r *run) end() {
	r.ledger.Close()
	if r.top.Unlabelled() {
		r.opts.Log.Info("topdir's file system keeps no SELinux labels: files have the one of its mount", "path", r.top.Path())
	}
	tempDirs{r.Engine}.removeTemp(r.temp)
	if dir := r.top.PackagesTemp(); dir != "" {
		tempDirs{r.Engine}.removeTemp(dir)
	}
}

// tempName returns a new name in the temporary directory.
func (r *run) tempName() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.temp + "/" + strconv.Itoa(r.next)
}

// run works in an order in which no symlink ever points to something that does not exist yet.
func (r *run) run(ctx context.Context, a Actions) error {
	if err := r.volumes(a.Volumes); err != nil {
		return err
	}
	if err := r.removeStrays(a.Strays); err != nil {
		return err
	}
	copied := progress.BeginFiles(r.opts.Progress, "copy", a.files(), a.Bytes())
	err := r.builds(ctx, a.Builds, copied)
	copied.End()
	if err != nil {
		return err
	}
	if a.retargeted && len(r.broken) == 0 {
		var done ledger.Batch
		done.Hub(r.hub)
		if err := r.ledger.Append(&done); err != nil {
			return err
		}
	}
	counter := r.opts.Progress.Begin("link", int64(len(a.Links)))
	err = r.links(ctx, r.redirected(a.Links), counter)
	counter.End()
	if err != nil {
		return err
	}
	if err := r.own(ctx, a.Own); err != nil {
		return err
	}
	if err := r.remove(ctx, a); err != nil || len(r.broken) > 0 || a.removal {
		return err
	}
	return r.noteAttributes()
}

// builds makes the builds in batches. While it syncs and names one batch, it makes the next.
func (r *run) builds(ctx context.Context, builds []BuildAction, counter progress.FileCounter) error {
	made, committed := make(chan []*making), make(chan error, 1)
	making, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		c := &committer{run: r, named: &ledger.Batch{}, durable: &ledger.Batch{}, all: len(builds)}
		var err error
		for ms := range made {
			if err == nil {
				if err = c.commit(ms); err != nil {
					stop()
				}
			}
		}
		if err == nil {
			err = c.end()
		}
		committed <- err
	}()
	err := r.makeBatches(making, builds, counter, made)
	close(made)
	if cerr := <-committed; cerr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return cerr
	}
	return err
}

func (r *run) makeBatches(ctx context.Context, builds []BuildAction, counter progress.FileCounter, made chan<- []*making) error {
	for len(builds) > 0 {
		n, files, bytes := 0, 0, int64(0)
		for n < len(builds) && (n == 0 || files < r.opts.BatchFiles && bytes < batchBytes) {
			files += len(builds[n].Files)
			bytes += builds[n].bytes()
			n++
		}
		if err := r.checkSpace(builds[:n]); err != nil {
			return err
		}
		ms, err := r.makeBatch(ctx, builds[:n], counter)
		if err != nil {
			return err
		}
		made <- ms
		builds = builds[n:]
	}
	return ctx.Err()
}

// parallel calls f for 0 to n-1 on Jobs workers, until a call fails or ctx is canceled.
func (e *Engine) parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for range min(e.opts.Jobs, n) {
		g.Go(func() error {
			for gctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := f(gctx, i); err != nil {
					return err
				}
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
