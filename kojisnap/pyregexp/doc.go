// Package pyregexp matches text with regular expressions as re.match of Python's re module does.
// Koji's hub applies the package filter of an inheritance link (tag_inheritance.pkg_filter) that
// way to the names of packages (kojihub.readPackageList). Go's regexp refuses many such patterns,
// and gives some another meaning.
//
// The package parses a pattern as Python does, and writes every item of it for the backtracking
// engine regexp2, in the few forms that have the same meaning there: groups by their number,
// characters escaped, classes spelled out, flags resolved. The engine never gets the pattern's
// own text.
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
// Compile accepts a pattern if any of 3.6 to 3.13 does. A hub whose Python refuses a pattern gives
// no answer about a tag with that filter; a hub that answers gives the answer of this package.
// Bug fixes between those versions changed some matches, with references to a group within a loop,
// and later versions know more of Unicode: see UnsupportedError and UndecidedError.
package pyregexp
