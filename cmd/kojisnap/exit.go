package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
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

// The exit codes; exitCodes is their part of the help.
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
  3  not compose-ready, or something was kept back; with --dry-run: changes are pending
  4  locked by another kojisnap
  5  try again later: hub offline, upgraded or out of order, network, database restarting
  6  a digest, a checksum or a signature did not match
`

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	var (
		usage    usageError
		notReady notReadyError
		mismatch mismatchError
		damaged  *snapfile.DamagedError
		digest   *content.DigestError
		later    *retry.TemporaryError
		missing  *source.MissingError
		left     *hardlink.LeftOutError
		bucket   *s3.Error
		plugin   nagiosError
		overlay  *overlay.Error
		source   *source.URLError
		unknown  *compose.UnknownError
		dsn      *dbconn.DSNError
		tags     *narrow.UnknownError
		unusable *inside.UnusableError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &plugin):
		return int(plugin.state)
	case errors.As(err, &usage), errors.As(err, &source), errors.As(err, &unknown), errors.As(err, &tags), errors.As(err, &dsn), errors.As(err, &unusable), errors.Is(err, verify.ErrNotStagingHub), errors.Is(err, preflight.ErrOtherHub), errors.As(err, &overlay) && overlay.Malformed:
		return exitUsage
	case errors.As(err, &damaged), errors.As(err, &digest), errors.As(err, &mismatch):
		return exitDigest
	case errors.As(err, &notReady), errors.As(err, new(*clone.StaleError)):
		return exitNotReady
	case errors.Is(err, lockfile.ErrLocked):
		return exitLocked
	case errors.Is(err, clone.ErrBusy), errors.Is(err, pull.ErrUpgraded), errors.As(err, &later), errors.As(err, &bucket) && bucket.Temporary(), (hub.Temporary(err) || hub.Flooded(err)) && !errors.Is(err, syscall.ENOSPC):
		return exitLater
	case errors.As(err, &left) && !left.SourcesAnswered(): // a source is out of order
		return exitError
	case errors.As(err, &missing), left != nil:
		return exitNotReady
	}
	return exitError
}

// usageError says that the command line or the configuration is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// quietError has been reported already.
type quietError struct{ error }

func (e quietError) Unwrap() error { return e.error }

// notReadyError says that staging is not compose-ready, or changes are pending.
type notReadyError struct{ error }

func (e notReadyError) Unwrap() error { return e.error }

// mismatchError says that a check of files found a digest that did not match.
type mismatchError struct{ error }

func (e mismatchError) Unwrap() error { return e.error }

// together joins the errors that are not nil. It returns nil if there are none.
func together(errs ...error) error {
	all := errorList(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// errorList are several faults, a line for each.
type errorList []error

func (e errorList) Error() string   { return errors.Join(e...).Error() }
func (e errorList) Unwrap() []error { return e }

func pending() error { return notReadyError{quietError{errors.New("changes are pending")}} }

// messages returns the lines of an error: one, or one for each fault in a file, or one for each faulty file.
func messages(err error) []string {
	if left := (*hardlink.LeftOutError)(nil); errors.As(err, &left) && left.Error() == err.Error() {
		return cleanLines(left.Error())
	}
	var overlay *overlay.Error
	var unknown *compose.UnknownError
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
		if list.Error() == fault.Error() { // the only one
			lines = append(lines, message(fault))
		} else {
			lines = append(lines, messages(fault)...)
		}
	}
	return lines
}

func cleanLines(s string) []string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = steady(clean(lines[i]))
	}
	return lines
}

// message returns an error in one line.
func message(err error) string {
	text := steady(clean(err.Error()))
	if errors.Is(err, context.Canceled) {
		return "interrupted: " + text
	}
	return text
}

// atRandom matches what differs each time in the text of the same error: the local port of a connection, and the
// names of temporary files and of leases on the store.
var atRandom = regexp.MustCompile(`(\b(?:read|write) (?:tcp|udp)[46]?) \S+->|(\.tmp-kojisnap-|\.kojisnap-(?:link-|verify-)?|kojisnap-sort-|/(?:write|prune)-)[0-9A-Za-z]+`)

// steady returns a text without what differs each time, so that mail and monitoring can recognize a repeated error.
func steady(s string) string {
	return atRandom.ReplaceAllStringFunc(s, func(m string) string {
		parts := atRandom.FindStringSubmatch(m)
		if parts[1] != "" {
			return parts[1] + " "
		}
		return parts[2] + "…"
	})
}

// clean replaces characters with which a text of a hub or a file could break the line or control the terminal.
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

// tellError writes to standard error why a command failed: a line for each message.
func (a *app) tellError(err error, code int, args []string) {
	if wants(args, "--log-format", "json") { // the command line may be wrong, and not have been parsed to its end
		a.logFormat = "json"
	}
	for _, line := range messages(err) {
		a.complain(line, "exit", code)
	}
}

// complain writes a line of an error to standard error. Its attributes are for programs.
func (a *app) complain(line string, attrs ...any) {
	if a.logFormat == "json" {
		slog.New(slog.NewJSONHandler(a.stderr, nil)).Error(line, attrs...)
		return
	}
	a.errorLine("kojisnap: " + clean(line))
}

// wants reports whether a command line has a flag, with a value unless that is empty. The command line may be wrong
// and not have been parsed to its end.
func wants(args []string, flag, value string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	if value == "" {
		return slices.Contains(args, flag) || slices.Contains(args, flag+"=true")
	}
	for i, arg := range args {
		if arg == flag+"="+value || arg == flag && i+1 < len(args) && args[i+1] == value {
			return true
		}
	}
	return false
}

// jsonLines makes lines of text records of a JSON log.
type jsonLines struct{ log *slog.Logger }

func (w jsonLines) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		w.log.Info(strings.TrimSpace(strings.TrimPrefix(line, "kojisnap: ")))
	}
	return len(b), nil
}
