package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kojisnap/dbsync"
	"kojisnap/kojisnap"
)

var statusCommand = command{
	name:  "status",
	short: "what the staging database holds",
	long: `Status says which event of production the staging database holds (the one to pin composes
at), tag by tag, and where something of staging's own stands in the place of production's rows.`,
	examples: `
kojisnap status --db 'host=db.stg dbname=koji user=koji'
kojisnap status -c stg.toml --json`,
	setup: func(f *flags) runner {
		var db string
		f.section("status", nil, func(fs *pflag.FlagSet) {
			fs.StringVar(&db, "db", "", "`DSN` of the staging database (default: PGHOST, PGDATABASE, … of the environment)")
		})
		return func(ctx context.Context, a *app, args []string) error { return runStatus(ctx, a, db, args) }
	},
}

func runStatus(ctx context.Context, a *app, db string, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	if err := checkDSN(db); err != nil {
		return err
	}
	conn, err := kojisnap.Connect(ctx, db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s, err := dbsync.ReadStatus(ctx, conn)
	if err != nil {
		return err
	}
	return a.result(s, func(w io.Writer) {
		fmt.Fprintf(w, "environment %s, database %s, floor %d\nevent %d\n", clean(s.Mark.Environment), clean(s.Mark.Database), s.Mark.Floor, s.Event)
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, t := range s.Tags {
			fmt.Fprintf(tw, "tag %s\tevent %d\t%s\n", clean(t.Name), t.Event, t.Snapshot)
		}
		tw.Flush()
		for _, list := range []struct {
			what    string
			entries []dbsync.Entry
		}{{"conflict", s.Conflicts}, {"left out", s.LeftOut}, {"kept", s.Kept}} {
			for _, e := range list.entries {
				fmt.Fprintln(w, clean(fmt.Sprintf("%s: %s %s: %s", list.what, e.Relation, e.Key, e.What)))
			}
		}
	})
}
