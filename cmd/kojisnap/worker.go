package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/hardlink/fleet"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/snapfile"
)

var workerCommand = command{
	name:  "worker",
	short: "copy shards of all builds that a queue gives, beside other workers",
	long: `Worker copies shards of all builds that copy --builds all --queue has put into a queue, one after the other, until it is
told to stop by SIGTERM; with --until-done until none is left. Start as many as there are hosts to copy with, at any time. They
share topdir, by NFS for instance, and the store. Each needs the [copy] section of the plan: the same sources, --sigkey and volumes,
topdir by whatever path. A worker with another topdir, other sources or, if it is given, another --snapshot is refused with exit
code 2.

The queue is in PostgreSQL, in the schema kojisnap_queue of a database of its own or of staging's; not behind a pooler in
transaction mode. A worker works on a shard only while its session there holds a lock. If the queue does not answer for some
seconds, for instance because it restarts, work stops and goes on later. A shard whose worker was killed goes to another one after
half a minute, which goes on where the first one was.

--bwlimit and --max-requests are those of copy --builds all --queue: they hold for all workers together. As many shards as that
command's --slots are copied at a time, and each keeps to its part of the limits. If a source is out of order (429, 503, silence),
it is left alone, after the third time for ten minutes; then one worker tries it again.

A shard that fails five times, or over which twenty workers die, counts as failed; others go on. A shard of which something was
kept back, such as a file that production has lost, counts as failed at once. copy --status --queue names them; copy --builds all
--queue puts them into the queue again.

When it is told to stop, a worker ends work that takes no longer than --grace, gives back the rest, and exits with 0. With
--until-done it exits with 0 if all shards are done, and with 3, naming them, if some have failed.`,
	examples: `
kojisnap worker -c stg.toml --queue 'host=db.stg dbname=queue user=kojisnap' --jobs 2
kojisnap worker -c stg.toml --queue 'service=queue' --until-done -v
kojisnap worker -c stg.toml --topdir /net/filer/koji --metrics /var/lib/prometheus/node-exporter/kojisnap_worker.prom`,
	setup: func(f *config.Flags) runner {
		var o workerFlags
		f.Section("worker", nil, o.add)
		// A worker's jobs are shards; what it does with one, the queue says.
		f.Section("copy", map[string]string{"jobs": "file-jobs"}, o.copy.add)
		for _, name := range []string{"tag", "arch", "builds", "audit", "repair", "verify", "keep-days", "bwlimit", "max-requests"} {
			f.Set.Lookup(name).Hidden = true
		}
		return o.run
	},
}

type workerFlags struct {
	queueFlags
	copy      copyFlags
	jobs      int
	untilDone bool
	grace     time.Duration
	metrics   string
}

// queueFlags name a queue.
type queueFlags struct{ queue string }

func (o *queueFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.queue, "queue", "", "use the queue of shards in the PostgreSQL database `DSN`")
}

func (o *workerFlags) add(fs *pflag.FlagSet) {
	o.queueFlags.add(fs)
	fs.IntVar(&o.jobs, "jobs", 1, "copy `N` shards at a time")
	fs.BoolVar(&o.untilDone, "until-done", false, "end when no shard is left, instead of waiting for the next plan")
	config.DurationVar(fs, &o.grace, "grace", 10*time.Second, "when told to stop, let work go on for `TIME`")
	fs.StringVar(&o.metrics, "metrics", "", "every quarter of a minute, write metrics of the queue for Prometheus to `FILE`")
}

// check refuses wrong values, before anything is done.
func (o *workerFlags) check(a *app) error {
	if err := o.queueFlags.check(a); err != nil {
		return err
	}
	switch {
	case o.jobs < 1:
		return exit.Usagef("--jobs %d: one shard at a time, at least", o.jobs)
	case o.grace <= 0:
		return exit.Usagef("--grace %v: want a time above 0, such as 10s", o.grace)
	}
	return nil
}

func (o *queueFlags) check(a *app) error {
	if o.queue == "" {
		return a.missing("queue", "--queue DSN, or queue = \"…\" in [worker] of the configuration")
	}
	return a.checkDSN(o.queue)
}

