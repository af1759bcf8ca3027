package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// tagsHelp says how --tag chooses.
const tagsHelp = `
--tag takes names, and patterns by the rules of Koji's hub: * is any text, ? one character, case does not
matter, [ stands for itself. !NAME and !PATTERN leave out what another --tag chooses, in any order; what is
left out comes along all the same where a tag inherits it. A name that is not there is an error, a pattern
that matches nothing a warning, unless nothing is chosen at all.
`

// checkTags refuses what cannot be a list of names and patterns of tags.
func checkTags(tags []string) error {
	if _, err := tagglob.Parse(tags); err != nil {
		return usagef("--tag %w", err)
	}
	return nil
}

// contentLine is a module build's content tag for people.
func contentLine(c snapfile.Content) string {
	switch {
	case c.Follows():
		return fmt.Sprintf("content tag %s of module %s", c.Tag, c.NVR)
	case c.Tag == "":
		return fmt.Sprintf("no content tag of module %s: %s", c.NVR, c.Missing)
	}
	return fmt.Sprintf("no content tag %s of module %s: %s", c.Tag, c.NVR, c.Missing)
}

// tellScope says what became of the tags of a pull: what somebody has to look at as warnings, what comes
// and goes with -v.
func (a *app) tellScope(r *pull.Result) {
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

// showScope shows what a pull would do about tags.
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
