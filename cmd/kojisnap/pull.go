package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

var pullCommand = command{
	name:  "pull",
	short: "read production's relations for some tags into a snapshot",
	long: `Pull reads from a Koji hub, over its public anonymous API, the relations that composes of some tags
need, all at one event, and writes them to a store as a snapshot. It follows inheritance, and the content
tags of module builds, which have the modules' rpms (--content-tags=false leaves those out). It prints the
snapshot's id, and nothing else, on standard output.
` + flags.TagsHelp + `
Use --build for builds that composes name themselves (Pungi's pkgset_koji_builds) and that none of the tags
has. They are pulled with all that belongs to them, and copied and verified like the tags' latest builds; a
module build brings its content tag. Each pull follows what production does to them. When --build no longer
names a build, staging keeps what it has of it.

A snapshot has the tags as they were at its event. With --since it also has the tags as they were at every
event since then, so that a compose of last month can be repeated: what has been untagged, revoked or inherited
since, with the builds, rpms and signatures. The first such pull reads all of that; later ones with the same
--since read only what is new, so it can stay in the configuration.

With --from-db pull reads production's database, or a standby of it, in the place of the hub: much faster, and at
no cost to the hub. The role needs SELECT on some columns only (scripts/grants-source.sql); columns with passwords,
sessions, principals, grants and tokens are never read. --hub names the production in the snapshot; it need not be
reachable. The event is the last one before the margin, by the database's clock or, of a standby, by that of the
last transaction that it has replayed. Snapshots of hub and database go on from each other: the time of an event
proves that both are of the same production. --jobs sessions read at once, and all see the same moment; that holds
back vacuum on a primary until the pull ends, which --deadline limits.

With --from-dump pull reads a dump that pg_dump made of production's database: plain text or an archive (-Fc, -Fd,
-Ft), compressed by gzip, zstd or xz, a file or, as -, a pipe. Archives need pg_restore, of the pg_dump's version or
newer, and xz the program xz. A dump is read once: the columns that a snapshot can have go into temporary files,
compressed (--tmpdir, or TMPDIR), and nothing else does; a dump with all of Fedora's tables may need some GB there. A
dump is refused, and nothing is stored, if it was cut off, has INSERT statements, is not in UTF-8, or lacks a table
that is wanted. Of a directory (-Fd) only the files of wanted tables are read: others may be missing. It is production as of its instant: the event is the last one before its newest, less
the margin. With -v pull names tables that it does not know; --json tells what became of each.

With --everything a snapshot has the whole catalogue: all tags with all that is tagged, all complete builds with their
rpms, signatures and archives, all packages and targets, and of users those that these name. It serves every
environment: load --tag takes of it what a pull of these tags would have. A database or a dump gives it by one scan of
each table. A hub needs hours: it lists all builds, rpms, signatures and archives page by page. So it is asked only with
--max-rate. Later pulls with --everything ask a hub for what changed, as other pulls do.

With --sign-key the snapshot is signed. Pull then reuses nothing in the store that neither this key nor one of
--verify-key has signed: with a store of unsigned snapshots it reads everything again, once.`,
	noEnv: true,
	examples: `
kojisnap pull --hub https://koji.fedoraproject.org/kojihub --tag f42 --store /var/lib/kojisnap
kojisnap pull --profile koji --tag f42-compose --tag f43 --store /var/lib/kojisnap -v
kojisnap pull --profile koji --tag 'f42*' --tag '!f42-infra*' --store /var/lib/kojisnap
kojisnap pull -c stg.toml --build kernel-6.14.0-63.fc42 --build 2690214
kojisnap pull --hub https://koji.fedoraproject.org/kojihub --from-db 'host=replica dbname=koji user=kojisnap_source' --tag f42
kojisnap pull --hub https://koji.fedoraproject.org/kojihub --from-dump koji.dump.xz --tag f42
ssh db pg_dump -Fc koji | kojisnap pull -c stg.toml --from-dump -
kojisnap pull --hub https://koji.fedoraproject.org/kojihub --from-dump koji.dump.xz --everything --store /srv/catalogue
kojisnap pull --hub https://koji.example.com/kojihub --everything --max-rate 2 --store /srv/catalogue
kojisnap pull -c stg.toml --dry-run
kojisnap pull -c stg.toml --since 2026-11-01
id=$(kojisnap pull -c stg.toml) && kojisnap load -c stg.toml --snapshot "$id"`,
	setup: func(f *config.Flags) runner {
		var o pullFlags
		f.Section("pull", nil, o.add)
		o.flags = f.Set
		return o.run
	},
}

