package flags

import (
	"path/filepath"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap"
	"kojisnap/volumes/topdir"
)

// Flags that concern running composes: the lock that they hold, the event that they pin, the copies that they link.

func AddWaitFor(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "wait-for", "", "before loading wait until nobody holds a lock on `FILE`, as composes do that run under flock -s FILE")
}

func AddEventFile(fs *pflag.FlagSet, name *string) {
	fs.StringVar(name, "event-file", kojisnap.EventFileName, "write the event to pin composes at to `FILE`: a path below topdir, whose web server serves it, or an absolute one; empty: no file")
}

// EventFile returns the file of --event-file. The default one is written only if that is possible.
func EventFile(name, topdir string, owner *topdir.Owner) (kojisnap.EventFile, error) {
	asked := name != kojisnap.EventFileName
	if asked && name != "" && topdir == "" && !filepath.IsAbs(name) {
		return kojisnap.EventFile{}, exit.Usagef("--event-file %q is a path below topdir: give --topdir DIR, or an absolute path", name)
	}
	path, err := kojisnap.EventFileIn(topdir, name)
	if err != nil {
		return kojisnap.EventFile{}, exit.Usagef("--event-file: %w", err)
	}
	return kojisnap.EventFile{Path: path, Asked: asked, Owner: owner}, nil
}

func AddKeepDays(fs *pflag.FlagSet, days *int) {
	fs.IntVar(days, "keep-days", 7, "keep copies for `DAYS` after no compose needs them: longer than the longest compose; 0 only with --wait-for")
}

// CheckKeepDays refuses a time after which copies could be removed while composes still need them.
func CheckKeepDays(days int, waitFor string) error {
	const century = 36525 // a time.Duration must hold it
	switch {
	case days < 0 || days > century:
		return exit.Usagef("--keep-days %d: want 0 to %d", days, century)
	case days == 0 && waitFor == "":
		return exit.Usagef("--keep-days 0 takes copies from under composes that run: give more days than the longest compose takes, or --wait-for FILE (wait-for in [load] of the configuration), on which composes hold a lock")
	}
	return nil
}
