package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/secret"
)

// ShardJob is the work of one shard.
type ShardJob struct {
	Snapshot string
	Shard    Shard
	Limits   map[string]Limit // of each source, by its name in the plan: this job's part of what all may ask
	// Made must be called with what has been made since the last call; concurrent calls are right.
	Made func(files, bytes int64)
}

// Work makes the files of a shard exist below topdir. It is called again for a shard whose work was interrupted, and
// must then go on where it was. It must end soon when ctx does; ctx ends when another worker may get the shard.
//
// nil means that the shard is whole. A *SourceError is not the shard's fault: the job waits until the source may be
// asked again. An *IncompleteError ends the shard as failed, as another attempt would not help. After
// lockfile.ErrLocked the job waits. After other errors it is tried again, Attempts times in all.
type Work func(ctx context.Context, job ShardJob) error

// IncompleteError says that all of a shard was made that can be, and that some things were kept back.
type IncompleteError struct{ Err error }

func (e *IncompleteError) Error() string { return e.Err.Error() }
func (e *IncompleteError) Unwrap() error { return e.Err }

// Attempts is how often a shard is tried before it counts as failed.
const Attempts = 5

// lostMost is how often a worker may die or be cut off over a shard before it counts as failed.
const lostMost = 20

// worker works the jobs that River gives it.
type worker struct {
	river.WorkerDefaults[jobArgs]
	opts    Options
	q       *Queue
	leases  *leases
	sources *sources
	id      string
	fatal   func(error) // called if the process must end
	made    tally
	busy    atomic.Int64
}

// tally is what this worker made.
type tally struct{ shards, files, bytes atomic.Int64 }

// NextRetry is River's question: when a job that failed is tried again.
func (w *worker) NextRetry(job *river.Job[jobArgs]) time.Time {
	pause := w.opts.RetryAfter
	for range job.Attempt - 1 {
		pause *= 4
	}
	return time.Now().Add(min(pause, 10*time.Minute))
}

// again puts a job back into the queue, as it was. River does not count such an attempt.
func again(after time.Duration) error { return river.JobSnooze(after) }

// shardRow is what our table has of a shard.
type shardRow struct {
	Shard
	state string
}

// Work is River's call for one job.
func (w *worker) Work(ctx context.Context, job *river.Job[jobArgs]) error {
	w.busy.Add(1)
	defer w.busy.Add(-1)
	args := job.Args
	log := w.opts.Log.With("shard", args.Shard, "snapshot", args.Snapshot)
	fence, err := w.leases.take(ctx, lockKey(args.Topdir, "shard", args.Shard))
	if fence == nil {
		if err == nil {
			log.DebugContext(ctx, "another worker is at this shard")
			return again(5 * time.Second)
		}
		return again(time.Second)
	}
	defer fence.release(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(fence.in.lost, func() { cancel(errLost) })()
	limited, stop := context.WithTimeoutCause(ctx, w.opts.JobTime, errTime)
	defer stop()
	row, current, err := w.row(ctx, args)
	switch {
	case err != nil:
		log.DebugContext(ctx, "the queue does not say what the shard is", "err", err)
		return again(time.Second)
	case !current || row.state != "left":
		return nil // of an earlier plan, or done by a twin
	}
	turn, err := w.sources.wait(limited)
	if err != nil {
		return again(time.Second)
	}
	defer turn.end(ctx)
	count := &counter{w: w, args: args}
	if turn.probe && len(turn.limits) == 1 {
		count.first = func() { _ = w.sources.served(context.WithoutCancel(ctx)) }
	}
	reporting := count.begin(limited)
	begun := time.Now()
	log.DebugContext(ctx, "work begins", "files", row.Files, "bytes", row.Bytes)
	err = w.work(limited, fence, ShardJob{Snapshot: args.Snapshot, Shard: row.Shard, Limits: turn.limits, Made: count.add})
	reporting()
	if err == nil && limited.Err() != nil && context.Cause(limited) == errLost {
		err = errLost // whole or not: another may have begun
	}
	w.made.files.Add(count.files.Load())
	w.made.bytes.Add(count.bytes.Load())
	return w.ended(ctx, limited, job, row, begun, err)
}

// errTime ends a job that had its time.
var errTime = errors.New("the job had its time")

// work runs Work and watches that it ends when it must. If it does not, the process has to: no other way keeps two
// workers from one shard.
func (w *worker) work(ctx context.Context, fence *lock, job ShardJob) (err error) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-done:
			return
		case <-fence.in.lost.Done():
		}
		select {
		case <-done:
		case <-time.After(time.Until(w.leases.lastAnswer(fence.in).Add(stopWithin - time.Second))):
			w.fatal(&retry.TemporaryError{Err: fmt.Errorf("the queue did not answer, and the work on shard %q did not stop within %v: this worker ends, so that no two work on it", job.Shard.Name, stopWithin)})
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			w.opts.Log.DebugContext(ctx, "the work panicked", "shard", job.Shard.Name, "stack", string(debug.Stack()))
			err = fmt.Errorf("the work panicked, which is a fault of kojisnap: %v", r)
		}
	}()
	return w.opts.Work(ctx, job)
}

// row reads what our table has of a job's shard. current: the job is of the plan.
func (w *worker) row(ctx context.Context, args jobArgs) (r shardRow, current bool, err error) {
	err = w.q.pool.QueryRow(ctx, `SELECT s.shard, s.digest, s.files, s.bytes, s.mode, s.state, p.snapshot = $3
		FROM kojisnap_queue.fleet_shard s JOIN kojisnap_queue.fleet_plan p USING (topdir) WHERE topdir = $1 AND shard = $2`,
		args.Topdir, args.Shard, args.Snapshot).Scan(&r.Name, &r.Digest, &r.Files, &r.Bytes, &r.Mode, &r.state, &current)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, false, nil
	}
	return r, current, err
}

