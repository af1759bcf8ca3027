package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync/dbconn"
	"kojisnap/hardlink/fleet"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/metrics"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// checkQueue refuses flags about a queue, and about parts of an audit, that do not go together.
func (o *copyFlags) checkQueue(all bool) error {
	audits := o.audit || o.repair || o.verify == "digest"
	switch {
	case o.auditPart != "" && !(all && audits):
		return exit.Usagef("--part: this is about an audit of all builds: give --builds all and --audit, or --verify digest")
	case o.auditPart != "" && o.shard != "":
		return exit.Usagef("--part and --shard: --part divides an audit in time, --shard between workers; choose one")
	case o.slots < 1:
		return exit.Usagef("--slots %d: one shard at a time, at least", o.slots)
	case o.queue == "" || !all || o.shard != "":
		return nil
	}
	return dbconn.CheckDSN(o.queue)
}

// enqueue plans a copy of all builds, and puts its shards into the queue.
func (o *copyFlags) enqueue(ctx context.Context, a *app, snap *snapfile.Snapshot, s store.Store, opt kojisnap.CopyOptions, part shard.Part) error {
	if a.dryRun {
		plan, temporary, err := kojisnap.PlanShards(ctx, snap, opt)
		if err != nil {
			return err
		}
		if temporary {
			defer plan.Remove()
		}
		r := fleet.Enqueued{Snapshot: snap.ID, Shards: len(plan.Shards)}
		for _, info := range plan.Shards {
			r.Files += int64(info.Files)
			r.Bytes += info.Bytes
		}
		if err := a.result(r, func(w io.Writer) {
			fmt.Fprintf(w, "queue %d shards of snapshot %s: %d files, %d bytes\n", r.Shards, r.Snapshot, r.Files, r.Bytes)
		}); err != nil {
			return err
		}
		return exit.Pending()
	}
	q, err := fleet.Make(ctx, o.queue, a.log)
	if err != nil {
		return queueError(err)
	}
	defer q.Close()
	r, err := kojisnap.EnqueueShards(ctx, snap, s, q, opt, o.slots, part)
	if err != nil {
		return queueError(err)
	}
	if err := a.result(r, nil); err != nil {
		return err
	}
	a.tell("%d of %d shards were put into the queue, %d were in it, %d are done: %d files, %s in all", r.Queued, r.Shards, r.Waiting, r.Done, r.Files, kojisnap.Size(r.Bytes))
	return nil
}

// queueStatus tells how far the plan in the queue is.
func (o *copyFlags) queueStatus(ctx context.Context, a *app) error {
	q, topdir, err := openTopdirQueue(ctx, a, o.queue, o.topdir)
	if err != nil {
		return err
	}
	defer q.Close()
	st, err := q.Status(ctx, topdir)
	if err != nil {
		return queueError(err)
	}
	if err := a.result(st, func(w io.Writer) { showFleet(w, st) }); err != nil {
		return err
	}
	if st.Complete() {
		return nil
	}
	return exit.AsNotReady(exit.Reported(errors.New(leftText(st))))
}

// leftText says what is not done.
func leftText(st fleet.Status) string {
	var failed []string
	for _, f := range st.Failures {
		if f.State == "failed" {
			failed = append(failed, f.Shard)
		}
	}
	text := fmt.Sprintf("%d of %d shards are not done", st.Shards.Left+st.Shards.Failed, st.Shards.All)
	if len(failed) > 0 {
		text += "; failed: " + strings.Join(failed, " ")
	}
	return text
}

// tellFleet names the shards that have failed, or are left.
func (a *app) tellFleet(st fleet.Status) error {
	if st.Complete() {
		return nil
	}
	for _, f := range st.Failures {
		if f.State == "failed" {
			a.complain(fmt.Sprintf("shard %s: %s", f.Shard, f.Error))
		}
	}
	text := leftText(st)
	a.complain(text + "; copy --builds all --queue puts them into the queue again")
	return exit.AsNotReady(exit.Reported(errors.New(text)))
}

// showFleet writes how far a plan is.
func showFleet(w io.Writer, st fleet.Status) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "plan\tsnapshot %s, of %s\n", output.Clean(st.Snapshot), output.Day(st.Planned))
	fmt.Fprintf(tw, "shards\t%d done, %d left, %d failed, of %d\n", st.Shards.Done, st.Shards.Left, st.Shards.Failed, st.Shards.All)
	fmt.Fprintf(tw, "files\t%d of %d\n", st.Files.Done, st.Files.All)
	fmt.Fprintf(tw, "bytes\t%s of %s%s\n", kojisnap.Size(st.Bytes.Done), kojisnap.Size(st.Bytes.All), percent(st.Bytes))
	switch {
	case st.Complete():
	case st.Left != nil:
		fmt.Fprintf(tw, "rate\t%s/s, %s left\n", kojisnap.Size(st.Rate), kojisnap.Age(time.Duration(*st.Left)*time.Second))
	default:
		fmt.Fprintf(tw, "rate\tnothing was made in the last minutes\n")
	}
	for _, x := range st.Workers {
		fmt.Fprintf(tw, "worker\t%s: %s/s, shards %s\n", output.Clean(x.Worker), kojisnap.Size(x.Rate), output.Clean(strings.Join(x.Shards, " ")))
	}
	for _, x := range st.Sources {
		if x.OpenAt != nil {
			fmt.Fprintf(tw, "source\t%s: is left alone for %s: %s\n", output.Clean(x.Source), kojisnap.Age(x.OpenAt.Sub(st.Now)), output.Clean(x.Error))
		}
	}
	for _, f := range st.Failures {
		state := "is tried again"
		if f.State == "failed" {
			state = "failed"
		}
		fmt.Fprintf(tw, "shard\t%s %s: %d failures, %d workers lost: %s\n", output.Clean(f.Shard), state, f.Failures, f.Lost, output.Clean(f.Error))
	}
	tw.Flush()
}

func percent(x fleet.Amount) string {
	if x.All == 0 {
		return ""
	}
	return fmt.Sprintf(", %d %%", x.Done*100/x.All)
}

// keepFleetMetrics writes metrics until ctx ends.
func (a *app) keepFleetMetrics(ctx context.Context, q *fleet.Queue, topdir, path string) {
	for {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		if st, err := q.Status(asking, topdir); err == nil {
			a.writeFleetMetrics(ctx, st, path)
		} else {
			a.log.DebugContext(ctx, "the metrics are as they were: the queue does not answer", "err", err)
		}
		cancel()
		if retry.Sleep(ctx, 15*time.Second) != nil {
			return
		}
	}
}

func (a *app) writeFleetMetrics(ctx context.Context, st fleet.Status, path string) {
	if err := metrics.WriteFleet(path, version.Number, st); err != nil {
		a.log.WarnContext(ctx, "the metrics are not written", "file", path, "err", err)
	}
}
