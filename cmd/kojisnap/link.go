package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/hardlink"
)

var linkCommand = command{
	name:  "link",
	args:  "SRC… DIR",
	short: "hard-link files into a directory, or copy them if they cannot be linked",
	long: `Link makes each file SRC exist in the directory DIR: as a hard link, or else as a reflink, or else, for example
from a read-only mount, as a copy with its mode and mtime. It prints a line for each file that says which;
"present" means that DIR already has a link of SRC, or a file with its content. If SRC is a symlink, DIR gets the
file that it leads to. Link never replaces anything else of that name in DIR, and every file appears whole.
Files that cannot be linked or copied are a line each on standard error; all others are made.

--dry-run assumes that hard links work within a mount, and reflinks within a file system of a kind that has them.`,
	noEnv: true,
	examples: `
kojisnap link /mnt/koji/packages/bash/5.3.0/2.fc42/x86_64/*.rpm compose/Packages/b
kojisnap link -q $(cat rpms.txt) compose/Packages`,
	setup: func(f *config.Flags) runner { return runLink },
}

// linkResult is what became of the files that could be linked or copied.
type linkResult struct {
	Files []linked `json:"files"`
}

// linked says what became of a file.
type linked struct {
	Source string      `json:"source"`
	How    hardlink.Op `json:"how"`
}

func runLink(ctx context.Context, a *app, args []string) error {
	if len(args) < 2 {
		return exit.Usagef("link: want SRC… DIR")
	}
	sources, dir := args[:len(args)-1], args[len(args)-1]
	if info, err := os.Stat(dir); err != nil {
		var file *fs.PathError
		if errors.As(err, &file) {
			err = file.Err
		}
		return fmt.Errorf("link: directory %s: %w", dir, err)
	} else if !info.IsDir() {
		return exit.Usagef("link: %s is not a directory", dir)
	}
	linker := hardlink.Linker{Dir: dir, DryRun: a.dryRun}
	done, changes := []linked{}, false
	var failed exit.List
	for _, src := range sources {
		how, err := linker.Link(ctx, src)
		if err == nil {
			done = append(done, linked{src, how})
			changes = changes || how != hardlink.OpPresent
			continue
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	err := a.result(linkResult{done}, func(w io.Writer) {
		for _, l := range done {
			if !a.quiet {
				fmt.Fprintln(w, output.Clean(fmt.Sprintf("%s %s", l.How, l.Source)))
			}
		}
	})
	switch {
	case len(failed) > 0:
		return failed
	case err == nil && a.dryRun && changes:
		return exit.Pending()
	}
	return err
}
