package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/setup"

	"github.com/spf13/pflag"
)

var initCommand = command{
	name:  "init",
	short: "mark a database as staging",
	long: `Init marks a Koji database as the staging environment's. Without the mark, load refuses a
database before the first write. Init sets the sequences to a floor, so that staging's ids
never meet production's, moves rows that were made before (an admin) above it, and creates
the blocked user "kojisnap". A database that has builds is refused, unless --adopt takes its
rows below the floor for production's.

The mark is of one database of one server. After pg_upgrade, a dump and restore, a new name or
a move to another server, --moved renews it and keeps all that is on record: what was loaded,
what staging decided. Whoever confirms it says that the original is out of use; one that is still
there on the same server is refused. For a copy that is to be another staging, use --adopt, which
begins a new record.`,
	examples: `
kojisnap init --db 'host=db.stg dbname=koji user=koji' --env stg
kojisnap init --db dbname=koji --dry-run
kojisnap init --db dbname=koji --adopt --confirm koji@7423150617294840123
kojisnap init --db dbname=koji --moved --confirm koji@7423150617294840123`,
	setup: func(f *flags) runner {
		var o initFlags
		f.section("init", nil, o.add)
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
	addDB(fs, &o.db)
	fs.Int64Var(&o.floor, "sequence-floor", book.DefaultFloor, "where staging's ids begin")
	fs.BoolVar(&o.adopt, "adopt", false, "take a database that already has builds")
	fs.BoolVar(&o.moved, "moved", false, "take a staging database that was moved: pg_upgrade, dump and restore, another name or server")
	fs.StringVar(&o.confirm, "confirm", "", "`DBNAME@SYSTEM_IDENTIFIER` of the database to adopt, or that was moved")
}

func (o *initFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := a.checkDSN(o.db); err != nil {
		return err
	}
	if o.floor < 1 {
		return usagef("--sequence-floor %d: ids count from 1", o.floor)
	}
	if o.confirm != "" && !o.adopt && !o.moved {
		return usagef("--confirm goes with --adopt or --moved")
	}
	if o.adopt && o.moved {
		return usagef("--adopt begins a new record, --moved keeps what is there: give one of them")
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
				fmt.Fprintln(w, clean(fmt.Sprintf("move %s %d %s to %d", m.Relation, m.From, m.Name, m.To)))
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
		return pending()
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

func namesDatabase(dsn string) bool {
	return dsn != "" || os.Getenv("PGDATABASE") != "" || os.Getenv("PGSERVICE") != ""
}

// checkDSN wants a database named: libpq's defaults alone are nobody's staging.
func (a *app) checkDSN(dsn string) error {
	if !namesDatabase(dsn) {
		return a.missing("database", "--db DSN, or db = \"…\" in the configuration, or set PGDATABASE")
	}
	return dbconn.CheckDSN(dsn)
}
