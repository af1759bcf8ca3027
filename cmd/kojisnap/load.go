package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap"
)

var loadCommand = command{
	name:  "load",
	short: "merge a snapshot into the staging database",
	long: `Load merges a snapshot into a staging database that kojisnap init has marked, in one
transaction. Builds go to the read-only volume, or to the copy volume if their files were
copied. What staging made stays. The hub stays up; no reader waits for the load. Where the
database holds an earlier snapshot of the store, only what changed since is read and compared.

Composes are to be pinned at an event that was loaded: a load between two calls tears one that is not. The
event that the database holds is in --event-file once the load is done, and kojisnap status --event prints it.`,
	examples: `
kojisnap load --db 'host=db.stg dbname=koji user=koji' --store /var/lib/kojisnap --topdir /mnt/koji
kojisnap load -c stg.toml --snapshot 419-0123456789ab --dry-run
kojisnap load -c stg.toml --on-conflict fail --json`,
	setup: func(f *flags) runner {
		var o loadFlags
		f.section("load", nil, func(fs *pflag.FlagSet) {
			o.add(fs)
			addStamp(fs, &o.stamp) // sync has its own
		})
		return o.run
	},
}

// loadFlags are the flags of load.
type loadFlags struct {
	db, snapshot, topdir, volume, copyVolume string
	overlay, onConflict, waitFor, stamp      string
	hubMoved, eventFile                      string
	rollback, audit                          bool
	verifyKeys                               []string
}

func (o *loadFlags) add(fs *pflag.FlagSet) {
	addDB(fs, &o.db)
	addSnapshot(fs, &o.snapshot)
	addVerifyKey(fs, &o.verifyKeys)
	fs.StringVar(&o.topdir, "topdir", "", "staging's topdir, to read what was copied (default: the store tells)")
	addVolumes(fs, &o.volume, &o.copyVolume)
	fs.StringVar(&o.overlay, "overlay", "", "`FILE` with what staging has of its own: hosts, grants, URLs, …; see scripts/overlay.example.toml")
	fs.Var(newChoice(&o.onConflict, "keep", "replace", "fail"), "on-conflict", "where staging holds the place of a row of production")
	addWaitFor(fs, &o.waitFor)
	addEventFile(fs, &o.eventFile)
	fs.StringVar(&o.hubMoved, "hub-moved", "", "production's hub has moved to `URL`: take it in the place of the hub that was loaded before, if events and builds prove it to be the same")
	fs.BoolVar(&o.rollback, "rollback", false, "allow a snapshot that is older than what the database holds")
	fs.BoolVar(&o.audit, "audit", false, "compare every row, not only what can have changed")
}

func addSnapshot(fs *pflag.FlagSet, id *string) {
	fs.StringVar(id, "snapshot", "latest", "`ID` of the snapshot; latest: of what [pull] of the configuration names by hub and tag")
}

func addVolumes(fs *pflag.FlagSet, volume, copyVolume *string) {
	fs.StringVar(volume, "volume", "prod", "`NAME` of the read-only volume: production's topdir")
	fs.StringVar(copyVolume, "copy-volume", "staged", "`NAME` of the writable volume of copied builds")
}

func (o *loadFlags) options(a *app) kojisnap.LoadOptions {
	return kojisnap.LoadOptions{
		LoadOptions: dbsync.LoadOptions{
			Env: a.env, Volume: o.volume, CopyVolume: o.copyVolume, OnConflict: dbsync.OnConflict(o.onConflict),
			HubMoved: o.hubMoved, Rollback: o.rollback, Audit: o.audit, DryRun: a.dryRun, Version: version, Log: a.log, Progress: a.progress,
		},
		DSN: o.db, Topdir: o.topdir, Rules: a.volumes, Overlay: o.overlay, WaitFor: o.waitFor,
	}
}

// check refuses what cannot be meant, before anything is done.
func (o *loadFlags) check(a *app) error {
	if err := a.checkDSN(o.db); err != nil {
		return err
	}
	return checkURL("hub-moved", o.hubMoved)
}

func (o *loadFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := o.check(a); err != nil {
		return err
	}
	if !a.dryRun {
		if err := checkStamp(o.stamp); err != nil {
			return err
		}
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, o.snapshot)
	if err != nil {
		return err
	}
	opt := o.options(a)
	if opt.EventFile, err = eventFile(o.eventFile, o.topdir, nil); err != nil {
		return err
	}
	r, err := kojisnap.Load(ctx, snap, s, opt)
	if err != nil {
		return err
	}
	if err := a.result(r, func(w io.Writer) { a.showLoad(w, r) }); err != nil {
		return err
	}
	if a.dryRun {
		if r.Changed() {
			return pending()
		}
		return nil
	}
	if err := a.tellLoad(r); err != nil {
		return err
	}
	return writeStamp(o.stamp)
}

