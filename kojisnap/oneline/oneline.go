// Package oneline shows errors in one line, for logs and lists.
package oneline

import "strings"

// Of returns err, which it wraps, with its text in one line: pgconn, for one, gives each address that it
// tried a line.
func Of(err error) error { return inOneLine{err} }

type inOneLine struct{ error }

func (e inOneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e inOneLine) Unwrap() error { return e.error }