// pullFlags are the flags of pull.
type pullFlags struct {
	hub, profile string
	serverCA     string
	contact      string
	jobs         int
	tags         []string
	contentTags  bool
	builds       config.BuildNames
	everything   bool
	event        int64
	margin       time.Duration
	full         bool
	since        config.Moment
	revokedSince int64
	sweep        int
	maxRate      float64
	deadline     time.Duration
	signKey      string
	verifyKeys   []string

	fromDB    string
	fromDump  string
	tempDir   string
	stagingDB string         // of a sync
	flags     *pflag.FlagSet // as the command line has them
}

func (o *pullFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.hub, "hub", "", "read from the production hub at `URL`")
	o.addSource(fs)
	o.addDump(fs)
	fs.StringVar(&o.profile, "profile", "", "read from the hub of the Koji profile `NAME` (/etc/koji.conf, /etc/koji.conf.d, ~/.koji)")
	fs.StringVar(&o.serverCA, "serverca", "", "accept certificates of the production hub that an authority in `FILE` has signed (default: the profile's file, or else the system's)")
	fs.StringArrayVar(&o.tags, "tag", nil, "read `TAG` and what it inherits: a name, a pattern such as 'f42*', or !TAG to leave out; repeatable")
	fs.BoolVar(&o.contentTags, "content-tags", true, "also read the tags that have the rpms of module builds in these tags")
	fs.Var(&o.builds, "build", "read the build `NVR|ID`, too; repeatable")
	fs.BoolVar(&o.everything, "everything", false, "read the whole catalogue, all tags and all complete builds, in the place of --tag and --build; from a hub only with --max-rate")
	fs.Int64Var(&o.event, "event", 0, "read at `EVENT` (default: the last one before the margin)")
	config.DurationVar(fs, &o.margin, "margin", pull.DefaultMargin, "read at an event this `TIME` before the clock of the hub or the database: longer than the longest import")
	fs.BoolVar(&o.full, "full", false, "ignore earlier snapshots")
	fs.Var(&o.since, "since", "also read what the tags were at each event since `EVENT|DATE`: an event, or the last one before a day or time (2026-11-01, 2026-11-01T12:00:00Z)")
	fs.Int64Var(&o.revokedSince, "revoked-since", 0, "with --full: the earlier name of --since `EVENT`")
	fs.MarkHidden("revoked-since")
	fs.IntVar(&o.sweep, "sweep", pull.DefaultSweep, "look at all builds once in `N` pulls, a part in each, for changes without an event; 1: at all builds each time")
	fs.IntVar(&o.jobs, "jobs", 4, "send at most `N` requests at once; with --from-db read by so many sessions")
	fs.Float64Var(&o.maxRate, "max-rate", 0, "send at most `N` requests a second (default: no limit)")
	config.DurationVar(fs, &o.deadline, "deadline", 0, "end the pull after `TIME` (default: no limit)")
	fs.StringVar(&o.signKey, "sign-key", "", "sign the snapshot with the private key in `FILE`, made by kojisnap keygen, and build only on snapshots signed by it")
	flags.AddVerifyKey(fs, &o.verifyKeys)
	fs.StringVar(&o.contact, "contact", "", "tell the hub's administrators that they may write to the mail `ADDRESS`")
}

// client returns the hub's client.
func (o *pullFlags) client(a *app) (*hub.Client, error) {
	if !(o.maxRate >= 0) || math.IsInf(o.maxRate, 1) {
		return nil, exit.Usagef("--max-rate %g: want a number of requests a second, or 0 for no limit", o.maxRate)
	}
	return a.client(o.hub, o.profile, hub.Options{Jobs: o.jobs, Contact: o.contact, MaxRate: o.maxRate, ServerCA: o.serverCA})
}

// hubPatience has the times of hubs' clients. Tests set shorter ones.
var hubPatience hub.Options

func (a *app) client(url, profile string, o hub.Options) (*hub.Client, error) {
	switch {
	case url != "" && profile != "":
		return nil, exit.Usagef("both a hub's URL and a profile are given; one is enough")
	case profile != "":
		p, err := hub.ReadProfile(profile)
		if err != nil {
			return nil, exit.AsUsage(err)
		}
		url, o.NoVerify, o.RequestTimeout = p.Server, p.NoVerify, p.Timeout
		if o.ServerCA == "" {
			o.ServerCA = p.ServerCA
		}
		if o.NoVerify && o.ServerCA == "" {
			a.log.Warn("the Koji profile says no_ssl_verify: whoever is between here and the hub can read and change what it answers", "profile", profile)
		}
	case url == "":
		return nil, a.missing("hub", "--hub URL or --profile NAME, or one of them in [pull] of the configuration")
	}
	o.UserAgent, o.Log = "kojisnap/"+version.Number, a.log
	o.SlowAfter, o.RetryInterval = hubPatience.SlowAfter, hubPatience.RetryInterval
	c, err := hub.New(url, o)
	if err != nil {
		return nil, exit.AsUsage(err)
	}
	return c, nil
}