// workerResult is what worker prints with --json.
type workerResult struct {
	fleet.Done
	Left     int             `json:"left"`               // shards of the plan that are neither done nor failed
	Failures []fleet.Failure `json:"failures,omitempty"` // of shards that are not done
}

func (o *workerFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := o.check(a); err != nil {
		return err
	}
	if err := flags.CheckOutput("metrics", o.metrics); err != nil {
		return err
	}
	o.copy.builds, o.copy.audit, o.copy.repair, o.copy.verify = "all", false, false, "size"
	opt, err := o.copy.options(a)
	if err != nil {
		return err
	}
	if err := a.useKeys("", o.copy.verifyKeys); err != nil {
		return err
	}
	s, err := a.openStore(false)
	if err != nil {
		return err
	}
	q, topdir, err := openTopdirQueue(ctx, a, o.queue, o.copy.topdir)
	if err != nil {
		return err
	}
	defer q.Close()
	current, err := q.Current(ctx, topdir)
	if err != nil {
		return queueError(err)
	}
	work := kojisnap.NewFleetWork(s, opt, func(ctx context.Context, id string) (*snapfile.Snapshot, error) { return openID(ctx, s, id) })
	run := fleet.Options{Topdir: topdir, Work: work.Work, Jobs: o.jobs, Sources: opt.FleetSources(), UntilDone: o.untilDone, Grace: o.grace, Log: a.log}
	if o.copy.snapshot != "latest" {
		run.Snapshot = o.copy.snapshot
	}
	if err := q.Check(ctx, run); err != nil {
		return queueError(err)
	}
	if err := work.Prepare(ctx, current.Snapshot); err != nil {
		return err
	}
	if a.dryRun {
		st, err := q.Status(ctx, topdir)
		if err != nil {
			return queueError(err)
		}
		if err := a.result(workerResult{Left: st.Shards.Left, Failures: st.Failures}, func(w io.Writer) { showFleet(w, st) }); err != nil {
			return err
		}
		if st.Shards.Left > 0 {
			return exit.Pending()
		}
		return nil
	}
	if o.metrics != "" {
		writing, stop := context.WithCancel(ctx)
		defer stop()
		go a.keepFleetMetrics(writing, q, topdir, o.metrics)
	}
	done, err := q.Run(ctx, run)
	if err != nil {
		return queueError(err)
	}
	return o.tell(ctx, a, q, topdir, done)
}

// tell says what the worker did and, if it worked until the end, how all ended.
func (o *workerFlags) tell(ctx context.Context, a *app, q *fleet.Queue, topdir string, done fleet.Done) error {
	r := workerResult{Done: done}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	st, err := q.Status(asking, topdir)
	if err == nil {
		r.Left, r.Failures = st.Shards.Left, st.Failures
		if o.metrics != "" {
			a.writeFleetMetrics(asking, st, o.metrics)
		}
	}
	if err := a.result(r, nil); err != nil {
		return err
	}
	a.tell("this worker copied %d shards: %d files, %s", done.Shards, done.Files, kojisnap.Size(done.Bytes))
	if ctx.Err() != nil || !o.untilDone {
		return nil
	}
	if err != nil {
		return queueError(err)
	}
	return a.tellFleet(st)
}

// openTopdirQueue opens a queue that there must be, and returns by what id it knows a topdir.
func openTopdirQueue(ctx context.Context, a *app, dsn, dir string) (q *fleet.Queue, topdir string, err error) {
	if topdir, err = fleet.TopdirID(dir, false); err != nil {
		return nil, "", exit.AsUsage(err)
	}
	q, err = fleet.Open(ctx, dsn, a.log)
	return q, topdir, queueError(err)
}

// queueError makes those errors of a queue errors of usage which say that it, the plan in it or topdir is another one.
func queueError(err error) error {
	if errors.Is(err, fleet.ErrNoQueue) || errors.As(err, new(*fleet.NoPlanError)) || errors.As(err, new(*fleet.MismatchError)) || errors.As(err, new(*fleet.VersionError)) {
		return exit.AsUsage(err)
	}
	return err
}
