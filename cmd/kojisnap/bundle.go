package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/version"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/bundle"
	"kojisnap/kojisnap/durable"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
)

var bundleCommand = command{
	name: "bundle", args: "ID",
	short: "write a snapshot into one file, for a site without a route to the store",
	noEnv: true,
	long: `Bundle writes a snapshot, by its id or latest, into one file that kojisnap unbundle takes into another store: a tar
of the segments, the signature if there is one, and last the manifest. It reads the store alone. The same snapshot
always gives the same bytes.

With --since it leaves out the segments of an earlier snapshot that the receiver has; after a normal day that is
nearly all of it. What production revoked between the two, and by whom, is in the snapshots between them: carry each of
them, or pull with --since, which puts it all into one.

The objects are copied as they are, and unbundle checks the digest of each. --verify digest checks them here, too,
before the file is carried anywhere. -o - writes to standard output.`,
	examples: `
kojisnap bundle latest -o /media/usb/koji.bundle -c stg.toml
kojisnap bundle 431-0123456789ab --since 419-0123456789ab -o koji.bundle --store /var/lib/kojisnap
kojisnap bundle latest -o - -c stg.toml | ssh host kojisnap unbundle - --store /var/lib/kojisnap`,
	setup: func(f *config.Flags) runner {
		var o bundleFlags
		f.Section("bundle", nil, o.add)
		return o.run
	},
}

type bundleFlags struct {
	since, file, verify string
	verifyKeys          []string
}

func (o *bundleFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&o.since, "since", "", "leave out what the snapshot `ID` has, too")
	fs.StringVarP(&o.file, "output", "o", "", "write to `FILE`; -: standard output")
	fs.Var(config.NewChoice(&o.verify, "size", "digest"), "verify", "what to check of each object before it is written")
	flags.AddVerifyKey(fs, &o.verifyKeys)
}

// bundleResult is bundle's result.
type bundleResult struct {
	Snapshot string `json:"snapshot"`
	Since    string `json:"since,omitempty"`
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
	File     string `json:"file"`
}

func (o *bundleFlags) run(ctx context.Context, a *app, args []string) error {
	switch {
	case len(args) != 1:
		return exit.Usagef("bundle wants one snapshot's id, or latest")
	case o.file == "":
		return exit.Usagef("bundle wants -o FILE, where it writes to; -o - is standard output")
	case o.file == "-" && a.json && !a.dryRun:
		return exit.Usagef("-o - and --json: standard output has room for one of them")
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, snap, err := a.openSnapshot(ctx, args[0], nil)
	if err != nil {
		return err
	}
	b, err := bundle.Plan(ctx, s, snap.ID, o.since)
	if err != nil {
		return err
	}
	if o.verify == "digest" {
		if err := b.Check(ctx, a.progress); err != nil {
			return err
		}
	}
	result := bundleResult{b.Snapshot, b.Since, b.Segments, b.Bytes, o.file}
	if a.dryRun {
		err := a.result(result, func(w io.Writer) {
			fmt.Fprintf(w, "write %d segments of %d bytes of snapshot %s to %s\n", b.Segments, b.Bytes, b.Snapshot, output.Clean(o.file))
		})
		return errors.Join(err, exit.Pending())
	}
	write := func(w io.Writer) error { return b.Write(ctx, w, a.progress) }
	if o.file == "-" {
		return write(output.Raw(a.stdout))
	}
	to := func() error { return durable.WriteFile(o.file, write) }
	if info, err := os.Stat(o.file); err == nil && !info.Mode().IsRegular() { // a tape, or a pipe
		to = func() error { return writeInto(o.file, write) }
	}
	if err := to(); err != nil {
		return fmt.Errorf("bundle %s: %w", o.file, err)
	}
	a.tell("snapshot %s: %d segments, %d bytes", b.Snapshot, b.Segments, b.Bytes)
	return a.result(result, nil)
}

// writeInto writes into what is there, and is no regular file.
func writeInto(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

var unbundleCommand = command{
	name: "unbundle", args: "FILE",
	short: "take the snapshot in a file of kojisnap bundle into a store",
	noEnv: true,
	long: `Unbundle takes a snapshot that kojisnap bundle has written into a store, and prints its id. It checks all there is
to check before anything is seen there: names and sizes, the digest of every segment, the id of the manifest and,
with --verify-key, its signature; the manifest is written last. A file that is cut off, damaged or made up leaves no
snapshot, and what is written of it before that is noticed, prune removes. Wrong digests give exit code 6. If the
bundle was made with --since, the store must have what it is without; the message names the snapshot.

FILE - is standard input. A segment is in a temporary file, in the directory that TMPDIR names, while it is checked.`,
	examples: `
kojisnap unbundle /media/usb/koji.bundle --store /var/lib/kojisnap
kojisnap unbundle koji.bundle -c stg.toml --verify-key /etc/kojisnap/sign.key.pub
kojisnap unbundle koji.bundle -c stg.toml --dry-run`,
	setup: func(f *config.Flags) runner {
		var verifyKeys []string
		f.Section("unbundle", nil, func(fs *pflag.FlagSet) { flags.AddVerifyKey(fs, &verifyKeys) })
		return func(ctx context.Context, a *app, args []string) error {
			if err := a.useKeys("", verifyKeys); err != nil {
				return err
			}
			return runUnbundle(ctx, a, args)
		}
	},
}

func runUnbundle(ctx context.Context, a *app, args []string) error {
	if len(args) != 1 {
		return exit.Usagef("unbundle wants one FILE, or - for standard input")
	}
	in := io.Reader(os.Stdin)
	if args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	s, err := a.openStore(true)
	if err != nil {
		return err
	}
	r, err := bundle.Read(ctx, in, s, bundle.Options{Keys: a.keys, DryRun: a.dryRun, Log: a.log, Progress: a.progress})
	if err != nil {
		return fmt.Errorf("unbundle %s: %w", args[0], err)
	}
	if !a.dryRun {
		notePulled(ctx, a, s, r)
	}
	if err := a.result(r, func(w io.Writer) { fmt.Fprintln(w, r.Snapshot) }); err != nil {
		return err
	}
	if a.dryRun && !r.Existing {
		return exit.Pending()
	}
	a.tell("snapshot %s: %d segments, %d bytes taken", r.Snapshot, r.Segments, r.Bytes)
	return nil
}

// notePulled notes in the store how old what was carried over is, as a pull would.
func notePulled(ctx context.Context, a *app, s store.Store, r *bundle.Result) {
	m := r.Manifest
	err := repository.PutPulled(ctx, s, repository.Pulled{Hub: m.Hub, Tags: m.Scope.AskedFor(), Finished: m.Created, Snapshot: r.Snapshot, Event: r.Event, Version: version.Number, Who: book.Who()})
	if err != nil {
		a.log.InfoContext(ctx, "hosts that only apply do not know how old this snapshot is", "err", err)
	}
}
