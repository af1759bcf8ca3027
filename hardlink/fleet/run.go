package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/retry"
)

// Options of a worker. Topdir, Work and Jobs are required.
type Options struct {
	Topdir string // its id
	Work   Work
	Jobs   int // shards at a time
	// Snapshot, if it is given, must be that of the plan.
	Snapshot string
	// Sources, if they are given, must be those of the plan, in any order: limits go by their names.
	Sources []string
	// UntilDone ends Run when no shard is left. Otherwise it waits for the next plan.
	UntilDone bool
	Grace     time.Duration // how long work may go on when ctx ends; default 10 s
	JobTime   time.Duration // then a job goes back to the queue, and is resumed; default 20 min
	// RetryAfter is the pause after the first failure of a shard; each later one is four times as long. Default 15 s.
	RetryAfter time.Duration
	ClosedFor  time.Duration // how long three failures close a source; default 10 min
	Log        *slog.Logger
}

// rescueMargin is how much longer than JobTime River waits before it takes a job for stuck. It is the last resort:
// see reclaimer.
const rescueMargin = 5 * time.Minute

// Done is what one worker did.
type Done struct {
	Worker string `json:"worker"`
	Shards int64  `json:"shards"`
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
}

// Run works on the shards of a topdir's plan until ctx ends, or with UntilDone until none is left. When ctx ends, work
// goes on for Grace, and is then interrupted and given back; that is no error. While the queue does not answer, Run
// stops its work and waits. A plan with another snapshot or other sources than the options have is a *MismatchError,
// none for the topdir a *NoPlanError. A *retry.TemporaryError ends the worker where two might have worked on one
// shard: the process must end then, as work may still go on.
func (q *Queue) Run(ctx context.Context, o Options) (Done, error) {
	o = o.withDefaults()
	failed, end := context.WithCancelCause(context.Background())
	defer end(nil)
	fail := func(err error) {
		q.gone.Store(true)
		end(err)
	}
	w := &worker{opts: o, q: q, id: workerID(), fatal: fail}
	w.leases = &leases{log: o.Log, broken: fail, connect: func(ctx context.Context) (*pgx.Conn, error) { return dbconn.Connect(ctx, q.dsn) }}
	w.sources = &sources{q: q, leases: w.leases, topdir: o.Topdir, closed: o.ClosedFor}
	if err := q.Check(ctx, o); err != nil {
		return Done{Worker: w.id}, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riverpgxv5.New(q.pool), &river.Config{
		ID: w.id, Schema: schema, Logger: demote(o.Log), Workers: workers, FetchOnlyKnownKinds: true,
		Queues:      map[string]river.QueueConfig{queueName(o.Topdir): {MaxWorkers: o.Jobs}},
		MaxAttempts: Attempts,
		// The job's own time comes first.
		JobTimeout: o.JobTime + rescueMargin/2, RescueStuckJobsAfter: o.JobTime + rescueMargin,
		SoftStopTimeout: o.Grace,
		PollOnly:        true, // no session more for each worker; a job lasts minutes
	})
	if err != nil {
		return Done{Worker: w.id}, fmt.Errorf("queue: %w", err)
	}
	if err := w.leases.open(ctx); err != nil {
		return Done{Worker: w.id}, fmt.Errorf("queue: %w", err)
	}
	// The session must live until all work has ended.
	keeping, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	go w.leases.keep(keeping)
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return Done{Worker: w.id}, fmt.Errorf("queue: %w", dbconn.Classify(err))
	}
	looking, stopLooking := context.WithCancel(ctx)
	defer stopLooking()
	go (&reclaimer{w: w, client: client, topdir: o.Topdir}).run(looking)
	o.Log.InfoContext(ctx, "the worker is ready", "worker", w.id, "jobs", o.Jobs)
	err = w.until(ctx, failed)
	stopLooking()
	if err == nil {
		err = w.stop(ctx, failed, client)
	}
	return w.done(), err
}

func (w *worker) done() Done {
	return Done{w.id, w.made.shards.Load(), w.made.files.Load(), w.made.bytes.Load()}
}

func (o Options) withDefaults() Options {
	o.Jobs = max(1, o.Jobs)
	for d, standard := range map[*time.Duration]time.Duration{&o.Grace: 10 * time.Second, &o.JobTime: 20 * time.Minute, &o.RetryAfter: 15 * time.Second, &o.ClosedFor: 10 * time.Minute} {
		if *d <= 0 {
			*d = standard
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// MismatchError says that a worker was started for something else than the queue's plan.
type MismatchError struct{ What, Plan, Worker string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the plan in the queue has the %s %s, this worker %s: give it the same, or run copy --builds all --queue again", e.What, e.Plan, e.Worker)
}

// Check refuses a plan that is not the worker's, as Run does.
func (q *Queue) Check(ctx context.Context, o Options) error {
	c, err := q.Current(ctx, o.Topdir)
	if err != nil {
		return err
	}
	if o.Snapshot != "" && o.Snapshot != c.Snapshot {
		return &MismatchError{"snapshot", c.Snapshot, o.Snapshot}
	}
	if len(o.Sources) == 0 {
		return nil
	}
	own := make([]string, len(o.Sources))
	for i, s := range o.Sources {
		own[i] = SourceKey(s)
	}
	if !slices.Equal(slices.Sorted(slices.Values(own)), slices.Sorted(slices.Values(c.Sources))) {
		return &MismatchError{"sources", strings.Join(c.Sources, ", "), strings.Join(own, ", ")}
	}
	return nil
}

// until waits for the end of the work. nil: stop in order.
func (w *worker) until(ctx, failed context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-failed.Done():
			return context.Cause(failed)
		case <-tick.C:
		}
		if !w.opts.UntilDone || w.busy.Load() > 0 {
			continue
		}
		var left int
		asking, cancel := context.WithTimeout(ctx, pingWithin)
		err := w.q.pool.QueryRow(asking, "SELECT count(*) FROM kojisnap_queue.fleet_shard WHERE topdir = $1 AND state = 'left'", w.opts.Topdir).Scan(&left)
		cancel()
		if err == nil && left == 0 {
			return nil
		}
	}
}

// stop lets work end for the time of grace, and interrupts it then. Jobs that were interrupted are in the queue again
// when it returns, if the queue answers; else they go back when it does.
func (w *worker) stop(ctx, failed context.Context, client *river.Client[pgx.Tx]) error {
	limit := w.opts.Grace + stopWithin
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- client.Stop(stopping) }()
	select {
	case <-failed.Done():
		return context.Cause(failed)
	case err := <-stopped:
		switch {
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		case w.busy.Load() > 0:
			return &retry.TemporaryError{Err: fmt.Errorf("the work did not end within %v: this worker ends without it", limit)}
		}
		return nil // the queue does not answer
	}
}

// demote is the log for River: what it calls an error, such as a statement while the server restarts, it tries again,
// and what matters to people this package says itself.
func demote(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(demoted{log.Handler()})
}

type demoted struct{ slog.Handler }

func (d demoted) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

func (d demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Message, r.Level = "queue: "+r.Message, slog.LevelDebug
	return d.Handler.Handle(ctx, r)
}

func (d demoted) WithAttrs(a []slog.Attr) slog.Handler { return demoted{d.Handler.WithAttrs(a)} }
func (d demoted) WithGroup(g string) slog.Handler      { return demoted{d.Handler.WithGroup(g)} }