func (o *pullFlags) options(a *app) (pull.Options, error) {
	if err := o.checkAsked(); err != nil {
		return pull.Options{}, err
	}
	switch {
	case o.everything:
	case len(o.tags) == 0 && len(o.builds) > 0:
		return pull.Options{}, a.missing("tag", "--tag NAME, or tag = [\"NAME\"] in [pull] of the configuration: --build adds builds to those of tags")
	case len(o.tags) == 0:
		return pull.Options{}, a.missing("tag", "--tag NAME, or tag = [\"NAME\"] in [pull] of the configuration; or --everything")
	}
	switch {
	case o.event < 0:
		return pull.Options{}, exit.Usagef("--event %d: events count from 1", o.event)
	case o.revokedSince < 0 || o.revokedSince > 0 && !o.full:
		return pull.Options{}, exit.Usagef("--revoked-since %d: it wants an event, and --full", o.revokedSince)
	case o.revokedSince > 0 && o.since != config.Moment{}:
		return pull.Options{}, exit.Usagef("--revoked-since %d and --since %s: choose --since", o.revokedSince, &o.since)
	case o.sweep < 1:
		return pull.Options{}, exit.Usagef("--sweep %d: one pull at least", o.sweep)
	case o.jobs < 1:
		return pull.Options{}, exit.Usagef("--jobs %d: one request at least", o.jobs)
	case o.deadline < 0:
		return pull.Options{}, exit.Usagef("--deadline %s: it cannot be negative", o.deadline)
	case o.margin < 0:
		return pull.Options{}, exit.Usagef("--margin %s: it cannot be negative", o.margin)
	}
	margin := o.margin
	if margin == 0 {
		margin = -1 // none: zero stands for the default
	}
	return pull.Options{
		Tags: o.tags, NoContentTags: !o.contentTags, Builds: o.builds, Everything: o.everything, Event: o.event, Margin: margin, Full: o.full, Since: cmp.Or(o.since.Event, o.revokedSince), SinceTime: o.since.Time, Sweep: o.sweep, Deadline: o.deadline, DryRun: a.dryRun,
		TempDir: o.tempDir, Program: "kojisnap " + version.Number, Log: a.log, Progress: a.progress,
	}, nil
}

func (o *pullFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	opt, err := o.options(a)
	if err != nil {
		return err
	}
	c, err := o.client(a)
	if err != nil {
		return err
	}
	from, err := o.production(a, c.URL())
	if err != nil {
		return err
	}
	if err := a.usePullKeys(o.signKey, o.verifyKeys); err != nil {
		return err
	}
	defer limitMemory()()
	s, err := a.openStore(true)
	if err != nil {
		return err
	}
	r, err := o.read(ctx, from, c, s, opt)
	if !a.dryRun {
		if lost := kojisnap.RecordPull(ctx, s, c.URL(), opt, r, exit.Code(err), err); lost != nil {
			a.log.InfoContext(ctx, "hosts that only apply do not know how old this pull is", "err", lost)
		}
	}
	if err != nil {
		return err
	}
	show := func(w io.Writer) { fmt.Fprintln(w, r.Snapshot) }
	if a.dryRun {
		show = func(w io.Writer) { showPlan(w, r) }
	}
	if err := a.result(r, show); err != nil {
		return err
	}
	if a.dryRun && !r.Existing {
		return exit.Pending()
	}
	if a.dryRun {
		return reporter{a}.tellNews(r)
	}
	return reporter{a}.tellPull(r)
}

// tellPull logs what a pull did, and returns an error if it could not get all.
func (a reporter) tellPull(r *pull.Result) error {
	a.tell("%s", readText(r))
	return a.tellNews(r)
}

// tellNews logs what of a pull somebody may have to look at, and returns an error if it could not get all.
func (a reporter) tellNews(r *pull.Result) error {
	a.teller().Scope(r)
	a.tellTables(r)
	a.tellStripped(r)
	a.teller().Incomplete(r)
	return a.tellMissing(r)
}

