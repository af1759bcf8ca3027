package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/fullimport"
	"kojisnap/kojisnap"
)

var loadCommand = command{
	name:  "load",
	short: "merge a snapshot into the staging database",
	long: `Load merges a snapshot into a staging database that kojisnap init has marked, in one transaction. It puts
builds on the read-only volume, or on the copy volume if their files were copied. What staging made stays.
The hub stays up, and no reader waits for the load. If the database holds an earlier snapshot of the store,
load reads and compares only what has changed since.

With --tag it loads only some of the snapshot's tags, just as if only these had been pulled: with all that they
inherit, the content tags of their modules, and what their rows refer to. So one pull of all that several environments
need serves each of them. tag in [load] of the configuration holds for copy and verify, too. Names and patterns
choose among all tags that the snapshot has. Tags that an earlier load had stay as they are, like those that are no
longer pulled.

A snapshot of pull --everything goes into a fresh database (after kojisnap init, before the first load, without builds,
tasks and repos) by a full import, which is several times as fast: --import-jobs sessions copy the tables while their
indexes and foreign keys are away. The role must own Koji's tables; else, and if a site has added triggers to them, the
snapshot is merged as ever. A full import is not one transaction: until it is done other commands refuse the database, and
staging's hub should be stopped. If it is broken off, the same load goes on with the tables that are not in yet.
With --import restart it begins anew, with this snapshot; with --import never it is undone, and the snapshot is merged
row by row, which leaves out rows that the tables refuse. --dry-run says what a load would do.

Pin composes at an event that was loaded: a load between two calls of a compose that is not pinned tears it. When
the load is done, --event-file has the event that the database holds; kojisnap status --event prints it.
` + hooksHelp,
	examples: `
kojisnap load --db 'host=db.stg dbname=koji user=koji' --store /var/lib/kojisnap --topdir /mnt/koji
kojisnap load -c stg.toml --snapshot 419-0123456789ab --dry-run
kojisnap load -c stg.toml --on-conflict fail --json
kojisnap load -c stg.toml --tag 'f42*' --tag '!f42-infra*'
kojisnap load -c stg.toml --snapshot 419-0123456789ab --import restart`,
	setup: func(f *config.Flags) runner {
		var o loadFlags
		f.Section("load", nil, func(fs *pflag.FlagSet) {
			o.add(fs)
			flags.AddStamp(fs, &o.stamp) // sync has its own, and its own hooks for the end
			o.end.add(fs)
		})
		return o.run
	},
}

// loadFlags are the flags of load.
type loadFlags struct {
	db, snapshot, topdir, volume, copyVolume string
	overlay, onConflict, waitFor, stamp      string
	hubMoved, eventFile                      string
	imports                                  string
	importJobs                               int
	rollback, audit                          bool
	tags                                     []string
	verifyKeys                               []string
	hooks                                    loadHooks
	end                                      endHooks
}

func (o *loadFlags) add(fs *pflag.FlagSet) {
	flags.AddDB(fs, &o.db)
	flags.AddSnapshot(fs, &o.snapshot)
	fs.StringArrayVar(&o.tags, "tag", nil, "load `TAG` and what it inherits: a name, a pattern such as 'f42*', or !TAG to leave out; repeatable (default: all that the snapshot has)")
	flags.AddVerifyKey(fs, &o.verifyKeys)
	fs.StringVar(&o.topdir, "topdir", "", "read below staging's topdir `DIR` what was copied (default: read it in the store)")
	flags.AddVolumes(fs, &o.volume, &o.copyVolume)
	fs.StringVar(&o.overlay, "overlay", "", "apply `FILE`, which has staging's own hosts, grants, URLs, …; see scripts/overlay.example.toml")
	fs.Var(config.NewChoice(&o.onConflict, "keep", "replace", "fail"), "on-conflict", "what to do where staging's row has taken the place of production's")
	flags.AddWaitFor(fs, &o.waitFor)
	flags.AddEventFile(fs, &o.eventFile)
	fs.StringVar(&o.hubMoved, "hub-moved", "", "accept a snapshot of production's hub at its new `URL`, if events and builds prove that it is the same hub")
	fs.Var(config.NewChoice(&o.imports, "auto", "restart", "never"), "import", "load a snapshot of everything into a fresh database by a full import, and what to do with one that was broken off: go on, begin anew, or undo it")
	fs.IntVar(&o.importJobs, "import-jobs", fullimport.DefaultSessions, "copy tables and make indexes by `N` sessions in a full import")
	fs.BoolVar(&o.rollback, "rollback", false, "accept a snapshot that is older than what the database holds")
	fs.BoolVar(&o.audit, "audit", false, "compare every row, not only those that can have changed")
	o.hooks.add(fs)
}

