package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"kojisnap/hardlink"
)

var linkCommand = command{
	name:  "link",
	args:  "SRC… DIR",
	short: "hard-link files into a directory, or copy where that cannot be",
	long: `Link makes each file SRC exist in the directory DIR: as a hard link, else as a reflink, else,
as from a read-only mount, as a copy with its mode and mtime. It prints which, a line for each
file. A symlink SRC is followed, so that DIR gets the file itself. A file of DIR that is
another one is never replaced, and every file appears whole.`,
	examples: `
kojisnap link /mnt/koji/packages/bash/5.3.0/2.fc42/x86_64/*.rpm compose/Packages/b
kojisnap link -q $(cat rpms.txt) compose/Packages`,
	setup: func(f *flags) runner { return runLink },
}

// linked is what became of a file.
type linked struct {
	Source string      `json:"source"`
	How    hardlink.Op `json:"how"`
}

func runLink(ctx context.Context, a *app, args []string) error {
	if len(args) < 2 {
		return usagef("link: want SRC… DIR")
	}
	sources, dir := args[:len(args)-1], args[len(args)-1]
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return usagef("link: %s is not a directory", dir)
	}
	if a.dryRun {
		return usagef("link has no --dry-run: which way works only shows when it is done")
	}
	done := []linked{}
	var failed error
	for _, src := range sources {
		if failed = ctx.Err(); failed != nil {
			break
		}
		var how hardlink.Op
		if how, failed = hardlink.Link(src, dir); failed != nil {
			break
		}
		done = append(done, linked{src, how})
	}
	err := a.result(done, func(w io.Writer) {
		for _, l := range done {
			if !a.quiet {
				fmt.Fprintln(w, clean(fmt.Sprintf("%s %s", l.How, l.Source)))
			}
		}
	})
	if failed != nil {
		return failed
	}
	return err
}
