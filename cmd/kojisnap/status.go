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
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/monitor"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/metrics"
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
	flags.AddDB(fs, &o.db)
	flags.AddVerifyKey(fs, &o.verifyKeys)
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
		return exit.Usagef("--nagios and --json: choose one")
	case o.event && (o.nagios || a.json):
		return exit.Usagef("--event prints the event alone: give it without --nagios and --json, of which the document has it, too, as event")
	case o.all:
		if err := o.checkAll(); err != nil {
			return err
		}
	case o.prometheus && (o.nagios || a.json || o.event):
		return exit.Usagef("--prometheus prints metrics alone: give it without --nagios, --json and --event")
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
		return monitor.Staging(s, o.limits()).Tell(a.stdout)
	}
	if o.prometheus {
		return reporter{a}.tellMetrics(s)
	}
	return a.result(s, func(w io.Writer) { tell.WriteStatus(w, s, a.verbose) })
}

func (o *statusFlags) limits() monitor.Limits {
	return monitor.Limits{Warning: o.warning, Critical: o.critical, Event: o.maxEventAge}
}

// check refuses wrong values, before anything is done.
func (o *statusFlags) check(a *app) error {
	if err := a.checkDSN(o.db); err != nil && !o.all {
		return err
	}
	if o.maxEventAge < 0 {
		return exit.Usagef("--max-event-age %s: it cannot be negative", o.maxEventAge)
	}
	if o.warning < 0 || o.critical < o.warning {
		return exit.Usagef("--warning %s --critical %s: want 0 <= warning <= critical", o.warning, o.critical)
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
	if exit.IsUsage(err) {
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
		s.Drift = &kojisnap.Drift{Error: exit.Message(err)}
	}
	return s, nil
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
		return exit.AsNotReady(errors.New("nothing was loaded yet, so there is no event to pin: run kojisnap sync, or load"))
	}
	_, err = fmt.Fprintln(a.stdout, pin.Event)
	return err
}

// tellMetrics prints the metrics of a staging, as sync writes them.
func (a reporter) tellMetrics(s *kojisnap.StagingStatus) error {
	return metrics.Staging{Env: s.Mark.Environment, Version: version.Number, Status: s}.WriteText(a.stdout)
}

// allStatus is the result of status --all.
type allStatus struct {
	Now          time.Time                    `json:"now"` // by this machine's clock
	Environments []kojisnap.EnvironmentStatus `json:"environments"`
}

// runAll shows all environments that the stores know.
func (o *statusFlags) runAll(ctx context.Context, a *app) error {
	all := allStatus{Now: time.Now().UTC(), Environments: []kojisnap.EnvironmentStatus{}}
	stores, err := a.allStores()
	if err != nil {
		return err
	}
	for _, s := range stores {
		found, err := kojisnap.ReadEnvironments(ctx, s, func(err error) {
			a.log.WarnContext(ctx, "a snapshot cannot be read, and is not looked at", "err", err)
		})
		if err != nil {
			return err
		}
		all.Environments = append(all.Environments, found...)
	}
	if o.nagios {
		return monitor.All(all.Environments, all.Now, o.limits()).Tell(a.stdout)
	}
	return a.result(all, func(w io.Writer) { showEnvironments(w, all, len(stores) > 1, a.verbose) })
}

// showEnvironments writes a table with a line for each environment.
func showEnvironments(w io.Writer, all allStatus, stores, verbose bool) {
	if len(all.Environments) == 0 {
		fmt.Fprintln(w, "no environment is on record in the store: the next load or sync of one makes its record")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	defer tw.Flush()
	head := "ENVIRONMENT\tEVENT\tOF\tLAST SUCCESS\tBEHIND\t"
	if stores || verbose {
		head += "STORE\t"
	}
	fmt.Fprintln(tw, head+"STATE")
	for _, e := range all.Environments {
		event, of := "none", ""
		if e.Event > 0 {
			event, of = fmt.Sprint(e.Event), "an unknown time"
		}
		if !e.EventTime.IsZero() {
			of = output.Day(e.EventTime)
		}
		success := "none"
		if at := e.Succeeded(); !at.IsZero() {
			success = kojisnap.Age(all.Now.Sub(at)) + " ago"
		}
		line := fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t", e.Name, event, of, success, behindText(&e))
		if stores || verbose {
			line += e.Store + "\t"
		}
		_, state := monitor.LastSync(&e)
		fmt.Fprintln(tw, cleanCells(line+state))
	}
}

// cleanCells is clean for a line of a table.
func cleanCells(line string) string {
	cells := strings.Split(line, "\t")
	for i := range cells {
		cells[i] = output.Clean(cells[i])
	}
	return strings.Join(cells, "\t")
}

func behindText(e *kojisnap.EnvironmentStatus) string {
	behind := time.Duration(e.BehindSeconds) * time.Second
	switch {
	case e.Event == 0:
		return "-"
	case e.Newest == "":
		return "no snapshot of its scope"
	case e.Behind > 0 && e.EventTime.IsZero():
		return fmt.Sprintf("%d events", e.Behind)
	case e.Behind > 0:
		return fmt.Sprintf("%d events, %s", e.Behind, kojisnap.Age(behind))
	case e.Snapshot != "" && e.Snapshot != e.Newest:
		return "not the newest of the event"
	}
	return "nothing"
}

// checkAll refuses flags that are of no use with --all.
func (o *statusFlags) checkAll() error {
	if o.prometheus {
		return exit.Usagef("--prometheus and --all: metrics are of one environment; give --env")
	}
	if o.event {
		return exit.Usagef("--event and --all: the event to pin is that of one environment; give --env")
	}
	return nil
}
