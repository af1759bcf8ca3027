package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/report"
)

// reportCommand is a function, as report shows the keys of all commands.
func reportCommand() command {
	return command{
		name: "report", noEnv: true,
		short: "write a page that says whether staging is ready, and why not",
		long: `Report tells on one page what kojisnap has on record: whether staging is compose-ready and, if not, why and what
helps; what verify found, by tag and arch, with all packages concerned; how syncs went, and where a scheduled one was
missed; which builds came, moved and went with the last one; what is staging's own, and what follows from that; how
files were made, and what room is left; what all that cost production; and the configuration without secrets.

With -o it writes the page as one HTML file, which needs no script, no network and no other file, so it can be
mailed or put on any web server. The file is replaced at once: readers see the old page or the new one. -o - writes
the page to standard output. Without -o it prints the same facts as text, with --json as a document.

The page has all environments that the configuration and the store know, unless --env names one. Report only reads
databases, the store and topdir, and waits for no lock. Of an environment whose database is not in the configuration, or
does not answer, the page has what the store has on record.

The exit code is 0 when the report was written, whatever it says: for alarms there is kojisnap status --nagios.`,
		examples: `
kojisnap report -o /var/www/html/kojisnap.html
kojisnap report -c stg.toml -o - | mail -a 'Content-Type: text/html' -s staging releng@example.com
kojisnap report --env stg
kojisnap report -c stg.toml --json`,
		setup: func(f *config.Flags) runner {
			var o reportFlags
			f.Section("report", nil, o.add)
			o.given = f.Set.Changed
			return o.run
		},
	}
}

type reportFlags struct {
	output, db, topdir string
	verifyKeys         []string

	given func(flag string) bool // on the command line
}

func (o *reportFlags) add(fs *pflag.FlagSet) {
	fs.StringVarP(&o.output, "output", "o", "", "write an HTML page to `FILE`, - for standard output (default: print text)")
	flags.AddDB(fs, &o.db)
	fs.StringVar(&o.topdir, "topdir", "", "look below `DIR`, staging's topdir, at what was copied and what room is left (default: copy's and load's topdir)")
	flags.AddVerifyKey(fs, &o.verifyKeys)
}

