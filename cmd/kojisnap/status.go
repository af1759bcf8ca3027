package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/repository"
)

var statusCommand = command{
	name:  "status",
	short: "show what the staging database holds, how old that is, and what it lacks",
	long: `Status says which event of production the staging database holds (the one to pin composes at: the lowest that a
tag of the newest scope holds), the last syncs with what their verify found, the last loads, where staging's own
rows stand in the place of production's, and in which packages staging's build stays the latest although
production tagged another one later. With a store it also says how far the database is behind the store's newest
snapshot of the same hub (with -v, in rows). It writes nothing, and waits for no lock.

If --env or the configuration names another environment than the database's mark, that is an error.

"History" is the first event that may be pinned: from there up to the event above, calls answer as production
does, for the tags that were pulled and what those inherit; staging's own builds and tags are not included. -v and
--json say so for each tag, and list the events that were loaded, which may be pinned as well. At other events
calls do not answer as production does; kojisnap pull --since reads what is missing.

With --all it shows a line for each environment that has left a record in the store: the event that it holds, how long
ago all was well, how far it is behind the newest snapshot of what it loads, and how its last sync ended. It needs no
database. If environments have stores of their own in the configuration, it reads them all. The exit code is 0,
whatever it finds; --nagios --all has the worst state of all.

With --event it prints only the event to pin: pungi-koji --koji-event "$(kojisnap status --event)". Before the
first load it prints nothing on standard output, and the exit code is 3.

With --prometheus it prints metrics in the text format of Prometheus; the exit code is 0 if the database answers.

With --nagios it prints one line as monitoring plugins do, with performance data, and exits with

  0  OK
  1  WARNING   the last sync or load failed, or the last success is older than --warning
  2  CRITICAL  the last sync found staging not compose-ready (exit code 3 or 6), or the last success
               is older than --critical
  3  UNKNOWN   it could not be found out: the database does not answer or is not marked, the store
               cannot be read (if there is nothing worse to say), wrong usage, no answer in 30 seconds

On a host that runs sync --only apply these times also judge the last successful pull that the store has on record,
because an apply of an old snapshot succeeds, too; of a snapshot that was carried over the time at which it was made
counts. --max-event-age TIME warns if the event to pin is older than that,
whoever pulls: set it where no pull is on record, and above the longest time without a change in production.

A success is a whole sync with exit code 0, verify included; or, if no sync has run since the last load, a load
that did not fail. Before the first success the age counts from kojisnap init.`,
	examples: `
kojisnap status --db 'host=db.stg dbname=koji user=koji'
kojisnap status -c stg.toml --event
kojisnap status -c stg.toml --json
kojisnap status -c stg.toml --nagios --warning 2h --critical 8h
kojisnap status -c stg.toml --prometheus
kojisnap status --all --store s3://bucket/koji`,
	setup: func(f *config.Flags) runner {
		var o statusFlags
		f.Section("status", nil, o.add)
		return o.run
	},
}

type statusFlags struct {
	db                string
	verifyKeys        []string
	nagios, event     bool
	all               bool
	prometheus        bool
	warning, critical time.Duration
	maxEventAge       time.Duration
}

func (o *statusFlags) add(fs *pflag.FlagSet) {
	addDB(fs, &o.db)
	addVerifyKey(fs, &o.verifyKeys)
	fs.BoolVar(&o.nagios, "nagios", false, "print one line, and exit with a code, as monitoring plugins do")
	fs.BoolVar(&o.prometheus, "prometheus", false, "print metrics as Prometheus reads them, as sync --metrics writes them to a file")
	fs.BoolVar(&o.event, "event", false, "print only the event to pin composes at; exit code 3 before the first load")
	fs.BoolVar(&o.all, "all", false, "show all environments that the store knows, without their databases")
	config.DurationVar(fs, &o.maxEventAge, "max-event-age", 0, "with --nagios: warn if the event to pin is older than `TIME` (default: do not look)")
	config.DurationVar(fs, &o.warning, "warning", 26*time.Hour, "with --nagios: warn if the last success is older than `TIME`")
	config.DurationVar(fs, &o.critical, "critical", 50*time.Hour, "with --nagios: be critical if the last success is older than `TIME`")
}

func (o *statusFlags) run(ctx context.Context, a *app, args []string) error {
	if o.nagios {
		a.nagios = true
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, 30*time.Second, errors.New("no answer in 30 seconds"))
		defer cancel()
	}
	if err := noArgs(args); err != nil {
		return err
	}
	if err := o.check(a); err != nil {
		return err
	}
	switch {
	case o.nagios && a.json:
		return usagef("--nagios and --json: choose one")
	case o.event && (o.nagios || a.json):
		return usagef("--event prints the event alone: give it without --nagios and --json, of which the document has it, too, as event")
	case o.all:
		if err := o.checkAll(); err != nil {
			return err
		}
	case o.prometheus && (o.nagios || a.json || o.event):
		return usagef("--prometheus prints metrics alone: give it without --nagios, --json and --event")
	case o.event:
		return o.tellEvent(ctx, a)
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	if o.all {
		return o.runAll(ctx, a)
	}
	s, err := o.read(ctx, a)
	if err != nil {
		return err
	}
	if o.nagios {
		return reporter{a}.tellNagios(nagiosOf(s, o.limits()))
	}
	if o.prometheus {
		return reporter{a}.tellMetrics(s)
	}
	return a.result(s, func(w io.Writer) { showStatus(w, s, a.verbose) })
}

