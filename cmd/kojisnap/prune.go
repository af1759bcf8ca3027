package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap/repository"
)

var pruneCommand = command{
	name:  "prune",
	short: "remove old snapshots from a store",
	long: `Prune keeps the latest snapshots, by event and then by the time at which they were made, and removes all others.
It also removes the segments that no snapshot names any longer and that are older than 24 hours by the store's
clock. It also keeps the snapshot that an environment holds, and those since: the next load reads in them when, and by
whom, production revoked what. Environments note in the store what they hold, after each load and sync. Prune names
those that it has not seen for 30 days; --forget NAME ends what is kept for one that no longer exists. It never
removes what a snapshot needs that is being written. What interrupted or killed pulls left is removed after 24
hours, too.`,
	noEnv: true,
	examples: `
kojisnap prune --keep 10 --store /var/lib/kojisnap
kojisnap prune --keep 30 --store s3://bucket/koji --dry-run
kojisnap prune --keep 10 --store /var/lib/kojisnap --forget dev`,
	setup: func(f *config.Flags) runner {
		var o pruneFlags
		f.Section("prune", nil, o.add)
		return o.run
	},
}

type pruneFlags struct {
	keep   int
	forget []string
}

func (o *pruneFlags) add(fs *pflag.FlagSet) {
	fs.IntVar(&o.keep, "keep", 0, "keep the latest `N` snapshots")
	fs.StringArrayVar(&o.forget, "forget", nil, "forget the environment `NAME`, and keep no snapshots for it any longer; repeatable")
}

func (o *pruneFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if o.keep < 1 {
		return exit.Usagef("prune wants --keep N, the number of snapshots that stay, at least 1")
	}
	s, err := a.openStore(false)
	if err != nil {
		return err
	}
	r, err := repository.Prune(ctx, s, repository.PruneOptions{Keep: o.keep, Forget: o.forget, DryRun: a.dryRun, Log: a.log, Progress: a.progress})
	if err != nil {
		if r != nil {
			a.partial(r)
		}
		return err
	}
	for _, id := range r.Kept {
		if r.Needed[id] != nil {
			a.log.Info("kept beyond --keep, as an environment has not loaded past it; if it is no more, give --forget", "snapshot", id, "environments", r.Needed[id])
		}
	}
	for _, e := range r.Unseen {
		a.log.Warn("an environment was not loaded or synced for 30 days, and its snapshots are kept: if it is no more, give --forget", "environment", e.Name, "seen", output.Day(e.Seen))
	}
	var show func(io.Writer)
	if a.dryRun {
		show = func(w io.Writer) { showPrune(w, r) }
	}
	if err := a.result(r, show); err != nil {
		return err
	}
	if a.dryRun && len(r.Removed)+len(r.Segments)+len(r.Parts)+len(r.Unfinished) > 0 {
		return exit.Pending()
	}
	if !a.dryRun {
		a.tell("%d snapshots and %d segments of %d bytes removed; %d snapshots stay", len(r.Removed), len(r.Segments), r.Bytes, len(r.Kept))
	}
	return nil
}

func showPrune(w io.Writer, r *repository.PruneResult) {
	for _, id := range r.Removed {
		fmt.Fprintf(w, "remove snapshot %s\n", id)
	}
	for _, name := range slices.Concat(r.Segments, r.Parts, r.Unfinished) {
		fmt.Fprintf(w, "remove %s\n", name)
	}
}
