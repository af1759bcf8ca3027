package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// production is what a pull reads from in the place of the hub.
type production struct {
	hub   string // URL that names it
	open  func(ctx context.Context) (dbsource.Source, error)
	check func(ctx context.Context) (string, error) // nil: open and look
}

// Pull implements kojisnap.Production.
func (p production) Pull(ctx context.Context, s store.Store, o pull.Options) (*pull.Result, error) {
	return pull.WithinDeadline(ctx, o.Deadline, func(ctx context.Context) (*pull.Result, error) {
		src, err := p.open(ctx)
		if err != nil {
			return nil, err
		}
		defer src.Close()
		return dbsource.Pull(ctx, src, s, p.options(o))
	})
}

// Check implements kojisnap.Production.
func (p production) Check(ctx context.Context, o pull.Options) (string, error) {
	if p.check != nil {
		return p.check(ctx)
	}
	src, err := p.open(ctx)
	if err != nil {
		return "", err
	}
	defer src.Close()
	return dbsource.Check(ctx, src, p.options(o))
}

func (p production) options(o pull.Options) dbsource.Options {
	return dbsource.Options{
		Hub: p.hub, Tags: o.Tags, Builds: o.Builds, Everything: o.Everything, Event: o.Event, Margin: o.Margin, Full: o.Full, Since: o.Since, SinceTime: o.SinceTime,
		DryRun: o.DryRun, NoContentTags: o.NoContentTags, TempDir: o.TempDir, Program: o.Program, Now: o.Now, Log: o.Log, Progress: o.Progress,
	}
}

// ofHub are the flags of a pull that mean something only to a hub.
var ofHub = []string{"sweep", "max-rate", "serverca", "contact"}

// production returns what is read in the place of the hub; nil: the hub. hub is the URL that names production.
func (o *pullFlags) production(a *app, hub string) (kojisnap.Production, error) {
	from, what := "from-db", "a database"
	switch {
	case o.fromDB == "" && o.fromDump == "" && o.everything && o.maxRate == 0:
		return nil, exit.Usagef("--everything would ask the hub for all its builds and rpms, page by page, for hours: give --max-rate N, the requests a second that it may send; or read --from-db or --from-dump")
	case o.fromDB == "" && o.fromDump == "":
		return nil, nil
	case o.fromDB != "" && o.fromDump != "":
		return nil, exit.Usagef("--from-db and --from-dump: give one of them")
	case o.fromDump != "":
		from, what = "from-dump", "a dump"
	}
	for _, name := range ofHub {
		if o.flags != nil && o.flags.Changed(name) {
			return nil, exit.Usagef("--%s is for hubs, and --%s reads %s: leave it out", name, from, what)
		}
	}
	if o.fromDump != "" {
		return o.dump(a, hub), nil
	}
	if err := a.checkDSN(o.fromDB); err != nil {
		return nil, err
	}
	if err := o.checkNotStaging(a); err != nil {
		return nil, err
	}
	open := func(ctx context.Context) (dbsource.Source, error) {
		src, err := postgres.Open(ctx, postgres.Options{DSN: o.fromDB, Jobs: o.jobs, Log: a.log})
		if marked := (*postgres.MarkedError)(nil); errors.As(err, &marked) {
			return nil, exit.AsUsage(err)
		}
		if err != nil {
			return nil, err
		}
		if err := o.proveNotStaging(ctx, a, src); err != nil {
			src.Close()
			return nil, err
		}
		return src, nil
	}
	return production{hub: hub, open: open}, nil
}

// dump returns a dump that is read in the place of the hub.
func (o *pullFlags) dump(a *app, hub string) production {
	opt := pgdump.Options{Path: o.fromDump, TempDir: o.tempDir, Log: a.log, Progress: a.progress}
	explain := func(err error) error {
		if errors.Is(err, pgdump.ErrMarked) {
			return exit.AsUsage(err)
		}
		return err
	}
	return production{
		hub: hub,
		open: func(ctx context.Context) (dbsource.Source, error) {
			src, err := pgdump.Open(ctx, opt)
			return src, explain(err)
		},
		check: func(ctx context.Context) (string, error) {
			text, err := pgdump.Check(ctx, opt)
			return text, explain(err)
		},
	}
}

