package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/describe"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/trial"
	"kojisnap/kojisnap/trial/inside"
)

// hiddenCommands are for the build, for shells, and for kojisnap itself in an image: no help lists them.
func hiddenCommands() map[string]runner {
	return map[string]runner{"__man": writeManual, "__complete": complete, "__completeNoDesc": complete, inside.Command: runTrial}
}

// writeManual writes the manual pages to a directory.
func writeManual(_ context.Context, _ *app, args []string) error {
	if len(args) != 1 {
		return exit.Usagef("__man wants one directory")
	}
	for name, text := range described().Manual() {
		if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("manual page: %w", err)
		}
	}
	return nil
}

// complete answers a shell's question how the last of some words can go on.
func complete(ctx context.Context, a *app, args []string) error {
	if len(args) == 0 {
		return exit.Usagef("__complete wants the words of a command line, the last one as far as it is typed")
	}
	c := describe.Completer{Commands: described().Commands, Open: func(name string) (*config.Flags, describe.Site) {
		all := commands()
		f := config.New(name)
		a.addFlags(f)
		all[slices.IndexFunc(all, func(c command) bool { return c.name == name })].setup(f)
		return f, &typedSite{a, f}
	}}
	c.Complete(ctx, a.stdout, args)
	return nil
}

// typedSite is the site that a command line leads to which somebody types.
type typedSite struct {
	*app
	flags *config.Flags
}

// configure applies the configuration to the flags, as far as it can be read, and reports whether there is one.
func (c *typedSite) configure() bool {
	c.log = slog.New(slog.DiscardHandler)
	read, err := config.Read(c.configFile, c.configDir, schema())
	if read == nil {
		return false
	}
	c.config, c.configErr = read, err
	_ = c.selectEnv(command{anyConfig: true, noEnv: true}, c.flags.Set)
	_ = c.flags.Configure(c.config)
	return true
}

// Environments returns those of the configuration.
func (c *typedSite) Environments() []string {
	if !c.configure() {
		return nil
	}
	return c.config.Environments()
}

// Snapshots returns those of the store.
func (c *typedSite) Snapshots(ctx context.Context) []*snapfile.Snapshot {
	if !c.configure() {
		return nil
	}
	s, err := c.openStore(false)
	if err != nil || s == nil {
		return nil
	}
	all, err := repository.Snapshots(ctx, s)
	if err != nil {
		return nil
	}
	return all
}

// runTrial is the hidden command that verify --in runs inside an image: the job is on standard input, or in a file where
// an engine has no standard input.
func runTrial(ctx context.Context, a *app, args []string) error {
	var in io.Reader = os.Stdin
	switch len(args) {
	case 0:
	case 1:
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		// The end of the file is not the end of who waits: a pipe that stays open.
		open, never, err := os.Pipe()
		if err != nil {
			return err
		}
		defer open.Close()
		defer never.Close()
		in = io.MultiReader(f, open)
	default:
		return exit.Usagef("%d arguments: one job at most", len(args))
	}
	if err := trial.Serve(ctx, in, a.stdout); err != nil {
		return fmt.Errorf("trial: %w", err)
	}
	return nil
}
