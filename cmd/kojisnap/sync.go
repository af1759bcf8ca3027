package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/metrics"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// syncExample is a configuration of a sync.
const syncExample = `    store = "/var/lib/kojisnap"
    env   = "stg"
    [pull]
    hub = "https://koji.fedoraproject.org/kojihub"
    tag = ["f42", "f43"]
    [copy]
    source = ["/mnt/fedora_koji_prod/koji"]
    topdir = "/mnt/koji"
    arch   = ["x86_64", "aarch64"]
    sigkey = ["105ef944"]
    [load]
    db = "host=db.stg dbname=koji user=koji"
    topdir = "/mnt/koji"
    [verify]
    hub    = "https://koji.stg.fedoraproject.org/kojihub"
    topdir = "/mnt/koji"
    [sync]
    stamp = "/var/lib/kojisnap/last-success"`

var syncCommand = command{
	name:  "sync",
	short: "pull, copy, load and verify: what a schedule runs",
	long: `Sync pulls a snapshot, copies the files that are new, loads the database, removes copies that no compose has
needed for --keep-days, and verifies. In this order the hub never names a file that does not exist. A build that
is no longer needed is led back to production's volume at once. Builds whose files production has lost or
damaged, or whose rows are unusable, stay there, too: sync names them, does everything else, and exits with code
3 or 6. If verify finds copies missing or damaged, sync makes them again and verifies once more. If everything is pulled, and
a full import (see kojisnap load) was broken off, sync first goes on with it.

Its flags are those of the commands that it runs; --staging-hub is verify's --hub, --load-tag load's --tag, and --audit is
for copy and load alike. Most of them come from the configuration, where each command has a table:

` + syncExample + `

A key at the top level is for every command that has the flag.

Two hosts can share a sync. One that reaches production runs sync --only pull: it needs store, [pull] and nothing
else. The one that reaches staging's database and topdir runs sync --only apply: copy, load, remove and verify of the
latest snapshot in the store. It needs no [pull]; without hub and tag there, the store must have snapshots of one
scope only. Either key may be in its host's configuration, as only = "pull" in [sync]. The store is a directory that
both mount, a bucket, or is carried over by kojisnap bundle. The host that applies may have it read-only.

Several environments can share one pull: [pull] lists the tags of all, and each environment its own in
[env.NAME.load], as tag = ["f42"]. Its copy and verify follow that. sync --only pull then needs no --env.

The host that pulls has no database to record a sync in: it has its exit code, its stamp, and a record in the store.
On the host that applies, a sync's success is that of its half, also where the store has nothing new; status --nagios
judges there how old the last pull on record is, too.

Each sync writes the event to pin composes at to --event-file, kojisnap-event below topdir. With --wait-for it
waits for composes that hold a lock on that file; new ones can begin when the copies that no compose needs any
longer are removed.

The stamp is for checks of age: sync writes the time to it when everything, verify included, has succeeded. --metrics
names a file for Prometheus, which every sync replaces when it ends, whatever its result; a sync that found another one
at work leaves it alone. kojisnap status --prometheus prints the same.
` + hooksHelp,
	examples: `
kojisnap sync
kojisnap sync -c stg.toml -v
kojisnap sync --only pull --store s3://bucket/koji --hub https://koji.fedoraproject.org/kojihub --tag f42
kojisnap sync --only apply -c stg.toml
kojisnap sync --metrics /var/lib/prometheus/node-exporter/kojisnap.prom
kojisnap sync -c stg.toml --lock-file /var/lib/kojisnap/lock --exit-on-lock`,
	setup: func(f *config.Flags) runner {
		var o syncFlags
		o.add(f)
		f.Set.Lookup("snapshot").Hidden = true // sync takes the one that it has pulled
		return o.run
	},
}

type syncFlags struct {
	pull     pullFlags
	copy     copyFlags
	load     loadFlags
	verify   verifyFlags
	clone    cloneFlags
	only     string
	noVerify bool
	stamp    string
	end      endHooks
	metrics  string

	verifyKeys []string
}

