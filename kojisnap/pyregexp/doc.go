// Package pyregexp matches with the regular expressions of Python's re module, as far as its
// re.match on text goes. Koji's hub applies the package filter of an inheritance link
// (tag_inheritance.pkg_filter) that way to the names of packages (kojihub.readPackageList).
// Go's regexp refuses many such patterns, and some mean something else there.
//
// A pattern is parsed as Python parses it, and every item of it is written anew for the
// backtracking engine regexp2, in the few forms that mean the same there: groups by their
// number, characters escaped, classes spelled out, flags resolved. The pattern's own text never
// reaches the engine.
//
// Python versions differ in which patterns are valid, not in what a valid one means:
//
//	possessive quantifiers (a*+, a?+, a{2}+), atomic groups (?>…)   since 3.11
//	global flags that are not at the start: a(?i)b                  until 3.10
//	(?a:…) and (?u:…)                                               since 3.7
//	\N{NAME}                                                        since 3.8, refused here
//	(?t)                                                            until 3.12, refused here
//	(?(+1)…), (?( 1)…): group numbers with signs, spaces, _         until 3.11, refused here
//
// Compile takes what any of 3.6 to 3.13 takes: a hub whose Python refuses a pattern answers
// nothing about a tag with that filter, so an answer, where there is one, is this package's.
// Where the bug fixes of those versions changed a match, which takes a reference to a group
// within a loop, or where one version knows more Unicode than another, see UnsupportedError and
// UndecidedError.
package pyregexp
