// Package exit has the exit codes of kojisnap: which errors have which, and what they say in lines.
package exit

import (
	"kojisnap/cmd/kojisnap/output"

	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/preflight"
	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/trial/inside"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes/clone"
)

// The exit codes; Help is their part of the help.
const (
	Done     = 0
	Error    = 1
	Usage    = 2
	NotReady = 3
	Locked   = 4
	Later    = 5
	Digest   = 6
)

// Help is the part of the help about exit codes.
const Help = `  0  done
  1  error
  2  wrong usage
  3  not compose-ready, or something was kept back; with --dry-run: changes are pending
  4  locked by another kojisnap
  5  try again later: hub offline, upgraded or out of order, network, database restarting
  6  a digest, a checksum or a signature did not match
`

// Code returns the exit code for an error.
func Code(err error) int {
	var (
		damaged  *snapfile.DamagedError
		digest   *content.DigestError
		later    *retry.TemporaryError
		missing  *source.MissingError
		left     *hardlink.LeftOutError
		bucket   *s3.Error
		own      interface{ ExitsWith() int }
		overlay  *overlay.Error
		source   *source.URLError
		unknown  *compose.UnknownError
		dsn      *dbconn.DSNError
		tags     *narrow.UnknownError
		unusable *inside.UnusableError
	)
	switch {
	case err == nil:
		return Done
	case errors.As(err, &own):
		return own.ExitsWith()
	case IsUsage(err), errors.As(err, &source), errors.As(err, &unknown), errors.As(err, &tags), errors.As(err, &dsn), errors.As(err, &unusable), errors.Is(err, verify.ErrNotStagingHub), errors.Is(err, preflight.ErrOtherHub), errors.As(err, &overlay) && overlay.Malformed:
		return Usage
	case errors.As(err, &damaged), errors.As(err, &digest), errors.As(err, new(mismatch)):
		return Digest
	case errors.As(err, new(notReady)), errors.As(err, new(*clone.StaleError)):
		return NotReady
	case errors.Is(err, lockfile.ErrLocked):
		return Locked
	case errors.Is(err, clone.ErrBusy), errors.Is(err, pull.ErrUpgraded), errors.As(err, &later), errors.As(err, &bucket) && bucket.Temporary(), (hub.Temporary(err) || hub.Flooded(err)) && !errors.Is(err, syscall.ENOSPC):
		return Later
	case errors.As(err, &left) && !left.SourcesAnswered(): // a source is out of order
		return Error
	case errors.As(err, &missing), left != nil:
		return NotReady
	}
	return Error
}

// usage says that the command line or the configuration is wrong.
type usage struct{ error }

func (e usage) Unwrap() error { return e.error }

// AsUsage returns err as one of the command line or the configuration.
func AsUsage(err error) error { return usage{err} }

// Usagef returns an error of the command line or the configuration.
func Usagef(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }

// IsUsage reports whether an error is of the command line or the configuration.
func IsUsage(err error) bool { return errors.As(err, new(usage)) }

// reported is an error that has been reported already.
type reported struct{ error }

func (e reported) Unwrap() error { return e.error }

// Reported returns err as one that has been reported already.
func Reported(err error) error { return reported{err} }

// IsReported reports whether an error has been reported already.
func IsReported(err error) bool { return errors.As(err, new(reported)) }

// notReady says that staging is not compose-ready, or changes are pending.
type notReady struct{ error }

func (e notReady) Unwrap() error { return e.error }

// AsNotReady returns err as one that says that staging is not compose-ready, or that changes are pending.
func AsNotReady(err error) error { return notReady{err} }

// mismatch says that a check of files found a digest that did not match.
type mismatch struct{ error }

func (e mismatch) Unwrap() error { return e.error }

// AsMismatch returns err as one of a digest that did not match.
func AsMismatch(err error) error { return mismatch{err} }

// Together joins the errors that are not nil. It returns nil if there are none.
func Together(errs ...error) error {
	all := List(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// List are several faults, a line for each.
type List []error

func (e List) Error() string   { return errors.Join(e...).Error() }
func (e List) Unwrap() []error { return e }

// Pending says that a dry run found something to do.
func Pending() error { return notReady{reported{errors.New("changes are pending")}} }

// Messages returns the lines of an error: one, or one for each fault in a file, or one for each faulty file.
func Messages(err error) []string {
	if left := (*hardlink.LeftOutError)(nil); errors.As(err, &left) && left.Error() == err.Error() {
		return output.Lines(left.Error())
	}
	var overlay *overlay.Error
	var unknown *compose.UnknownError
	var list List
	if errors.As(err, &overlay) {
		list = overlay.Faults
	} else if errors.As(err, &unknown) {
		list = unknown.Faults
	} else if !errors.As(err, &list) {
		list = List{err}
	}
	var lines []string
	for _, fault := range list {
		if list.Error() == fault.Error() { // the only one
			lines = append(lines, Message(fault))
		} else {
			lines = append(lines, Messages(fault)...)
		}
	}
	return lines
}

// Message returns an error in one line.
func Message(err error) string {
	text := output.Steady(output.Clean(err.Error()))
	if errors.Is(err, context.Canceled) {
		return "interrupted: " + text
	}
	return text
}