func (o *syncFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := checkHookTimeout(o.end.timeout); err != nil {
		return err
	}
	a.hooks = &o.end
	// Wrong options of a late step must show now, and not after hours of work.
	opt, err := o.options(a)
	if err != nil {
		return err
	}
	if err := o.useKeys(a); err != nil {
		return err
	}
	s, err := a.openStore(opt.Only != kojisnap.OnlyApply)
	if err != nil {
		return err
	}
	if a.dryRun {
		return o.dryRun(ctx, a, s, opt)
	}
	if err := flags.CheckOutput("stamp", o.stamp); err != nil {
		return err
	}
	opt.StepBegins, opt.StepEnds = reporter{a}.stepBegins, reporter{a}.stepEnds
	if err := flags.CheckOutput("metrics", o.metrics); err != nil {
		return err
	}
	if opt.Only != kojisnap.OnlyApply {
		opt.AfterPull = limitMemory()
	}
	started := time.Now()
	r, err := kojisnap.Sync(ctx, s, opt)
	err = o.tell(a, r, err)
	if code := exit.Code(err); code != exit.Locked {
		record, lost := kojisnap.RecordSync(ctx, s, opt, r, started, code, err)
		if lost != nil {
			// The sync itself probably failed for the same reason.
			level := slog.LevelWarn
			if code != exit.Done && code != exit.NotReady && code != exit.Digest {
				level = slog.LevelInfo
			}
			a.log.Log(ctx, level, "kojisnap status does not tell all of this sync", "err", lost)
		}
		o.writeMetrics(ctx, a, opt.Only, record)
	}
	return err
}

// tell prints and logs what a sync did, and returns the error that gives the exit code.
func (o *syncFlags) tell(a *app, r *kojisnap.SyncResult, incomplete error) error {
	if incomplete != nil && !kojisnap.Incomplete(incomplete) {
		if len(r.Steps) > 0 {
			a.partial(r)
		}
		return exit.Together(incomplete, o.load.hooks.failed)
	}
	if r.Only == kojisnap.OnlyPull {
		if err := a.result(r, nil); err != nil {
			return err
		}
		if err := (reporter{a}).tellPull(r.Pull); err != nil {
			return err
		}
		return flags.WriteStamp(o.stamp)
	}
	err := a.result(r, func(w io.Writer) {
		reporter{a}.showLoad(w, r.Load)
		if r.Verify != nil {
			reporter{a}.showChecks(w, r.Verify)
		}
	})
	if err != nil {
		return err
	}
	say := reporter{a}
	bad := say.tellLoad(r.Load)
	said := *a // the steps have said on the terminal what they did
	said.terminal = a.terminal && a.verbose
	said.teller().Copy(r.Copy)
	said.teller().Removal(r.Remove)
	say.tellDiscarded(r.Discard)
	say.teller().Repair(r)
	if r.Verify != nil {
		err = reporter{a}.verdict(r.Verify)
	}
	var missing error
	if r.Pull != nil {
		missing = say.tellNews(r.Pull)
	}
	if err := exit.Together(missing, say.teller().LeftOut(incomplete), a.tellShards(r.Shards()), say.teller().Undecided(r.Copy), bad, o.load.hooks.failed, err); err != nil {
		return err
	}
	return flags.WriteStamp(o.stamp)
}

// dryRun prints what a sync would do: the pull's plan, and what a copy and a load of the latest snapshot would do.
func (o *syncFlags) dryRun(ctx context.Context, a *app, s store.Store, opt kojisnap.SyncOptions) error {
	r := &kojisnap.SyncResult{Only: opt.Only, Steps: []kojisnap.SyncStep{}}
	var err, incomplete error
	var snap *snapfile.Snapshot
	if opt.Only != kojisnap.OnlyApply {
		if r.Pull, err = o.pull.read(ctx, opt.Production, opt.Hub, s, opt.Pull); err != nil {
			return err
		}
	}
	switch {
	case opt.Only == kojisnap.OnlyApply:
		snap, err = repository.Latest(ctx, s, opt.Scope)
	case s != nil && opt.Only == kojisnap.Whole:
		if snap, err = repository.Latest(ctx, s, repository.Scope{Hub: opt.Hub.URL(), Tags: opt.Pull.Asked()}); errors.Is(err, repository.ErrNoSnapshot) {
			err = nil
		}
	}
	if err == nil && snap != nil {
		snap, err = narrow.To(ctx, snap, opt.Load.Tags)
	}
	if err != nil {
		return err
	}
	var unfinished *snapfile.Snapshot
	if snap != nil {
		if unfinished, err = opt.Unfinished(ctx, s); err != nil {
			return err
		}
	}
	if unfinished != nil { // what comes after it cannot be told
		snap, opt.Load.DryRun = nil, true
		if r.Import, err = kojisnap.Load(ctx, unfinished, s, opt.Load); err != nil {
			return err
		}
	}
	if snap != nil {
		opt.Copy.DryRun, opt.Copy.Leave, opt.Load.DryRun = true, true, true
		if r.Copy, err = kojisnap.CopyWithShards(ctx, snap, s, opt.Copy); kojisnap.Incomplete(err) {
			incomplete = err
		} else if err != nil {
			return err
		}
		opt.Load.Leaving = r.Copy.Actions.Leaving
		if r.Load, err = kojisnap.Load(ctx, snap, s, opt.Load); err != nil {
			return err
		}
	}
	err = a.result(r, func(w io.Writer) {
		if r.Pull != nil {
			fmt.Fprintln(w, "# pull")
			showPlan(w, r.Pull)
		}
		if unfinished != nil {
			fmt.Fprintln(w, "# load of snapshot", unfinished.ID, "whose full import was broken off")
			showPlanned(w, r.Import)
		}
		if snap == nil {
			return
		}
		fmt.Fprintln(w, "# copy of snapshot", snap.ID)
		if r.Copy.Shards != nil {
			showShards(w, r.Copy.Shards)
		}
		if _, e := r.Copy.WriteTo(w); e != nil {
			err = e
		}
		fmt.Fprintln(w, "# load of snapshot", snap.ID)
		showPlanned(w, r.Load)
	})
	if err == nil {
		err = exit.Together(a.teller().LeftOut(incomplete), a.teller().Undecided(r.Copy))
	}
	news := r.Pull != nil && !r.Pull.Existing || opt.Only == kojisnap.Whole && snap == nil
	if err == nil && (news || r.Changed()) {
		return exit.Pending()
	}
	return err
}

