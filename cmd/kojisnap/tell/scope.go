package tell

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
)

// ContentLine describes a module build's content tag in a line.
func ContentLine(c snapfile.Content) string {
	switch {
	case c.Follows():
		return fmt.Sprintf("content tag %s of module %s", c.Tag, c.NVR)
	case c.Tag == "":
		return fmt.Sprintf("no content tag of module %s: %s", c.NVR, c.Missing)
	}
	return fmt.Sprintf("no content tag %s of module %s: %s", c.Tag, c.NVR, c.Missing)
}

// Scope logs what became of the tags of a pull: warnings for what somebody has to look at, and with -v the
// tags that came and went.
func (t Reporter) Scope(r *pull.Result) {
	for _, p := range r.Unmatched {
		hint := ""
		if strings.Contains(p, "[") {
			hint = " ([ stands for itself)"
		}
		t.Log.Warn(fmt.Sprintf("no tag of production's matches --tag %q%s", p, hint))
	}
	for _, list := range []struct {
		what string
		tags []string
	}{{"came into the scope", r.Came}, {"left the scope", r.Went}} {
		for _, tag := range list.tags {
			t.Log.Info("a tag "+list.what, "tag", tag)
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
		t.Log.Log(context.Background(), level, ContentLine(c)+"; verify tells of it each time")
	}
}

// WriteScope writes what a pull would do about tags.
func WriteScope(w io.Writer, r *pull.Result) {
	if r.Scope.Everything { // thousands of tags, which nobody chose
		fmt.Fprintf(w, "everything: all %d tags\n", len(r.Scope.All))
	}
	for _, tag := range r.Scope.All {
		if r.Scope.Everything {
			break
		}
		fmt.Fprintf(w, "tag %s (%d)\n", output.Clean(tag.Name), tag.ID)
	}
	if r.ModuleBuilds > 0 {
		fmt.Fprintf(w, "of these %d are content tags of %d module builds\n", r.ContentTags, r.ModuleBuilds)
	}
	for _, c := range r.Scope.Content {
		if !c.Follows() {
			fmt.Fprintln(w, output.Clean(ContentLine(c)))
		}
	}
	for _, p := range r.Unmatched {
		fmt.Fprintf(w, "no tag matches %q\n", p)
	}
	for _, tag := range r.Came {
		fmt.Fprintf(w, "new: tag %s\n", output.Clean(tag))
	}
	for _, tag := range r.Went {
		fmt.Fprintf(w, "gone: tag %s\n", output.Clean(tag))
	}
}

// WriteBuilds writes a line for each build that was asked for by name.
func WriteBuilds(w io.Writer, builds []snapfile.NamedBuild) {
	for _, b := range builds {
		fmt.Fprintf(w, "build %s (%d)%s\n", output.Clean(b.Name()), b.ID, askedAs(b))
	}
}

// askedAs says by which name a build was asked for, if it has another.
func askedAs(b snapfile.NamedBuild) string {
	if b.Asked == b.Name() || b.Asked == fmt.Sprint(b.ID) {
		return ""
	}
	return ", asked for as " + output.Clean(b.Asked)
}

// Incomplete logs each build asked for by name that no compose can take, and each that has another name by now.
func (t Reporter) Incomplete(r *pull.Result) {
	for _, b := range r.Incomplete {
		t.Log.Warn(fmt.Sprintf("build %s, which --build asks for, is %s in production: no compose can take it; take it off the list", output.Clean(b.Build), b.State))
	}
	for _, b := range r.Scope.Builds {
		if as := askedAs(b); as != "" {
			t.Log.Warn(fmt.Sprintf("build %s (%d)%s: production has given it this name; change build in [pull], or --build", output.Clean(b.Name()), b.ID, as))
		}
	}
}
