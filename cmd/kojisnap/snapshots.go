package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

var snapshotsCommand = command{
	name:  "snapshots",
	short: "list the snapshots of a store",
	long:  "Snapshots lists the snapshots of a store, the latest first.",
	noEnv: true,
	examples: `
kojisnap snapshots --store /var/lib/kojisnap
kojisnap snapshots -c stg.toml --json`,
	setup: func(*config.Flags) runner { return runSnapshots },
}

var showCommand = command{
	name: "show", args: "ID",
	short: "show what a snapshot holds",
	long:  "Show prints what is in a snapshot: where it comes from, its tags, and the rows of each relation.",
	noEnv: true,
	examples: `
kojisnap show latest --store /var/lib/kojisnap
kojisnap show 419-0123456789ab -c stg.toml --json`,
	setup: func(f *config.Flags) runner {
		var verifyKeys []string
		f.Section("show", nil, func(fs *pflag.FlagSet) { flags.AddVerifyKey(fs, &verifyKeys) })
		return func(ctx context.Context, a *app, args []string) error {
			if err := a.useKeys("", verifyKeys); err != nil {
				return err
			}
			return runShow(ctx, a, args)
		}
	},
}

// snapshotsResult is the list of a store's snapshots, the latest first.
type snapshotsResult struct {
	Snapshots []snapshotLine `json:"snapshots"`
}

// snapshotLine is a snapshot in the list.
type snapshotLine struct {
	ID      string          `json:"id"`
	Event   int64           `json:"event"`
	Time    time.Time       `json:"event_time"`
	Created time.Time       `json:"created"`
	Hub     string          `json:"hub"`
	Tags    []string        `json:"tags"` // as asked for
	Totals  snapfile.Totals `json:"totals"`
}

func lineOf(snap *snapfile.Snapshot) snapshotLine {
	m := snap.Manifest
	return snapshotLine{snap.ID, m.Event, m.EventTime, m.Created, m.Hub, m.Scope.AskedFor(), m.Totals}
}

// showResult is a snapshot, with its manifest as it is in the store.
type showResult struct {
	snapshotLine
	Manifest *snapfile.Manifest `json:"manifest"`
}

func runSnapshots(ctx context.Context, a *app, args []string) error {
	if err := noArgs(args); err != nil {
		return err
	}
	s, err := a.openStore(false)
	if err != nil {
		return err
	}
	all, err := repository.Snapshots(ctx, s)
	if err != nil {
		return err
	}
	lines := make([]snapshotLine, len(all))
	for i, snap := range all {
		lines[i] = lineOf(snap)
	}
	return a.result(snapshotsResult{lines}, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		defer tw.Flush()
		for _, l := range lines {
			fmt.Fprintf(tw, "%s\t%s\t%d rows\t%s\t%s\n", l.ID, l.Time.Format(time.RFC3339), l.Totals.Rows, l.Hub, output.Clean(fmt.Sprint(l.Tags)))
		}
	})
}

func runShow(ctx context.Context, a *app, args []string) error {
	if len(args) != 1 {
		return exit.Usagef("show wants one snapshot's id, or latest")
	}
	s, err := a.openStore(false)
	if err != nil {
		return err
	}
	snap, err := a.lookAt(ctx, s, args[0])
	if err != nil {
		return err
	}
	m := snap.Manifest
	return a.result(showResult{lineOf(snap), m}, func(w io.Writer) {
		fmt.Fprintf(w, "snapshot %s\nhub %s (Koji %s)%s\nevent %d of %s\nmade %s by %s\n", snap.ID, m.Hub, output.Clean(m.KojiVersion), fromSource(m), m.Event,
			m.EventTime.Format(time.RFC3339), m.Created.Format(time.RFC3339), output.Clean(m.CreatedBy))
		if m.Scope.Everything {
			fmt.Fprintln(w, "asked for everything")
		}
		if len(m.Scope.Asked) > 0 {
			fmt.Fprintf(w, "asked for %s\n", output.Clean(strings.Join(m.Scope.Asked, " ")))
		}
		for _, t := range m.Scope.All {
			history := ""
			if from := m.HistoryFrom(t.ID); from < m.Event {
				history = fmt.Sprintf(", history from event %d on", from)
			}
			fmt.Fprintf(w, "tag %s (%d)%s\n", output.Clean(t.Name), t.ID, history)
		}
		for _, c := range m.Scope.Content {
			fmt.Fprintln(w, output.Clean(tell.ContentLine(c)))
		}
		tell.WriteBuilds(w, m.Scope.Builds)
		for _, r := range m.Relations {
			if r.Rows > 0 {
				fmt.Fprintf(w, "%d rows of %s\n", r.Rows, r.Name)
			}
		}
		for _, l := range m.LeftOut {
			fmt.Fprintln(w, output.Clean(l.String()))
		}
	})
}

// fromSource says what was read if it was not the hub.
func fromSource(m *snapfile.Manifest) string {
	if m.Source == "" {
		return ""
	}
	return ", by its " + m.Source
}