// scope is what is pulled, as far as the flags say: a host that does not pull need not know.
func (o *pullFlags) scope(a *app) (repository.Scope, error) {
	if err := o.checkAsked(); err != nil {
		return repository.Scope{}, err
	}
	scope := repository.Scope{Tags: pull.Options{Tags: o.tags, Everything: o.everything}.Asked()}
	if o.hub == "" && o.profile == "" {
		return scope, nil
	}
	c, err := o.client(a)
	if err != nil {
		return scope, err
	}
	scope.Hub = c.URL()
	return scope, nil
}

// readText says what a pull read.
func readText(r *pull.Result) string {
	if r.Source != nil {
		return fmt.Sprintf("snapshot of %d tags at event %d: %d rows, %d bytes compressed; %s", len(r.Scope.All), r.Event, r.Totals.Rows, r.Totals.Compressed, sourceText(r))
	}
	return fmt.Sprintf("snapshot of %d tags at event %d: %d rows, %d bytes compressed; %d rows, %d bytes in %d requests from the hub",
		len(r.Scope.All), r.Event, r.Totals.Rows, r.Totals.Compressed, r.Asked.Rows, r.Asked.Received, r.Asked.Requests)
}

// maxStripped is how many rows with credentials a pull names without -v; show names all.
const maxStripped = 10

// tellStripped logs in one line the rows whose URLs have credentials in production, which the snapshot does not
// have: as a warning if the rows are not those of the snapshot before.
func (a reporter) tellStripped(r *pull.Result) {
	if len(r.Stripped) == 0 {
		return
	}
	var rows []string
	most := maxStripped
	if a.verbose {
		most = len(r.Stripped)
	}
	for _, x := range r.Stripped[:min(len(r.Stripped), most)] {
		row := x.Row
		if noun := snapfile.Noun(x.Relation); !strings.HasPrefix(row, noun+" ") {
			row = noun + " of " + row
		}
		rows = append(rows, row)
	}
	if more := len(r.Stripped) - len(rows); more > 0 {
		rows = append(rows, fmt.Sprintf("and %d more", more))
	}
	level := slog.LevelInfo
	if r.News {
		level = slog.LevelWarn
	}
	a.log.Log(context.Background(), level, fmt.Sprintf("%d rows of production's have passwords or tokens in URLs, which are not in the snapshot: %s", len(r.Stripped), strings.Join(rows, "; ")))
}

// tellMissing logs everything that production's hub could not give as it is, and returns an error if there is any.
func (a reporter) tellMissing(r *pull.Result) error {
	if len(r.LeftOut) == 0 {
		return nil
	}
	for _, l := range r.LeftOut {
		a.log.Warn("production's " + l.String())
	}
	err := fmt.Errorf("the snapshot is without %d things of production's, or has them otherwise; all else is in it: "+
		"correct them in production, and the next pull takes them", len(r.LeftOut))
	a.complain(exit.Message(err))
	return exit.AsNotReady(exit.Reported(err))
}

// limitMemory limits memory until the function that it returns is called. Rows pass quickly through a pull, and the
// collector must not wait until memory has doubled. What is needed stays far below the limit.
func limitMemory() (restore func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(150 << 20)
	return func() { debug.SetMemoryLimit(before) }
}

func showPlan(w io.Writer, r *pull.Result) {
	fmt.Fprintf(w, "hub %s (Koji %s)\nevent %d of %s\n", r.Hub, r.Koji, r.Event, r.EventTime.Format(time.RFC3339))
	tell.WriteScope(w, r)
	tell.WriteBuilds(w, r.Scope.Builds)
	for _, name := range slices.Sorted(maps.Keys(r.Rows)) {
		if r.Rows[name] > 0 {
			fmt.Fprintf(w, "about %d rows of %s, and what they refer to\n", r.Rows[name], name)
		}
	}
	if r.Source != nil {
		fmt.Fprintf(w, "tables of the %s: %d wanted, %d refused, %d ignored, %d unknown\n", r.Source.Kind, r.Source.Wanted, r.Source.Refused, r.Source.Ignored, r.Source.Unknown)
	}
	if r.Base != "" {
		fmt.Fprintf(w, "going on from snapshot %s\n", r.Base)
	}
	if r.Source != nil {
		return
	}
	fmt.Fprintf(w, "%-12s %-8s %9s %10s %12s %9s\n", "PLAN", "BY", "REQUESTS", "ROWS", "BYTES", "SECONDS")
	for _, e := range r.Plan {
		fmt.Fprintf(w, "%-12s %-8s %9d %10d %12d %9.1f\n", e.Relation, e.By, e.Requests, e.Rows, e.Bytes, e.Seconds)
	}
}