// showLoad shows a report: what a dry run would do in lines to compare, what was done to who
// watches, as a table.
func (a *app) showLoad(w io.Writer, r *book.LoadReport) {
	switch {
	case a.dryRun:
		showPlanned(w, r)
	case (a.terminal || a.verbose) && !a.quiet:
		showTable(w, r, a.verbose)
	}
}

// tellLoad has a line for each row that staging's tables refuse, says to who watches what went in,
// and returns an error as told if there are such rows.
func (a *app) tellLoad(r *book.LoadReport) error {
	for _, e := range r.Conflicts {
		a.log.Info("staging holds the place of a row of production", "relation", e.Relation, "key", e.Key, "what", e.What)
	}
	for _, e := range r.Overwritten {
		a.log.Warn("overwritten: production wins in an adopted database", "relation", e.Relation, "key", e.Key, "what", e.What)
	}
	if !r.Changed() {
		a.tell("staging holds snapshot %s, event %d; nothing changed", r.Snapshot, r.Event)
	} else {
		in, up, gone := r.Totals()
		a.tell("staging holds snapshot %s, event %d: %d rows inserted, %d updated, %d revoked or deleted, %d tags touched, %d conflicts",
			r.Snapshot, r.Event, in, up, gone, len(r.Touched), len(r.Conflicts))
	}
	if len(r.Bad) == 0 {
		return nil
	}
	for _, e := range r.Bad {
		a.complain(fmt.Sprintf("left out: %s %s: %s", e.Relation, e.Key, e.What))
	}
	a.complain("rows as these, and what hangs on them, are tried again by each load; mend them in production, or staging's tables")
	return notReadyError{quietError{fmt.Errorf("%d rows were left out", len(r.Bad))}}
}

// showTable writes the numbers of a report, with all also of relations that were only read.
func showTable(w io.Writer, r *book.LoadReport, all bool) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	defer tw.Flush()
	line := func(what string, x book.RelationReport) {
		fmt.Fprint(tw, what)
		for _, n := range []int64{x.Read, x.Inserted, x.Updated, x.Deleted, x.Revoked, x.Unrevoked, x.Kept, x.LeftOut, x.Conflicts} {
			fmt.Fprintf(tw, "\t%d", n)
		}
		fmt.Fprint(tw, "\t\n")
	}
	lines := 0
	var sum book.RelationReport
	for _, x := range r.Relations {
		sum.Add(x)
		if !all && x == (book.RelationReport{Relation: x.Relation, Read: x.Read}) {
			continue
		}
		if lines++; lines == 1 {
			fmt.Fprintln(tw, "relation\tread\tinserted\tupdated\tdeleted\trevoked\tunrevoked\tkept\tleft out\tconflicts\t")
		}
		line(x.Relation, x)
	}
	if lines > 1 {
		line("all", sum)
	}
}

// showPlanned writes a report in stable lines.
func showPlanned(w io.Writer, r *book.LoadReport) {
	for _, rel := range r.Relations {
		for _, c := range []struct {
			what string
			n    int64
		}{
			{"insert", rel.Inserted}, {"update", rel.Updated}, {"revoke", rel.Revoked}, {"unrevoke", rel.Unrevoked},
			{"delete", rel.Deleted}, {"keep", rel.Kept}, {"leave out", rel.LeftOut},
		} {
			if c.n > 0 {
				fmt.Fprintf(w, "%s %d %s\n", c.what, c.n, rel.Relation)
			}
		}
	}
	for _, c := range r.Overlay {
		fmt.Fprintln(w, clean("overlay: "+c.Action+" "+c.Entry))
	}
	for _, t := range r.Touched {
		fmt.Fprintf(w, "touch %s\n", t)
	}
	for _, list := range []struct {
		what    string
		entries []book.Entry
	}{{"conflict", r.Conflicts}, {"left out", r.LeftOut}, {"kept", r.Kept}, {"overwrite", r.Overwritten}} {
		for _, e := range list.entries {
			fmt.Fprintln(w, clean(fmt.Sprintf("%s %s %s: %s", list.what, e.Relation, e.Key, e.What)))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note: "+clean(n))
	}
}