// options returns the options of the steps that this host runs. What the others need may be missing.
func (o *syncFlags) options(a *app) (opt kojisnap.SyncOptions, err error) {
	opt.Only = o.half()
	if opt.Only != kojisnap.OnlyApply {
		if opt.Pull, err = o.pull.options(a); err != nil {
			return opt, err
		}
		if opt.Hub, err = o.pull.client(a); err != nil {
			return opt, err
		}
		o.pull.stagingDB = o.load.db
		if opt.Production, err = o.pull.production(a, opt.Hub.URL()); err != nil {
			return opt, err
		}
	} else if opt.Scope, err = o.pull.scope(a); err != nil {
		return opt, err
	}
	if opt.Only == kojisnap.OnlyPull {
		return opt, nil
	}
	return opt, o.applyOptions(a, &opt)
}

// noComposeTags is what copy and verify would say after the pull, which takes hours.
const noComposeTags = "%s: everything is pulled, and no compose takes all tags: name those that composes take (tag in [copy] and [verify], or in [load], of the configuration)"

// namesNoTags reports whether everything is pulled, and a later step is told no tags.
func (o *syncFlags) namesNoTags(tags []string) bool {
	return o.pull.everything && len(o.load.tags) == 0 && len(tags) == 0
}

// applyOptions adds those of the steps after the pull.
func (o *syncFlags) applyOptions(a *app, opt *kojisnap.SyncOptions) (err error) {
	if opt.Copy, err = o.copy.options(a); err != nil {
		return err
	}
	builds := opt.Copy.Builds
	if o.namesNoTags(o.copy.tags) && builds != compose.BuildsNone && builds != compose.BuildsAll {
		return exit.Usagef(noComposeTags, "copy")
	}
	if err = o.load.check(a); err != nil {
		return err
	}
	opt.Copy.Database = &kojisnap.StagingDatabase{DSN: o.load.db}
	opt.Load = o.load.options(a)
	opt.Load.NewTopdir = opt.Copy.NewTopdir
	if opt.Load.Topdir == "" {
		opt.Load.Topdir = opt.Copy.Topdir
	}
	if opt.Load.EventFile, err = flags.EventFile(o.load.eventFile, opt.Load.Topdir, opt.Copy.Attributes.Owner); err != nil {
		return err
	}
	if err := flags.CheckKeepDays(o.copy.keepDays, o.load.waitFor); err != nil {
		return err
	}
	if opt.Clone, err = o.clone.options(a, firstDirectory(opt.Copy.Sources)); err != nil {
		return err
	}
	if opt.NoVerify = o.noVerify; opt.NoVerify {
		return nil
	}
	if o.verify.hub == "" {
		return a.missing("staging hub", "--staging-hub URL, or hub = \"…\" in [verify] of the configuration, or --no-verify")
	}
	o.verify.follow(&o.copy)
	if o.namesNoTags(o.verify.tags) {
		return exit.Usagef(noComposeTags, "verify")
	}
	opt.Verify, err = o.verify.options(a)
	return err
}

// writeMetrics writes the metrics of a sync that has ended. If that fails, the sync itself has not: it is only logged.
func (o *syncFlags) writeMetrics(ctx context.Context, a *app, half kojisnap.Half, record kojisnap.SyncRecord) {
	if o.metrics == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	m := metrics.Staging{Env: a.env, Version: version.Number, Sync: &record, Apart: half == kojisnap.OnlyPull}
	s := statusFlags{db: o.load.db}
	if m.Apart {
		// This host has no database.
	} else if held, err := s.read(ctx, a); err != nil {
		a.log.InfoContext(ctx, "the metrics tell only of this sync: the database does not answer", "err", err)
	} else {
		m.Status = held
	}
	if err := m.WriteFile(o.metrics); err != nil {
		a.log.WarnContext(ctx, "the metrics are not written", "file", o.metrics, "err", err)
	}
}
