// Package flags has the flags that several commands share, and the checks of flags' values that are made before a command
// works.
package flags

import (
	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/tagglob"
)

func AddDB(fs *pflag.FlagSet, db *string) {
	fs.StringVar(db, "db", "", "use the staging database `DSN` (default: PGHOST, PGDATABASE, … of the environment)")
}

func AddSnapshot(fs *pflag.FlagSet, id *string) {
	fs.StringVar(id, "snapshot", "latest", "use the snapshot `ID`; latest: the latest one of the hub and tags in [pull] of the configuration")
}

func AddVolumes(fs *pflag.FlagSet, volume, copyVolume *string) {
	fs.StringVar(volume, "volume", "prod", "call production's topdir, the read-only volume, `NAME`")
	fs.StringVar(copyVolume, "copy-volume", "staged", "call the writable volume of copied builds `NAME`")
}

// AddVerifyKey adds --verify-key, for commands that load, copy, check or show snapshots.
func AddVerifyKey(fs *pflag.FlagSet, files *[]string) {
	fs.StringArrayVar(files, "verify-key", nil, "accept only snapshots signed by a key whose public half is in `FILE`; repeatable, one of the keys is enough")
}

// AddMetrics adds the flag that names the file of metrics.
func AddMetrics(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "metrics", "", "after each sync, whatever its result, write metrics for Prometheus to `FILE`, such as one of the node exporter's textfile directory")
}

// TagsHelp is the part of the help about --tag.
const TagsHelp = `
--tag takes names, and patterns by the rules of Koji's hub: * is any text, ? is one character, case does not
matter, [ stands for itself. !NAME and !PATTERN leave out tags that another --tag chooses, in any order. A tag
that is left out is still read if a chosen tag inherits it. A name that does not exist is an error; a pattern
that matches nothing is a warning, or an error if nothing is chosen at all.
`

// CheckTags refuses a list that is not one of names and patterns of tags.
func CheckTags(tags []string) error {
	if _, err := tagglob.Parse(tags); err != nil {
		return exit.Usagef("--tag %w", err)
	}
	return nil
}