func (o *reportFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	switch {
	case o.output == "-" && a.json:
		return exit.Usagef("-o - and --json: both go to standard output: choose one")
	case o.output != "" && o.output != "-" && !a.dryRun:
		if err := durable.CheckWritable(o.output); err != nil {
			return fmt.Errorf("report: %s cannot be written: %w; -o names another file", o.output, err)
		}
	}
	facts, err := o.facts(ctx, a)
	if err != nil {
		return err
	}
	switch {
	case o.output == "-":
		return facts.WriteHTML(a.stdout)
	case o.output != "" && !a.dryRun:
		if err := durable.WriteFile(o.output, func(w io.Writer) error { return facts.WriteHTML(w) }); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if o.output != "" && !a.json {
		return nil
	}
	if a.json {
		return a.result(facts, nil)
	}
	return facts.WriteText(a.stdout)
}

// facts collects the facts of all environments: first those of the configuration, then those that only stores know.
func (o *reportFlags) facts(ctx context.Context, a *app) (*report.Facts, error) {
	f := &report.Facts{Made: time.Now().UTC(), Version: version.Number, Environments: []report.Env{}}
	known, err := o.onRecord(ctx, a)
	names := a.config.Environments()
	one := o.given("env") || len(names) == 0
	if one {
		names = []string{a.env}
	} else if o.given("db") || o.given("topdir") {
		return nil, exit.Usagef("--db and --topdir are those of one environment: give --env, too")
	}
	for _, name := range names {
		env, wrong := o.environment(ctx, a, name, known)
		onRecord := slices.ContainsFunc(known, func(e kojisnap.EnvironmentStatus) bool { return e.Name == name })
		if exit.IsUsage(wrong) && one && !onRecord {
			if o.given("env") || len(known) == 0 {
				return nil, wrong
			}
			continue // no environment is configured here: those of the store are meant
		}
		f.Environments = append(f.Environments, env)
	}
	for _, e := range known {
		if !o.given("env") && !slices.ContainsFunc(f.Environments, func(has report.Env) bool { return has.Name == e.Name }) {
			f.Environments = append(f.Environments, report.FromStore(e, f.Made))
		}
	}
	if err != nil && len(f.Environments) > 0 {
		f.Environments[0].Troubles = append(f.Environments[0].Troubles, "what the store has on record of environments is not known: "+exit.Message(err))
	}
	return f.Masked()
}

// onRecord returns the environments that the stores know.
func (o *reportFlags) onRecord(ctx context.Context, a *app) (all []kojisnap.EnvironmentStatus, err error) {
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return nil, err
	}
	stores, err := a.allStores()
	if err != nil {
		return nil, err
	}
	for _, s := range stores {
		found, err := kojisnap.ReadEnvironments(ctx, s, nil)
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// environment collects the facts of one environment. An error says that its configuration is wrong; then the
// environment is as good as can be known all the same.
func (o *reportFlags) environment(ctx context.Context, a *app, name string, known []kojisnap.EnvironmentStatus) (report.Env, error) {
	its, own, err := o.of(a, name)
	in := report.Input{Env: name, Checked: -1, Topdir: own.topdir, Config: its.settings()}
	if err == nil {
		err = its.checkDSN(own.db)
	}
	if err == nil {
		s := statusFlags{db: own.db}
		if in.Status, err = s.read(ctx, its); err == nil {
			in.Env = in.Status.Mark.Environment
			in.Syncs, in.Checked, err = own.syncs(ctx)
		}
	}
	if err != nil {
		env := report.Unknown(name, err, in.Config)
		if at := slices.IndexFunc(known, func(e kojisnap.EnvironmentStatus) bool { return e.Name == name }); at >= 0 {
			env = report.FromStore(known[at], time.Now().UTC())
			env.Config, env.Troubles = in.Config, []string{"what its database holds: " + exit.Message(err)}
		}
		return env, err
	}
	if its.store != "" {
		if in.Store, err = its.openStore(false); err != nil {
			in.Store = nil // the drift of the status has the reason
		}
	}
	return report.Collect(ctx, in), nil
}

// of returns the program and the flags as an environment's configuration sets them; what the command line says goes
// before that.
func (o *reportFlags) of(a *app, name string) (*app, *reportFlags, error) {
	its, own := *a, *o
	its.config, its.env = a.config.For(name), name
	its.envSet = a.envSet || slices.Contains(a.config.Environments(), name)
	its.volumes = its.config.Volumes()
	f := config.New("report")
	var set reportFlags
	f.Section("report", nil, set.add)
	if err := f.Configure(its.config); err != nil {
		return &its, &own, exit.AsUsage(err)
	}
	if !o.given("db") {
		own.db = its.fallback(set.db, "db")
	}
	if !o.given("topdir") {
		own.topdir = its.fallback(set.topdir, "topdir")
	}
	if v, _, ok := its.config.Lookup(config.Common, "store"); ok && !o.given("store") {
		its.store, _ = v.(string)
	}
	if !o.given("verify-key") {
		own.verifyKeys = set.verifyKeys
	}
	return &its, &own, its.useKeys("", own.verifyKeys)
}

// fallback returns a value, or else what the tables of copy and load say about its key.
func (a *app) fallback(value, key string) string {
	for _, section := range []string{"copy", "load"} {
		if v, _, ok := a.config.Lookup(section, key); value == "" && ok {
			value, _ = v.(string)
		}
	}
	return value
}

// maxHistory is how many syncs a report goes back.
const maxHistory = 1000

func (o *reportFlags) syncs(ctx context.Context) (syncs []book.SyncRun, checked int, err error) {
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return nil, -1, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return status.ReadSyncs(ctx, conn, maxHistory)
}

// settings is the configuration as it takes effect, without secrets.
func (a *app) settings() (keys []report.ConfigKey) {
	for _, s := range config.Effective(a.config, schema()) {
		if s.Section == config.Common {
			s.Section = ""
		}
		keys = append(keys, report.ConfigKey{Section: s.Section, Key: s.Key, Value: s.Value, Origin: s.Origin, Default: s.Default})
	}
	return keys
}
