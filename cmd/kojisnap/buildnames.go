package main

import (
	"fmt"
	"io"
	"strings"

	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/snapfile"
)

// buildNames is a flag of builds, each by its NVR or its id. The configuration may have ids as numbers.
type buildNames []string

func (b *buildNames) String() string     { return strings.Join(*b, ",") }
func (b *buildNames) Type() string       { return "NVR|ID" }
func (b *buildNames) GetSlice() []string { return *b }
func (b *buildNames) Set(s string) error { return b.Append(s) }

func (b *buildNames) Append(s string) error {
	*b = append(*b, s)
	return nil
}

func (b *buildNames) Replace(list []string) error {
	*b = append(buildNames{}, list...)
	return nil
}

// check refuses what names no build.
func (b buildNames) check() error {
	for _, name := range b {
		if err := scope.CheckBuildName(name); err != nil {
			return usagef("--build: %w", err)
		}
	}
	return nil
}

// showBuilds writes a line for each build that was asked for beside the tags.
func showBuilds(w io.Writer, builds []snapfile.NamedBuild) {
	for _, b := range builds {
		fmt.Fprintf(w, "build %s (%d)%s\n", clean(b.Name()), b.ID, askedAs(b))
	}
}

// askedAs tells by which name a build was asked for that has another.
func askedAs(b snapfile.NamedBuild) string {
	if b.Asked == b.Name() || b.Asked == fmt.Sprint(b.ID) {
		return ""
	}
	return ", asked for as " + clean(b.Asked)
}

// tellIncomplete has a line for each build asked for by name that no compose can take, and one for each that
// has another name by now.
func (a *app) tellIncomplete(r *pull.Result) {
	for _, b := range r.Incomplete {
		a.log.Warn(fmt.Sprintf("build %s, which --build asks for, is %s in production: no compose can take it; take it off the list", clean(b.Build), b.State))
	}
	for _, b := range r.Scope.Builds {
		if as := askedAs(b); as != "" {
			a.log.Warn(fmt.Sprintf("build %s (%d)%s: production has given it this name; change build in [pull], or --build", clean(b.Name()), b.ID, as))
		}
	}
}