func (o *loadFlags) options(a *app) kojisnap.LoadOptions {
	opt := kojisnap.LoadOptions{
		LoadOptions: dbsync.LoadOptions{
			Env: a.env, Volume: o.volume, CopyVolume: o.copyVolume, OnConflict: dbsync.OnConflict(o.onConflict),
			Import: dbsync.Import(o.imports), Sessions: o.importJobs,
			Tags: o.tags, HubMoved: o.hubMoved, Rollback: o.rollback, Audit: o.audit, DryRun: a.dryRun, Version: version.Number, Log: a.log, Progress: a.progress,
		},
		DSN: o.db, Topdir: o.topdir, Rules: a.volumes, Overlay: o.overlay, WaitFor: o.waitFor,
	}
	o.hooks.around(a, &opt)
	return opt
}

// check refuses wrong values, before anything is done.
func (o *loadFlags) check(a *app) error {
	if err := a.checkDSN(o.db); err != nil {
		return err
	}
	if err := flags.CheckTags(o.tags); err != nil {
		return err
	}
	if err := o.hooks.check(); err != nil {
		return err
	}
	if o.importJobs < 1 {
		return exit.Usagef("--import-jobs %d: want at least 1", o.importJobs)
	}
	return flags.CheckURL("hub-moved", o.hubMoved)
}

func (o *loadFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := o.hooks.check(); err != nil {
		return err
	}
	o.end.timeout = o.hooks.timeout
	a.hooks = &o.end
	if err := o.check(a); err != nil {
		return err
	}
	if !a.dryRun {
		if err := flags.CheckOutput("stamp", o.stamp); err != nil {
			return err
		}
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, o.snapshot, o.tags)
	if err != nil {
		return err
	}
	opt := o.options(a)
	if opt.EventFile, err = flags.EventFile(o.eventFile, o.topdir, nil); err != nil {
		return err
	}
	r, err := kojisnap.Load(ctx, snap, s, opt)
	if err != nil {
		return exit.Together(err, o.hooks.failed)
	}
	if err := a.result(r, func(w io.Writer) { reporter{a}.showLoad(w, r) }); err != nil {
		return err
	}
	if a.dryRun {
		if r.Changed() {
			return exit.Pending()
		}
		return nil
	}
	if err := exit.Together((reporter{a}).tellLoad(r), o.hooks.failed); err != nil {
		return err
	}
	return flags.WriteStamp(o.stamp)
}

// showLoad writes a report: of a dry run in lines that can be compared, of a load as a table, on a terminal or with
// -v.
func (a reporter) showLoad(w io.Writer, r *book.LoadReport) {
	switch {
	case a.dryRun:
		showPlanned(w, r)
	case (a.terminal || a.verbose) && !a.quiet:
		showTable(w, r, a.verbose)
	}
}

// tellLoad writes a line for each row that staging's tables refuse, and on a terminal what was loaded. If there are
// such rows, it returns an error that has been reported.
func (a reporter) tellLoad(r *book.LoadReport) error {
	for _, e := range r.Conflicts {
		a.log.Info("staging holds the place of a row of production", "relation", e.Relation, "key", e.Key, "what", e.What)
	}
	for _, e := range r.Overwritten {
		a.log.Warn("overwritten: production wins in an adopted database", "relation", e.Relation, "key", e.Key, "what", e.What)
	}
	if !r.Changed() {
		a.tell("staging holds snapshot %s, event %d; nothing changed", r.Snapshot, r.Event)
	} else {
		a.tell("staging holds snapshot %s, event %d: %s", r.Snapshot, r.Event, loadedText(r))
	}
	if len(r.Bad) == 0 {
		return nil
	}
	for _, e := range r.Bad {
		a.complain(fmt.Sprintf("left out: %s %s: %s", e.Relation, e.Key, e.What))
	}
	a.complain("each load tries such rows, and what depends on them, again; correct them in production, or change staging's tables")
	return exit.AsNotReady(exit.Reported(fmt.Errorf("%d rows were left out", len(r.Bad))))
}

// loadedText says what a load changed.
func loadedText(r *book.LoadReport) string {
	in, up, gone := r.Totals()
	return fmt.Sprintf("%d rows inserted, %d updated, %d revoked or deleted, %d tags touched, %d conflicts", in, up, gone, len(r.Touched), len(r.Conflicts))
}

// showTable writes the numbers of a report; with all, also of relations that were only read.
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
		fmt.Fprintln(w, output.Clean("overlay: "+c.Action+" "+c.Entry))
	}
	for _, t := range r.Touched {
		fmt.Fprintf(w, "touch %s\n", t)
	}
	for _, list := range []struct {
		what    string
		entries []book.Entry
	}{{"conflict", r.Conflicts}, {"left out", r.LeftOut}, {"kept", r.Kept}, {"overwrite", r.Overwritten}} {
		for _, e := range list.entries {
			fmt.Fprintln(w, output.Clean(fmt.Sprintf("%s %s %s: %s", list.what, e.Relation, e.Key, e.What)))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note: "+output.Clean(n))
	}
}

// addDB adds the flag that names the staging database.