// limits are the ages from which on something is wrong.
type limits struct{ warning, critical, event time.Duration }

func (o *statusFlags) limits() limits { return limits{o.warning, o.critical, o.maxEventAge} }

// check refuses wrong values, before anything is done.
func (o *statusFlags) check(a *app) error {
	if err := a.checkDSN(o.db); err != nil && !o.all {
		return err
	}
	if o.maxEventAge < 0 {
		return usagef("--max-event-age %s: it cannot be negative", o.maxEventAge)
	}
	if o.warning < 0 || o.critical < o.warning {
		return usagef("--warning %s --critical %s: want 0 <= warning <= critical", o.warning, o.critical)
	}
	return nil
}

func (o *statusFlags) read(ctx context.Context, a *app) (*kojisnap.StagingStatus, error) {
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s := &kojisnap.StagingStatus{}
	if s.Status, err = status.Read(ctx, conn); err != nil {
		return nil, err
	}
	verdict := s.Judge()
	s.Verdict, s.AgeSeconds = &verdict, int64(s.Age().Seconds())
	if err := a.checkEnv(s.Mark); err != nil || a.store == "" {
		return s, err
	}
	store, err := a.openStore(false)
	var usage usageError
	if errors.As(err, &usage) {
		return s, err
	}
	scope, wrong := a.scope()
	if wrong != nil {
		return s, wrong
	}
	if err == nil {
		s.Drift, err = kojisnap.ReadDrift(ctx, store, scope, s.Status, a.verbose)
	}
	if err == nil {
		s.Pulled, err = kojisnap.ReadPulled(ctx, store, s.Drift.Snapshot)
	}
	if err != nil {
		// The database is what was asked about: the store may fail.
		s.Drift = &kojisnap.Drift{Error: message(err)}
	}
	return s, nil
}

// How much of each list status shows without -v.
const shownEntries, shownRuns = 5, 5

func showStatus(w io.Writer, s *kojisnap.StagingStatus, all bool) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "environment\t%s, database %s, floor %d\n", clean(s.Mark.Environment), clean(s.Mark.Database), s.Mark.Floor)
	if s.Verdict != nil {
		fmt.Fprintf(tw, "verdict\t%s\n", clean(s.Verdict.Text))
	}
	if s.Event == 0 {
		fmt.Fprintf(tw, "event\tnone: nothing was loaded yet\n")
	} else {
		fmt.Fprintf(tw, "event\t%d of %s: pin composes at it\n", s.Event, day(s.EventTime))
		fmt.Fprintf(tw, "history\t%s\n", historyText(s.History, s.Event))
	}
	switch run, good := s.LastSuccess, s.LastGoodSync; {
	case s.Whole() && good != nil:
		fmt.Fprintf(tw, "last success\t%s ago: sync %d, snapshot %s\n", ago(s.Age()), good.ID, clean(good.Snapshot))
	case s.Whole():
		fmt.Fprintf(tw, "last success\tnone: no sync was without trouble\n")
	case run != nil:
		fmt.Fprintf(tw, "last success\t%s ago: run %d, snapshot %s\n", ago(s.Age()), run.ID, clean(run.Snapshot))
	}
	if len(s.Syncs) > 0 && s.Syncs[0].Exit != exitDone {
		last := s.Syncs[0]
		fmt.Fprintf(tw, "last sync\t%s ago: exit code %d: %s\n", ago(s.Now.Sub(last.Finished)), last.Exit, clean(last.Error))
	}
	if p := s.Pulled; p != nil && (all || s.AppliesOnly()) {
		fmt.Fprintf(tw, "last pull\t%s\n", clean(pulledText(p, s.Now)))
	}
	if len(s.Runs) > 0 && s.Runs[0].Result == book.ResultFailed {
		fmt.Fprintf(tw, "last failure\t%s ago: run %d: %s\n", ago(s.Now.Sub(s.Runs[0].Finished)), s.Runs[0].ID, clean(s.Runs[0].Error))
	}
	if s.Drift != nil {
		fmt.Fprintf(tw, "drift\t%s\n", clean(driftText(s.Drift, all)))
	}
	tw.Flush()
	if s.Drift != nil {
		showDiff(w, &repository.DiffResult{Relations: s.Drift.Relations})
		if s.Drift.RelationsError != "" {
			fmt.Fprintln(w, "rows: "+clean(s.Drift.RelationsError))
		}
	}
	showTags(w, s.Tags, s.Event, all)
	if all {
		showEvents(w, s.Events)
		showSyncs(w, s.Syncs)
	}
	runs := s.Runs
	if !all {
		runs = runs[:min(len(runs), shownRuns)]
	}
	showRuns(w, runs)
	for _, list := range []struct {
		what    string
		entries []book.Entry
	}{{"conflict", s.Conflicts}, {"left out", s.LeftOut}, {"kept", s.Kept}} {
		showList(w, list.what, len(list.entries), all, func(i int) string {
			e := list.entries[i]
			return fmt.Sprintf("%s %s: %s", e.Relation, e.Key, e.What)
		})
	}
	showList(w, "staging's", len(s.Decisions), all, func(i int) string { return s.Decisions[i].String() })
	showList(w, "hidden", len(s.Hidden), all, func(i int) string {
		h := s.Hidden[i]
		return fmt.Sprintf("%s: staging's %s, tagged %s, hides production's %s, tagged %s", h.Tag, h.Staging, day(h.Since), h.Production, day(h.Tagged))
	})
}

