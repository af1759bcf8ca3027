package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"kojisnap/kojisnap/trial"
)

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
		return usagef("%d arguments: one job at most", len(args))
	}
	if err := trial.Serve(ctx, in, a.stdout); err != nil {
		return fmt.Errorf("trial: %w", err)
	}
	return nil
}
