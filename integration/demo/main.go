// Command demo shows kojisnap's main job on real data; scripts/demo runs it. It starts a
// production hub and PostgreSQL, runs kojisnap as its users do, and leaves what came out to be
// looked at.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := pflag.NewFlagSet("scripts/demo", pflag.ContinueOnError)
	fs.SortFlags = false
	hubURL := fs.String("hub", "", "`URL` of a real hub to pull from, instead of the data of this repository")
	tags := fs.StringArray("tag", nil, "a `TAG` to pull; repeatable (default f42-compose)")
	clean := fs.Bool("clean", false, "stop what an earlier demo started, remove what it made")
	dir := fs.String("dir", ".demo", "`DIR` where it all goes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	root, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if *clean {
		return cleanUp(ctx, root)
	}
	if *hubURL != "" && len(*tags) == 0 {
		return errors.New("--hub wants a --tag too")
	}
	if len(*tags) == 0 {
		*tags = []string{"f42-compose"}
	}
	if _, err := os.Stat(root); err == nil {
		if err := cleanUp(ctx, root); err != nil {
			return err
		}
	}
	d := &demo{root: root, tags: *tags}
	if *hubURL != "" {
		return d.fromHub(ctx, *hubURL)
	}
	return d.fromData(ctx)
}
