package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"kojisnap/dbsync"
	"kojisnap/hardlink"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/s3"
)

// The exit codes, as design and help have them.
const (
	exitDone     = 0
	exitError    = 1
	exitUsage    = 2
	exitNotReady = 3
	exitLocked   = 4
	exitLater    = 5
	exitDigest   = 6
)

const exitCodes = `  0  done
  1  error
  2  wrong usage
  3  not compose-ready, something was kept back; with --dry-run: changes are pending
  4  locked by another kojisnap
  5  try again later: hub offline, upgraded or out of order, network, database restarting
  6  a digest or a checksum did not match
`

// exitCode says which kind of trouble err is.
func exitCode(err error) int {
	var (
		usage    usageError
		notReady notReadyError
		mismatch mismatchError
		damaged  *snapfile.DamagedError
		digest   *hardlink.DigestError
		database *dbsync.TemporaryError
		network  *hardlink.TemporaryError
		missing  *hardlink.MissingError
		left     *hardlink.LeftOutError
		bucket   *s3.Error
		plugin   nagiosError
		overlay  *dbsync.OverlayError
		source   *hardlink.BadSourceError
		unknown  *kojisnap.UnknownError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &plugin):
		return int(plugin.state)
	case errors.As(err, &usage), errors.As(err, &source), errors.As(err, &unknown), errors.Is(err, kojisnap.ErrNotStagingHub), errors.Is(err, dbsync.ErrOtherHub), errors.As(err, &overlay) && overlay.Malformed:
		return exitUsage
	case errors.As(err, &damaged), errors.As(err, &digest), errors.As(err, &mismatch):
		return exitDigest
	case errors.As(err, &notReady):
		return exitNotReady
	case errors.Is(err, kojisnap.ErrLocked), errors.Is(err, dbsync.ErrLocked), errors.Is(err, hardlink.ErrLocked):
		return exitLocked
	case errors.Is(err, kojisnap.ErrUpgraded), errors.As(err, &database), errors.As(err, &network), errors.As(err, &bucket) && bucket.Temporary(), (hub.Temporary(err) || hub.Flooded(err)) && !errors.Is(err, syscall.ENOSPC):
		return exitLater
	case errors.As(err, &left) && !left.SourcesAnswered(): // a source is out of order
		return exitError
	case errors.As(err, &missing), left != nil:
		return exitNotReady
	}
	return exitError
}

// usageError is a command line or a configuration that is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// quietError has been told already, on standard output.
type quietError struct{ error }

func (e quietError) Unwrap() error { return e.error }

// notReadyError: staging is not compose-ready, or changes are pending.
type notReadyError struct{ error }

func (e notReadyError) Unwrap() error { return e.error }

// mismatchError: a check of files found a digest that did not match.
type mismatchError struct{ error }

func (e mismatchError) Unwrap() error { return e.error }

// errorList are several faults, a line for each.
type errorList []error

func (e errorList) Error() string   { return errors.Join(e...).Error() }
func (e errorList) Unwrap() []error { return e }

func pending() error { return notReadyError{quietError{errors.New("changes are pending")}} }

// messages are err in one line, or one for each fault of a file, or for each file that is at
// fault.
func messages(err error) []string {
	if left, ok := err.(*hardlink.LeftOutError); ok {
		return cleanLines(left.Error())
	}
	var overlay *dbsync.OverlayError
	var unknown *kojisnap.UnknownError
	var list errorList
	if errors.As(err, &overlay) {
		list = overlay.Faults
	} else if errors.As(err, &unknown) {
		list = unknown.Faults
	} else if !errors.As(err, &list) {
		list = errorList{err}
	}
	var lines []string
	for _, fault := range list {
		lines = append(lines, message(fault))
	}
	return lines
}

func cleanLines(s string) []string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return lines
}

// message is err in one line.
func message(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted: " + clean(err.Error())
	}
	return clean(err.Error())
}

// clean keeps a hub's or a file's text from breaking the line or driving the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '\uFFFD'
		}
		return r
	}, s)
}
