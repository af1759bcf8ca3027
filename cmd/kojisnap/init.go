package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"kojisnap/dbsync"
	"kojisnap/kojisnap"

	"github.com/spf13/pflag"
)

var initCommand = command{
	name:  "init",
	short: "mark a database as staging",
	long: `Init marks a Koji database as the staging environment's. Without the mark, load refuses a
database before the first write. Init sets the sequences to a floor, so that staging's ids
never meet production's, moves rows that were made before (an admin) above it, and creates
the blocked user "kojisnap". A database that has builds is refused, unless --adopt takes its
rows below the floor for production's.`,
	examples: `
kojisnap init --db 'host=db.stg dbname=koji user=koji' --env stg
kojisnap init --db dbname=koji --dry-run
kojisnap init --db dbname=koji --adopt --confirm koji@7423150617294840123`,
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
}

func (o *initFlags) add(fs *pflag.FlagSet) {
	addDB(fs, &o.db)
	fs.Int64Var(&o.floor, "sequence-floor", dbsync.DefaultFloor, "where staging's ids begin")
	fs.BoolVar(&o.adopt, "adopt", false, "take a database that already has builds")
	fs.StringVar(&o.confirm, "confirm", "", "`DBNAME@SYSTEM_IDENTIFIER` of the database to adopt")
}

func (o *initFlags) run(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := checkDSN(o.db); err != nil {
		return err
	}
	if o.confirm != "" && !o.adopt {
		return usagef("--confirm goes with --adopt")
	}
	conn, err := kojisnap.Connect(ctx, o.db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	r, err := dbsync.Init(ctx, conn, dbsync.InitOptions{
		Env: a.env, Floor: o.floor, Adopt: o.adopt, Confirm: o.confirm, DryRun: a.dryRun, Log: a.log,
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
	if r.Already {
		a.tell("database %s is marked as %s already", r.Mark.Database, r.Mark.Environment)
	} else {
		a.tell("database %s (system %s) is marked as %s; %d rows moved above %d", r.Mark.Database, r.Mark.System, r.Mark.Environment, len(r.Moved), r.Mark.Floor)
	}
	return nil
}

// checkDSN wants a database named: libpq's defaults alone are nobody's staging.
func checkDSN(dsn string) error {
	if dsn == "" && os.Getenv("PGDATABASE") == "" && os.Getenv("PGSERVICE") == "" {
		return usagef("no database: give --db DSN, or set PGDATABASE")
	}
	return nil
}