// ended says to River and in our table how the work of a shard ended.
func (w *worker) ended(ctx, limited context.Context, job *river.Job[jobArgs], row shardRow, begun time.Time, err error) error {
	log := w.opts.Log.With("shard", row.Name, "elapsed", time.Since(begun).Round(time.Millisecond))
	// The end is noted although the work was canceled; a queue that is cut off would never answer.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	var source *SourceError
	var incomplete *IncompleteError
	switch {
	case err == nil:
		if err := w.complete(noting, job, row); err != nil {
			log.InfoContext(ctx, "the shard is done, but the queue did not take that: it will be looked at again", "err", err)
			return again(time.Second)
		}
		if err := w.sources.served(noting); err != nil {
			log.DebugContext(ctx, "the sources' rows are as they were", "err", err)
		}
		w.made.shards.Add(1)
		log.InfoContext(ctx, "shard done", "files", row.Files, "bytes", row.Bytes)
		return nil
	case limited.Err() != nil:
		log.InfoContext(ctx, "shard interrupted", "why", context.Cause(limited), "err", err)
		return again(0)
	case errors.As(err, &source):
		rest, closed, noted := w.sources.failed(noting, source)
		if noted != nil {
			log.InfoContext(ctx, "the failure of a source is not noted", "err", noted)
			rest = restFirst
		}
		say := log.InfoContext
		if closed {
			say = log.WarnContext
		}
		say(ctx, "a source fails", "source", SourceKey(source.Source), "closed", closed, "for", rest.Round(time.Second), "err", err)
		return again(min(rest, restFirst))
	case errors.Is(err, lockfile.ErrLocked):
		log.InfoContext(ctx, "shard locked", "err", err)
		return again(5 * time.Second)
	case errors.As(err, &incomplete), job.Attempt >= job.MaxAttempts:
		log.WarnContext(ctx, "shard failed", "attempt", job.Attempt, "err", err)
		if noted := w.fail(noting, job, row, err, "failed"); noted != nil {
			return again(time.Second)
		}
		return river.JobCancel(plain(err))
	}
	log.WarnContext(ctx, "shard to be tried again", "attempt", job.Attempt, "err", err)
	if noted := w.fail(noting, job, row, err, "left"); noted != nil {
		log.DebugContext(ctx, "the failure is not noted", "err", noted)
	}
	return plain(err)
}

// plain is an error as the queue has it: its text without credentials, as River stores it.
func plain(err error) error { return errors.New(secret.HideText(err.Error())) }

// complete makes a shard done in one transaction with its job. A job that the queue has taken away meanwhile does not
// matter: the next one for the shard finds it done.
func (w *worker) complete(ctx context.Context, job *river.Job[jobArgs], row shardRow) error {
	return pgx.BeginFunc(ctx, w.q.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE kojisnap_queue.fleet_shard SET state = 'done', error = NULL, worker = $4, changed = now()
			WHERE topdir = $1 AND shard = $2 AND digest = $3 AND mode = $5`, job.Args.Topdir, row.Name, row.Digest, w.id, row.Mode); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		if errors.Is(err, river.ErrNotFound) {
			return nil
		}
		return err
	})
}

// fail notes a failure of a shard.
func (w *worker) fail(ctx context.Context, job *river.Job[jobArgs], row shardRow, err error, state string) error {
	_, noted := w.q.pool.Exec(ctx, `UPDATE kojisnap_queue.fleet_shard SET state = $4, failures = failures + 1, error = $5, worker = $6, changed = now()
		WHERE topdir = $1 AND shard = $2 AND digest = $3 AND state = 'left'`,
		job.Args.Topdir, row.Name, row.Digest, state, plain(err).Error(), w.id)
	return noted
}

// counter reports what a job makes, every few seconds.
type counter struct {
	w            *worker
	args         jobArgs
	files, bytes atomic.Int64
	sentFiles    int64
	sentBytes    int64
	first        func() // at the first file
	once         sync.Once
}

// madeEvery is how often what was made is reported.
const madeEvery = 5 * time.Second

func (c *counter) add(files, bytes int64) {
	c.files.Add(files)
	c.bytes.Add(bytes)
	if c.first != nil {
		c.once.Do(func() { go c.first() })
	}
}

// begin reports until the function that it returns is called.
func (c *counter) begin(ctx context.Context) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(madeEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.send(ctx)
			case <-stop:
				c.send(context.WithoutCancel(ctx))
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}

// send adds what was made since the last report. If the queue does not take it, the next report has it.
func (c *counter) send(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	files, bytes := c.files.Load()-c.sentFiles, c.bytes.Load()-c.sentBytes
	err := pgx.BeginFunc(ctx, c.w.q.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO kojisnap_queue.fleet_made (topdir, worker, shard, files, bytes) VALUES ($1, $2, $3, $4, $5)`,
			c.args.Topdir, c.w.id, c.args.Shard, files, bytes); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE kojisnap_queue.fleet_shard SET made_files = made_files + $3, made_bytes = made_bytes + $4, worker = $5
			WHERE topdir = $1 AND shard = $2`, c.args.Topdir, c.args.Shard, files, bytes, c.w.id)
		return err
	})
	if err == nil {
		c.sentFiles += files
		c.sentBytes += bytes
	}
}
