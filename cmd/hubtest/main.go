// Command hubtest serves package hubtest: a Koji hub that answers read calls
// from the rows of a Koji database. It is for tests, demonstrations and for
// trying Koji clients; it knows no users and writes nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

const help = `Usage: hubtest (--rows DIR | --db DSN | --demo-data | --scale FACTOR) [flags]

Serve a Koji hub for tests: it answers the anonymous read calls of Koji 1.35 from
the rows of a Koji database. The hub's URL is printed on standard output when it
answers. It stops on SIGINT or SIGTERM.

Examples:
  hubtest --demo-data
  hubtest --rows ./rows --listen 127.0.0.1:8080
  hubtest --db postgres://koji@/koji-staging?host=/run/postgresql --topdir /mnt/koji
  hubtest --demo-data --offline "planned outage"
  hubtest --scale 1 --seed 7
  koji --server "$URL" --noauth list-tags

Exit codes: 0 stopped by a signal, 1 error, 2 wrong usage.

Flags:
`

// usageError is a mistake on the command line: exit code 2.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "hubtest:", err)
	if errors.As(err, &usageError{}) {
		os.Exit(2)
	}
	os.Exit(1)
}

type flags struct {
	rows, db, listen, topdir, offline, version string
	demo, verbose, released                    bool
	scale                                      generate.Options
}

func parse(args []string, stdout io.Writer) (flags, error) {
	var f flags
	set := pflag.NewFlagSet("hubtest", pflag.ContinueOnError)
	set.SortFlags = false
	set.StringVar(&f.rows, "rows", "", "serve the tables in `DIR`/TABLE.tsv (COPY text with a header line)")
	set.StringVar(&f.db, "db", "", "serve the PostgreSQL database `DSN`, always its current content")
	set.BoolVar(&f.demo, "demo-data", false, "serve the rows of a small hub that are built in")
	set.IntVar(&f.scale.Factor, "scale", 0, "serve a made-up hub: `FACTOR` times 24,000 builds in the tag f42")
	set.IntVar(&f.scale.Outside, "outside", 10, "with --scale: `N` times as much outside of that tag; 0 is none")
	set.Uint64Var(&f.scale.Seed, "seed", 1, "with --scale: `SEED` of what is random")
	set.StringVar(&f.listen, "listen", "127.0.0.1:0", "listen on `ADDRESS`; port 0 takes a free one")
	set.StringVar(&f.topdir, "topdir", "", "serve the tree `DIR` below /kojifiles/, and list build logs from it")
	set.StringVar(&f.offline, "offline", "", "fault every call as an offline hub does (1014) with `MESSAGE`")
	set.StringVar(&f.version, "koji-version", "1.35.3", "say that the hub is Koji `VERSION`")
	set.BoolVar(&f.released, "released", false, "lack what Koji 1.35.3 lacked when it was released")
	set.BoolVarP(&f.verbose, "verbose", "v", false, "log faults to standard error")
	set.Usage = func() { fmt.Fprint(stdout, help, set.FlagUsages()) }
	if err := set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return f, err
		}
		return f, usageError{err}
	}
	sources := 0
	for _, given := range []bool{f.rows != "", f.db != "", f.demo, set.Changed("scale")} {
		if given {
			sources++
		}
	}
	switch {
	case set.NArg() > 0:
		return f, usageError{fmt.Errorf("unexpected argument %q", set.Arg(0))}
	case sources != 1:
		return f, usageError{errors.New("give one of --rows, --db, --demo-data and --scale; --help shows examples")}
	case set.Changed("scale") && (f.scale.Factor < 1 || f.scale.Outside < 0):
		return f, usageError{errors.New("--scale must be 1 or more, --outside 0 or more")}
	}
	if f.scale.Outside == 0 {
		f.scale.Outside = -1
	}
	return f, nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parse(args, stdout)
	if err != nil {
		return err
	}
	src, done, err := source(ctx, f)
	if err != nil {
		return err
	}
	defer done()
	opts := hubtest.Options{KojiVersion: f.version, Released: f.released, Topdir: f.topdir, Offline: func() string { return f.offline }}
	level := slog.LevelError
	if f.verbose {
		level = slog.LevelDebug
	}
	opts.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))

	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: hubtest.New(src, opts), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if _, err := fmt.Fprintf(stdout, "http://%s/kojihub\n", listener.Addr()); err != nil {
		server.Close()
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		// A call that is being answered gets its answer.
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return server.Shutdown(patience)
	}
}

func source(ctx context.Context, f flags) (src hubtest.Source, done func(), err error) {
	done = func() {}
	switch {
	case f.db != "":
		db, err := hubtest.PostgreSQL(ctx, f.db)
		if err != nil {
			return nil, nil, fmt.Errorf("open the database: %w", err)
		}
		return db, db.Close, nil
	case f.rows != "":
		rows, err := hubtest.Rows(os.DirFS(f.rows))
		if err != nil {
			return nil, nil, fmt.Errorf("read rows from %q: %w", f.rows, err)
		}
		return rows, done, nil
	case f.scale.Factor > 0:
		rows, err := generate.Hub(f.scale)
		debug.FreeOSMemory() // what made the rows is garbage
		return rows, done, err
	}
	rows, err := hubtest.Rows(kojiprod.Rows())
	return rows, done, err
}
