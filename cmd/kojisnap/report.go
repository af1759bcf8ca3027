package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/report"
)

var reportCommand = command{
	name:  "report",
	short: "write a page that says whether staging is ready, and why not",
	long: `Report tells on one page what kojisnap has on record: whether staging is compose-ready and, if not, why and what
helps; what verify found, by tag and arch, with all packages concerned; how syncs went, and where a scheduled one was
missed; which builds came, moved and went with the last one; what is staging's own, and what follows from that; how
files were made, and what room is left; what all that cost production; and the configuration without secrets.

With -o it writes the page as one HTML file, which needs no script, no network and no other file, so it can be
mailed or put on any web server. The file is replaced at once: readers see the old page or the new one. -o - writes
the page to standard output. Without -o it prints the same facts as text, with --json as a document.

The page has all environments that the configuration and the store know, unless --env names one. Report only reads
databases, the store and topdir, and waits for no lock. An environment whose database does not answer is on the page as
unknown.

The exit code is 0 when the report was written, whatever it says: for alarms there is kojisnap status --nagios.`,
	examples: `
kojisnap report -o /var/www/html/kojisnap.html
kojisnap report -c stg.toml -o - | mail -a 'Content-Type: text/html' -s staging releng@example.com
kojisnap report -c stg.toml --env stg
kojisnap report -c stg.toml --json`,
	setup: func(f *config.Flags) runner {
		var o reportFlags
		f.Section("report", nil, o.add)
		return o.run
	},
}

type reportFlags struct {
	output, db, topdir string
	verifyKeys         []string
}

func (o *reportFlags) add(fs *pflag.FlagSet) {
	fs.StringVarP(&o.output, "output", "o", "", "write an HTML page to `FILE`, - for standard output (default: print text)")
	addDB(fs, &o.db)
	fs.StringVar(&o.topdir, "topdir", "", "look below `DIR`, staging's topdir, at what was copied and what room is left (default: copy's and load's topdir)")
	addVerifyKey(fs, &o.verifyKeys)
}

func (o *reportFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	switch {
	case o.output == "-" && a.json:
		return usagef("-o - and --json: both go to standard output: choose one")
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

// facts collects the facts of all environments.
func (o *reportFlags) facts(ctx context.Context, a *app) (*report.Facts, error) {
	f := &report.Facts{Made: time.Now().UTC(), Version: version}
	env, err := o.environment(ctx, a)
	if err != nil {
		return nil, err
	}
	f.Environments = append(f.Environments, env)
	return f.Masked()
}

// environment collects the facts of one environment. Only wrong usage is an error: what cannot be found out is in the
// report.
func (o *reportFlags) environment(ctx context.Context, a *app) (report.Env, error) {
	o.db, o.topdir = o.fallback(a, o.db, "db"), o.fallback(a, o.topdir, "topdir")
	if err := a.checkDSN(o.db); err != nil {
		return report.Env{}, err
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return report.Env{}, err
	}
	in := report.Input{Env: a.env, Checked: -1, Topdir: o.topdir, Config: a.settings()}
	s := statusFlags{db: o.db}
	held, err := s.read(ctx, a)
	if err == nil {
		in.Env, in.Status = held.Mark.Environment, held
		in.Syncs, in.Checked, err = o.syncs(ctx)
	}
	var usage usageError
	if errors.As(err, &usage) {
		return report.Env{}, err
	}
	if err != nil {
		return report.Unknown(a.env, err, in.Config), nil
	}
	if a.store != "" {
		if in.Store, err = a.openStore(false); err != nil {
			in.Store = nil // the drift of the status has the reason
		}
	}
	return report.Collect(ctx, in), nil
}

func (o *reportFlags) syncs(ctx context.Context) (syncs []book.SyncRun, checked int, err error) {
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return nil, -1, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return status.ReadSyncs(ctx, conn, maxHistory)
}

// maxHistory is how many syncs a report goes back.
const maxHistory = 1000

// fallback returns a value, or else what the tables of copy and load say about its key.
func (o *reportFlags) fallback(a *app, value, key string) string {
	for _, section := range []string{"copy", "load"} {
		if v, _, ok := a.config.Lookup(section, key); value == "" && ok {
			value, _ = v.(string)
		}
	}
	return value
}

// settings is the configuration as it takes effect, without secrets.
func (a *app) settings() []report.ConfigKey { return nil }
