package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// tagsHelp is the part of the help about --tag.
const tagsHelp = `
--tag takes names, and patterns by the rules of Koji's hub: * is any text, ? is one character, case does not
matter, [ stands for itself. !NAME and !PATTERN leave out tags that another --tag chooses, in any order. A tag
that is left out is still read if a chosen tag inherits it. A name that does not exist is an error; a pattern
that matches nothing is a warning, or an error if nothing is chosen at all.
`

// checkTags refuses a list that is not one of names and patterns of tags.
func checkTags(tags []string) error {
	if _, err := tagglob.Parse(tags); err != nil {
		return usagef("--tag %w", err)
	}
	return nil
}

// checkAsked refuses tags and builds that are no such names, and those beside --everything.
func (o *pullFlags) checkAsked() error {
	switch {
	case slices.Contains(o.tags, snapfile.AskedEverything):
		return usagef("--tag %q: for the whole catalogue give --everything, without --tag", snapfile.AskedEverything)
	case o.everything && len(o.tags) > 0:
		return usagef("--everything and --tag %s: everything has all tags; give one of the two (in a configuration: everything or tag)", strings.Join(o.tags, " "))
	case o.everything && len(o.builds) > 0:
		return usagef("--everything and --build %s: everything has all complete builds; give one of the two (in a configuration: everything or build)", strings.Join(o.builds, " "))
	case o.everything && !o.contentTags:
		return usagef("--everything and --content-tags=false: everything has all tags; leave one of the two out")
	}
	if err := checkTags(o.tags); err != nil {
		return err
	}
	return checkBuilds(o.builds)
}

// contentLine describes a module build's content tag in a line.
func contentLine(c snapfile.Content) string {
	switch {
	case c.Follows():
		return fmt.Sprintf("content tag %s of module %s", c.Tag, c.NVR)
	case c.Tag == "":
		return fmt.Sprintf("no content tag of module %s: %s", c.NVR, c.Missing)
	}
	return fmt.Sprintf("no content tag %s of module %s: %s", c.Tag, c.NVR, c.Missing)
}

// reporter prints and logs what the steps of a command did and could not do. What makes the command end with an
// exit code other than 0 comes back as an error.
type reporter struct{ *app }

// tellScope logs what became of the tags of a pull: warnings for what somebody has to look at, and with -v the
// tags that came and went.
func (a reporter) tellScope(r *pull.Result) {
	for _, p := range r.Unmatched {
		hint := ""
		if strings.Contains(p, "[") {
			hint = " ([ stands for itself)"
		}
		a.log.Warn(fmt.Sprintf("no tag of production's matches --tag %q%s", p, hint))
	}
	for _, list := range []struct {
		what string
		tags []string
	}{{"came into the scope", r.Came}, {"left the scope", r.Went}} {
		for _, tag := range list.tags {
			a.log.Info("a tag "+list.what, "tag", tag)
		}
	}
	for _, c := range r.Scope.Content {
		if c.Follows() {
			continue
		}
		level := slog.LevelInfo
		for _, n := range r.ContentNews {
			if n == c {
				level = slog.LevelWarn
			}
		}
		a.log.Log(context.Background(), level, contentLine(c)+"; verify tells of it each time")
	}
}

// showScope writes what a pull would do about tags.
func showScope(w io.Writer, r *pull.Result) {
	for _, t := range r.Scope.All {
		fmt.Fprintf(w, "tag %s (%d)\n", clean(t.Name), t.ID)
	}
	if r.ModuleBuilds > 0 {
		fmt.Fprintf(w, "of these %d are content tags of %d module builds\n", r.ContentTags, r.ModuleBuilds)
	}
	for _, c := range r.Scope.Content {
		if !c.Follows() {
			fmt.Fprintln(w, clean(contentLine(c)))
		}
	}
	for _, p := range r.Unmatched {
		fmt.Fprintf(w, "no tag matches %q\n", p)
	}
	for _, t := range r.Came {
		fmt.Fprintf(w, "new: tag %s\n", clean(t))
	}
	for _, t := range r.Went {
		fmt.Fprintf(w, "gone: tag %s\n", clean(t))
	}
}

// showBuilds writes a line for each build that was asked for by name.
func showBuilds(w io.Writer, builds []snapfile.NamedBuild) {
	for _, b := range builds {
		fmt.Fprintf(w, "build %s (%d)%s\n", clean(b.Name()), b.ID, askedAs(b))
	}
}

// askedAs says by which name a build was asked for, if it has another.
func askedAs(b snapfile.NamedBuild) string {
	if b.Asked == b.Name() || b.Asked == fmt.Sprint(b.ID) {
		return ""
	}
	return ", asked for as " + clean(b.Asked)
}

// tellIncomplete logs each build asked for by name that no compose can take, and each that has another name by now.
func (a reporter) tellIncomplete(r *pull.Result) {
	for _, b := range r.Incomplete {
		a.log.Warn(fmt.Sprintf("build %s, which --build asks for, is %s in production: no compose can take it; take it off the list", clean(b.Build), b.State))
	}
	for _, b := range r.Scope.Builds {
		if as := askedAs(b); as != "" {
			a.log.Warn(fmt.Sprintf("build %s (%d)%s: production has given it this name; change build in [pull], or --build", clean(b.Name()), b.ID, as))
		}
	}
}
