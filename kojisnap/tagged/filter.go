package tagged

import (
	"errors"
	"fmt"

	"kojisnap/kojisnap/pyregexp"
)

// filter is the package filter of a link, tag_inheritance.pkg_filter. The hub matches it with
// Python's re.match (readPackageList).
type filter struct {
	child, parent int64
	pattern       string
	re            *pyregexp.Regexp
	err           error // why the pattern does not compile; re is then nil
}

// verdict is the result of a filter or a list for a package: yes, no or unknown.
type verdict int

const (
	no verdict = iota
	yes
	unknown
)

// newFilter compiles a pattern. "" is none: nil.
func newFilter(child, parent int64, pattern string) *filter {
	if pattern == "" {
		return nil
	}
	f := &filter{child: child, parent: parent, pattern: pattern}
	f.re, f.err = pyregexp.Compile(pattern)
	return f
}

// match returns whether a name passes, and if that is unknown, why.
func (f *filter) match(name string) (verdict, error) {
	if f.err != nil {
		return unknown, f.err
	}
	matches, err := f.re.MatchStart(name)
	switch {
	case err != nil:
		return unknown, err
	case matches:
		return yes, nil
	}
	return no, nil
}

// pass says whether a name passes all filters on a path of links. If that is unknown, it returns the filter
// that could not be evaluated, and why.
func pass(filters []*filter, name string) (v verdict, by *filter, why error) {
	v = yes
	for _, f := range filters {
		switch one, err := f.match(name); {
		case one == no:
			return no, nil, nil
		case one == unknown && v == yes:
			v, by, why = unknown, f, err
		}
	}
	return v, by, why
}

// Undecided has builds that a tag may or may not hold: the tag can inherit their packages only through a link
// whose package filter could not be evaluated.
type Undecided struct {
	Tag           string // the tag that was asked for
	Child, Parent string // of the link
	Filter        string
	Reason        string  // why it could not be evaluated
	Refused       bool    // Python refuses it: the hub cannot list such a tag either
	Builds        []Build // the tag holds these if it holds their packages
}

// Link names the filter and the link that has it.
func (u *Undecided) Link() string {
	return fmt.Sprintf("the package filter %#q by which %q inherits from %q", u.Filter, u.Child, u.Parent)
}

// undecided collects builds by the filter on which they depend.
type undecided struct {
	view  *View
	tag   int64
	all   []*Undecided
	index map[*filter]*Undecided
}

func (u *undecided) add(b Build, by *filter, why error) {
	if u.index == nil {
		u.index = map[*filter]*Undecided{}
	}
	of := u.index[by]
	if of == nil {
		var refused *pyregexp.SyntaxError
		var name *pyregexp.UndecidedError
		of = &Undecided{Tag: u.view.Names[u.tag], Child: u.view.Names[by.child], Parent: u.view.Names[by.parent], Filter: by.pattern,
			Reason: why.Error(), Refused: errors.As(why, &refused)}
		if errors.As(why, &name) {
			of.Reason = name.Reason
		}
		u.index[by] = of
		u.all = append(u.all, of)
	}
	of.Builds = append(of.Builds, b)
}