// stagings are the DSNs of the staging databases that flags and the configuration name.
func (o *pullFlags) stagings(a *app) (dsns []string) {
	add := func(dsn string) {
		if dsn != "" && !slices.Contains(dsns, dsn) {
			dsns = append(dsns, dsn)
		}
	}
	add(o.stagingDB)
	for _, section := range []string{"load", "copy", "verify"} {
		if v, _, ok := a.config.Lookup(section, "db"); ok {
			text, _ := v.(string)
			add(text)
		}
	}
	return dsns
}

var errSameDatabase = errors.New("--from-db and --db name the same database: --from-db is production's, which is read, --db is staging's, which is written")

// checkNotStaging refuses the staging database by its name.
func (o *pullFlags) checkNotStaging(a *app) error {
	for _, dsn := range o.stagings(a) {
		if sameDatabase(o.fromDB, dsn) {
			return exit.AsUsage(errSameDatabase)
		}
	}
	return nil
}

// proveNotStaging refuses the staging database by whatever other name, as far as that can be reached from here: where
// snapshots are only pulled it need not be.
func (o *pullFlags) proveNotStaging(ctx context.Context, a *app, src *postgres.Source) error {
	for _, dsn := range o.stagings(a) {
		switch same, err := src.Is(ctx, dsn); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			a.log.Debug("staging's database was told from production's by its name only", "err", err)
		case same:
			return exit.AsUsage(errSameDatabase)
		}
	}
	return nil
}

// sameDatabase reports whether two DSNs name the same database of the same server.
func sameDatabase(a, b string) bool {
	place := func(dsn string) string {
		c, err := pgx.ParseConfig(dsn)
		if err != nil {
			return "?" + dsn
		}
		database := c.Database
		if database == "" {
			database = c.User
		}
		return fmt.Sprintf("%s:%d/%s", strings.ToLower(c.Host), c.Port, database)
	}
	return place(a) == place(b)
}

// addSource adds the flags that name what is read in the place of the hub.
func (o *pullFlags) addSource(fs *pflag.FlagSet) {
	fs.StringVar(&o.fromDB, "from-db", "", "read production's database, or a standby of it, at `DSN`, and not the hub; --hub names the production, and need not be reachable")
}

// addDump adds the flags that name a dump.
func (o *pullFlags) addDump(fs *pflag.FlagSet) {
	fs.StringVar(&o.fromDump, "from-dump", "", "read a dump of production's database, and not the hub: `FILE|-|DIR` as pg_dump made it, whatever its format and compression; --hub names the production")
	fs.StringVar(&o.tempDir, "tmpdir", "", "put temporary files below `DIR` (default: TMPDIR, or else /tmp)")
}

// read pulls, from the hub or what is in its place.
func (o *pullFlags) read(ctx context.Context, from kojisnap.Production, c *hub.Client, s store.Store, opt pull.Options) (*pull.Result, error) {
	if from != nil {
		return from.Pull(ctx, s, opt)
	}
	return pull.Pull(ctx, c, s, opt)
}

// sourceText says what a pull read that did not ask the hub.
func sourceText(r *pull.Result) string {
	return fmt.Sprintf("%d rows read of %d tables of production's %s", r.Asked.Rows, r.Source.Wanted, r.Source.Kind)
}

// tellTables names the tables of a source that kojisnap does not know.
func (a reporter) tellTables(r *pull.Result) {
	if r.Source == nil || r.Source.Unknown == 0 {
		return
	}
	var names []string
	for _, t := range r.Source.Tables {
		if t.Class == string(dbsource.Unknown) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	a.log.Info("tables that kojisnap does not know were not read", "tables", strings.Join(names, " "))
}

// checkAsked refuses tags and builds that are no such names, and those beside --everything.
func (o *pullFlags) checkAsked() error {
	switch {
	case slices.Contains(o.tags, snapfile.AskedEverything):
		return exit.Usagef("--tag %q: for the whole catalogue give --everything, without --tag", snapfile.AskedEverything)
	case o.everything && len(o.tags) > 0:
		return exit.Usagef("--everything and --tag %s: everything has all tags; give one of the two (in a configuration: everything or tag)", strings.Join(o.tags, " "))
	case o.everything && len(o.builds) > 0:
		return exit.Usagef("--everything and --build %s: everything has all complete builds; give one of the two (in a configuration: everything or build)", strings.Join(o.builds, " "))
	case o.everything && !o.contentTags:
		return exit.Usagef("--everything and --content-tags=false: everything has all tags; leave one of the two out")
	}
	if err := flags.CheckTags(o.tags); err != nil {
		return err
	}
	return flags.CheckBuilds(o.builds)
}
