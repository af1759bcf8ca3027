// Package tagglob chooses tags by names and patterns, as --tag and the key tag take them.
//
// A pattern follows the rules of Koji's hub (listTags(pattern=…), which koji list-tags uses): * is any
// text, ? is one character, upper and lower case are alike, and all else stands for itself, [ included. An entry
// with neither * nor ? is a name, which is taken as it is. An entry that begins with ! leaves out a name or a
// pattern. The list is a set: a tag is chosen if a name or a pattern chooses it and none leaves it out, in
// whatever order they stand.
package tagglob

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Set is a checked list of names and patterns. It may be used concurrently.
type Set struct {
	list     []string // as given, sorted
	names    []string // chosen by name, sorted
	patterns []string // that choose, sorted
	choose   *regexp.Regexp
	leaveOut *regexp.Regexp // nil: nothing
}

// Parse checks a list of names and patterns. An empty one chooses nothing.
func Parse(list []string) (Set, error) {
	s := Set{list: slices.Compact(slices.Sorted(slices.Values(list)))}
	var not []string
	for _, entry := range s.list {
		text, out := strings.CutPrefix(entry, "!")
		switch {
		case entry == "":
			return Set{}, errors.New(`"": a name is wanted`)
		case text == "":
			return Set{}, fmt.Errorf("%q: a name or a pattern is wanted after it", entry)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
			return Set{}, fmt.Errorf("%q: no tag has control characters in its name, or what is no UTF-8", entry)
		case out:
			not = append(not, source(text))
		case IsPattern(text):
			s.patterns = append(s.patterns, text)
		default:
			s.names = append(s.names, text)
		}
	}
	if len(not) > 0 && len(s.names)+len(s.patterns) == 0 {
		return Set{}, fmt.Errorf("%s: all of them leave out, and none chooses a tag: without ! add a name or a pattern", strings.Join(s.list, " "))
	}
	if len(not) > 0 {
		s.leaveOut = compile(not)
	}
	var choose []string
	for _, p := range s.patterns {
		choose = append(choose, source(p))
	}
	if len(choose) > 0 {
		s.choose = compile(choose)
	}
	s.names = slices.DeleteFunc(s.names, s.leavesOut)
	return s, nil
}

// IsPattern reports whether an entry of a list, without its !, is a pattern.
func IsPattern(text string) bool { return strings.ContainsAny(text, "*?") }

// List returns the whole list, sorted. It identifies the set.
func (s Set) List() []string { return s.list }

// IsNames reports whether the list has only names that it chooses.
func (s Set) IsNames() bool { return len(s.names) == len(s.list) }

// Names returns the tags that are chosen by name and not left out, sorted.
func (s Set) Names() []string { return s.names }

// Patterns returns the patterns that choose tags, sorted.
func (s Set) Patterns() []string { return s.patterns }

// Has reports whether a tag is chosen.
func (s Set) Has(name string) bool {
	if s.leavesOut(name) {
		return false
	}
	_, named := slices.BinarySearch(s.names, name)
	return named || s.Matches(name)
}

// Matches reports whether a pattern chooses a tag, even if another entry leaves it out.
func (s Set) Matches(name string) bool { return s.choose != nil && s.choose.MatchString(name) }

func (s Set) leavesOut(name string) bool { return s.leaveOut != nil && s.leaveOut.MatchString(name) }

// Unmatched returns the patterns that match none of the names. It does not matter whether a name is left out.
func (s Set) Unmatched(names []string) []string {
	var none []string
	for _, p := range s.patterns {
		if !slices.ContainsFunc(names, compile([]string{source(p)}).MatchString) {
			none = append(none, p)
		}
	}
	return none
}

// source returns the regular expression of a name or a pattern.
func source(text string) string {
	if !IsPattern(text) {
		return `(?-i:` + regexp.QuoteMeta(text) + `)`
	}
	return strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(text))
}

func compile(sources []string) *regexp.Regexp {
	return regexp.MustCompile(`(?is)\A(?:` + strings.Join(sources, "|") + `)\z`)
}

// Quote shows patterns to people. If one has a [, it says that Koji's hub takes that as it is.
func Quote(patterns []string) string {
	quoted := make([]string, len(patterns))
	for i, p := range patterns {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	text := strings.Join(quoted, ", ")
	if strings.Contains(text, "[") {
		text += " (of patterns Koji's hub knows * and ?; [ stands for itself)"
	}
	return text
}
