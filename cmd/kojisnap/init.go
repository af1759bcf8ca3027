package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/setup"
)

var initCommand = command{
	name:  "init",
	short: "mark a database as staging",
	long: `Init marks a Koji database as the staging environment's. Load refuses a database without the mark before it
writes anything. Init sets the sequences to a floor, so that staging's ids never meet production's, moves rows
that exist already (an admin) above it, and creates the blocked user "kojisnap". It refuses a database that has
builds, unless --adopt takes its rows below the floor for production's.

The mark is of one database of one server. After pg_upgrade, a dump and restore, a new name or a move to another
server, --moved renews it and keeps all that is on record: what was loaded, what staging decided. Whoever
confirms that says that the original is out of use; init refuses if the original still exists on the same server.
For a copy that is to be another staging use --adopt, which begins a new record.`,
	examples: `
kojisnap init --db 'host=db.stg dbname=koji user=koji' --env stg
kojisnap init --db dbname=koji --dry-run
kojisnap init --db dbname=koji --adopt --confirm koji@7423150617294840123
kojisnap init --db dbname=koji --moved --confirm koji@7423150617294840123`,
	setup: func(f *config.Flags) runner {
		var o initFlags
		f.Section("init", nil, o.add)
		return o.run
	},
}

type initFlags struct {
	db, confirm string
	floor       int64
	adopt       bool
	moved       bool
}

func (o *initFlags) add(fs *pflag.FlagSet) {
	flags.AddDB(fs, &o.db)
	fs.Int64Var(&o.floor, "sequence-floor", book.DefaultFloor, "give staging's own rows ids from `ID` on")
	fs.BoolVar(&o.adopt, "adopt", false, "accept a database that already has builds")
	fs.BoolVar(&o.moved, "moved", false, "accept a staging database that was moved: by pg_upgrade, dump and restore, to another name or server")
	fs.StringVar(&o.confirm, "confirm", "", "confirm that `DBNAME@SYSTEM_IDENTIFIER` is the database to adopt, or that was moved")
}

func (o *initFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := o.check(a); err != nil {
		return err
	}
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	r, err := setup.Init(ctx, conn, setup.Options{
		Env: a.env, Floor: o.floor, Adopt: o.adopt, Moved: o.moved, Confirm: o.confirm, DryRun: a.dryRun, Log: a.log,
	})
	if err != nil {
		return err
	}
	var show func(io.Writer)
	if a.dryRun && !r.Already {
		show = func(w io.Writer) {
			fmt.Fprintf(w, "mark database %s as %s, floor %d\n", r.Mark.Database, r.Mark.Environment, r.Mark.Floor)
			for _, m := range r.Moved {
				fmt.Fprintln(w, output.Clean(fmt.Sprintf("move %s %d %s to %d", m.Relation, m.From, m.Name, m.To)))
			}
		}
	}
	if err := a.result(r, show); err != nil {
		return err
	}
	for _, n := range r.Notes {
		a.log.Warn(n)
	}
	if a.dryRun && !r.Already {
		return exit.Pending()
	}
	switch {
	case r.Renewed:
		a.tell("database %s (system %s) is %s as it was before it was moved", r.Mark.Database, r.Mark.System, r.Mark.Environment)
	case r.Already:
		a.tell("database %s is marked as %s already", r.Mark.Database, r.Mark.Environment)
	default:
		a.tell("database %s (system %s) is marked as %s; %d rows moved above %d", r.Mark.Database, r.Mark.System, r.Mark.Environment, len(r.Moved), r.Mark.Floor)
	}
	return nil
}

// check refuses wrong values, before anything is done.
func (o *initFlags) check(a *app) error {
	if err := a.checkDSN(o.db); err != nil {
		return err
	}
	switch {
	case o.floor < 1:
		return exit.Usagef("--sequence-floor %d: ids count from 1", o.floor)
	case o.confirm != "" && !o.adopt && !o.moved:
		return exit.Usagef("--confirm goes with --adopt or --moved")
	case o.adopt && o.moved:
		return exit.Usagef("--adopt begins a new record, --moved keeps what is there: give one of them")
	}
	return nil
}

func namesDatabase(dsn string) bool {
	return dsn != "" || os.Getenv("PGDATABASE") != "" || os.Getenv("PGSERVICE") != ""
}

// checkDSN requires that a database is named: libpq's defaults alone are nobody's staging.
func (a *app) checkDSN(dsn string) error {
	if !namesDatabase(dsn) {
		return a.missing("database", "--db DSN, or db = \"…\" in the configuration, or set PGDATABASE")
	}
	return dbconn.CheckDSN(dsn)
}
