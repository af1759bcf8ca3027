package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/hardlink"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// part reads --shard, and refuses flags that do not go together.
func (o *copyFlags) part() (shard.Part, error) {
	all := compose.Builds(o.builds) == compose.BuildsAll
	for _, f := range []struct {
		name  string
		given bool
	}{{"--shard", o.shard != ""}, {"--status", o.status}} {
		if f.given && !all {
			return shard.Part{}, exit.Usagef("%s: this is about --builds all", f.name)
		}
	}
	if all && o.list0 {
		return shard.Part{}, exit.Usagef("--list0 and --builds all: --list0 lists what composes of tags need")
	}
	if err := o.checkQueue(all); err != nil {
		return shard.Part{}, err
	}
	if o.auditPart != "" {
		part, err := shard.ParsePart(o.auditPart)
		if err != nil {
			return part, exit.Usagef("--part %w", err)
		}
		return part, nil
	}
	if o.shard == "" {
		return shard.Part{}, nil
	}
	part, err := shard.ParsePart(o.shard)
	if err != nil {
		return part, exit.Usagef("--shard %w", err)
	}
	return part, nil
}

// runShards copies all builds, or tells how far that is.
func (o *copyFlags) runShards(ctx context.Context, a *app, snap *snapfile.Snapshot, s store.Store, opt kojisnap.CopyOptions, part shard.Part) error {
	say := a.teller()
	opt.OnShard = func(r shard.Result, err error) { a.tellShard(r) }
	var r *kojisnap.ShardsResult
	var incomplete error
	if o.status {
		r, incomplete = kojisnap.ShardsStatus(ctx, snap, s, opt, part)
	} else {
		r, incomplete = kojisnap.CopyShards(ctx, snap, s, opt, part)
	}
	notDone := (*kojisnap.NotDoneError)(nil)
	left := (*hardlink.LeftOutError)(nil)
	if incomplete != nil && !errors.As(incomplete, &notDone) && !kojisnap.Incomplete(incomplete) {
		if r != nil {
			a.partial(r)
		}
		return incomplete
	}
	var show func(io.Writer)
	if a.dryRun || o.status {
		show = func(w io.Writer) { showShards(w, r) }
	}
	if err := a.result(r, show); err != nil {
		return err
	}
	if !a.dryRun && !o.status {
		a.tell("%d of %d shards are whole: %d of %d files", r.Done, r.Plan.Shards, r.Have.Files, r.Plan.Files)
	}
	a.tellLocked(r)
	var err error
	if errors.As(incomplete, &left) {
		err = say.LeftOut(left)
	}
	if notDone != nil {
		say.Complain(notDone.Error())
		err = exit.Together(err, exit.AsNotReady(exit.Reported(notDone)))
	}
	if err == nil && a.dryRun && r.Make.Files > 0 {
		return exit.Pending()
	}
	return err
}

// tellLocked names the shards that other processes work on.
func (a *app) tellLocked(r *kojisnap.ShardsResult) {
	for _, id := range r.Locked {
		a.log.Warn("another process works on this shard: it is passed over", "shard", id)
	}
}

// tellShards tells which shards were not whole when a sync had copied all builds. The error has been reported.
func (a *app) tellShards(r *kojisnap.ShardsResult) error {
	if r == nil {
		return nil
	}
	a.tellLocked(r)
	notDone := r.NotDone()
	if notDone == nil {
		return nil
	}
	a.complain(notDone.Error())
	return exit.AsNotReady(exit.Reported(notDone))
}

// tellShard logs what became of a shard.
func (a *app) tellShard(r shard.Result) {
	if r.Skipped {
		a.log.Debug("this shard was done before, and its rows are the same", "shard", r.Shard)
		return
	}
	a.log.Info("shard", "shard", r.Shard, "done", r.Done, "builds_left", r.LeftAll, "moved_here", r.Moved)
	a.teller().Copy(&kojisnap.CopyResult{Actions: r.Actions, Report: r.Report})
}

// showShards prints a line for each shard that is not whole, and one about all.
func showShards(w io.Writer, r *kojisnap.ShardsResult) {
	for _, one := range r.Shards {
		if one.Done {
			continue
		}
		fmt.Fprintf(w, "shard %s: %d of %d files", one.Shard, one.Have.Files, one.Plan.Files)
		if one.LeftAll > 0 {
			fmt.Fprintf(w, ", %d builds left", one.LeftAll)
		}
		if one.Make.Files > 0 {
			fmt.Fprintf(w, ", %d files to make, %d bytes", one.Make.Files, one.Make.Bytes)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d of %d shards whole, %d of %d files, %d of %d bytes, %d builds\n", r.Done, r.Plan.Shards, r.Have.Files, r.Plan.Files, r.Have.Bytes, r.Plan.Bytes, r.Builds)
}