// showTags lists the tags, or counts them if they are alike. It marks those that loads no longer update.
func showTags(w io.Writer, tags []status.TagStatus, event int64, all bool) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	level, out := 0, 0
	for _, t := range tags {
		switch {
		case t.OutOfScope && !all:
			out++
		case t.OutOfScope:
			fmt.Fprintf(tw, "tag %s\tevent %d\t%s\t%s\tnot in the newest scope: not kept up\n", clean(t.Name), t.Event, clean(t.Snapshot), historyText(t.History, t.Event))
		case t.Event != event || all:
			fmt.Fprintf(tw, "tag %s\tevent %d\t%s\t%s\n", clean(t.Name), t.Event, clean(t.Snapshot), historyText(t.History, t.Event))
		default:
			level++
		}
	}
	if level > 0 {
		fmt.Fprintf(tw, "%d tags\tevent %d\n", level, event)
	}
	if out > 0 {
		fmt.Fprintf(tw, "%d tags\tnot in the newest scope: not kept up; -v lists them\n", out)
	}
}

// historyText says from which event on composes may be pinned.
func historyText(from, event int64) string {
	if from >= event {
		return "none before the event: pull --since reads it"
	}
	return fmt.Sprintf("whole from event %d on: each event since may be pinned", from)
}

// showSyncs lists the last syncs, and what the last one's verify found.
func showSyncs(w io.Writer, syncs []book.SyncRun) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for i, s := range syncs {
		if i == 0 {
			fmt.Fprintln(tw, "sync\tbegan\ttook\tsnapshot\texit\tby\t")
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", s.ID, day(s.Started), s.Finished.Sub(s.Started).Round(100*time.Millisecond),
			clean(s.Snapshot), s.Exit, clean(s.Who), clean(s.Error))
	}
	if len(syncs) == 0 {
		return
	}
	report, err := kojisnap.ReadSyncReport(syncs[0])
	if err != nil {
		return
	}
	for _, step := range report.Steps {
		text := clean(step.Error)
		if step.Waited != nil && text == "" {
			text = clean(step.Waited.String())
		}
		fmt.Fprintf(tw, "step %s\t%.1f s\t%s\n", clean(step.Name), step.Seconds, text)
	}
	for _, c := range report.Checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", c.Status, clean(c.Name), clean(c.Tag), clean(c.Arch), clean(c.Detail))
	}
}

// showEvents lists the events that are safe to pin.
func showEvents(w io.Writer, events []status.LoadedEvent) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for _, e := range events {
		fmt.Fprintf(tw, "safe to pin\tevent %d of %s\t%s\t%s\n", e.Event, day(e.EventTime), clean(e.Snapshot), clean(strings.Join(e.Tags, " ")))
	}
}

func showRuns(w io.Writer, runs []book.Run) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	for i, r := range runs {
		if i == 0 {
			fmt.Fprintln(tw, "run\tbegan\ttook\tsnapshot\tmode\tresult")
		}
		result := string(r.Result)
		if r.Report != nil && r.Result == book.ResultChanged {
			in, up, gone := r.Report.Totals()
			result = fmt.Sprintf("%d rows inserted, %d updated, %d revoked or deleted", in, up, gone)
		}
		if r.Report != nil && r.Report.Waited != nil {
			result += "; " + clean(r.Report.Waited.String())
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\n", r.ID, day(r.Started), r.Finished.Sub(r.Started).Round(100*time.Millisecond),
			clean(r.Snapshot), clean(r.Mode), result)
	}
}

func showList(w io.Writer, what string, n int, all bool, line func(i int) string) {
	for i := range n {
		if i == shownEntries && !all && n > shownEntries+1 {
			fmt.Fprintf(w, "%s: … and %d more; -v lists them\n", what, n-i)
			return
		}
		fmt.Fprintln(w, clean(what+": "+line(i)))
	}
}

// tellEvent prints the event to pin, for scripts. It reads nothing else of the database, and no store.
func (o *statusFlags) tellEvent(ctx context.Context, a *app) error {
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	pin, err := status.ReadPin(ctx, conn)
	if err != nil {
		return err
	}
	if err := a.checkEnv(pin.Mark); err != nil {
		return err
	}
	if pin.Event == 0 {
		return notReadyError{errors.New("nothing was loaded yet, so there is no event to pin: run kojisnap sync, or load")}
	}
	_, err = fmt.Fprintln(a.stdout, pin.Event)
	return err
}
