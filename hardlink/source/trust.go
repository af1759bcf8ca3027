package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"kojisnap/kojisnap/retry"
)

// maxFailures is how many files in a row, each after all its tries, may fail before a server is not asked
// again.
const maxFailures = 3

// trust says whether a server is still asked, so that not every file has to wait for one that is gone.
type trust struct {
	name string // the server's
	log  *slog.Logger

	given atomic.Bool // it gave a file in this run

	mu     sync.Mutex
	failed int        // files in a row
	gone   *GoneError // why it is not asked again
}

// GoneError says that a server is not asked again.
type GoneError struct {
	name string
	why  error
}

func (e *GoneError) Unwrap() error { return e.why }
func (e *GoneError) Error() string {
	return fmt.Sprintf("source %s is not asked any more: %v", e.name, e.why)
}

// deniedError says that a server denied access to one file. CloudFront and S3 say the same about missing
// files if the client may not list the bucket. So the file counts as missing, unless the server denies all
// files.
type deniedError struct {
	error
	from *trust
}

func (e *deniedError) Unwrap() error { return e.error }

// absentError says that a server does not have a file.
type absentError struct {
	error
	from *trust
}

func (e *absentError) Unwrap() error { return e.error }

func Denied(err error) bool { return errors.As(err, new(*deniedError)) }

// DeniedByAll reports whether all sources denied a file, and none of them gave another one in this run. Then
// it is unknown whether the file is missing.
func DeniedByAll(err error) bool {
	return allSay(err, func(e *deniedError) *trust { return e.from })
}

// NothingGiven reports whether no source has a file, and none of them gave another one in this run: they may
// not be production's tree.
func NothingGiven(err error) bool {
	return allSay(err, func(e *absentError) *trust { return e.from })
}

// allSay reports whether each source answered with an E, and none of them gave a file in this run.
func allSay[E error](err error, from func(E) *trust) bool {
	var said *reasons
	if !errors.As(err, &said) {
		return false
	}
	for _, err := range said.errs {
		var e E
		if !errors.As(err, &e) || from(e).given.Load() {
			return false
		}
	}
	return true
}

// lost returns why the server must not be asked, or nil.
func (t *trust) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		return nil
	}
	return t.gone
}

// lose gives the server up for this run.
func (t *trust) lose(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		t.gone = &GoneError{t.name, why}
	}
}

// withoutFile replaces the file in an error by the source: which of several concurrent requests failed
// differs from run to run.
func (t *trust) withoutFile(err error, file string) error {
	return &filelessError{err, strings.ReplaceAll(err.Error(), file, t.name)}
}

type filelessError struct {
	error
	text string
}

func (e *filelessError) Error() string { return e.text }
func (e *filelessError) Unwrap() error { return e.error }

// note counts a failed file, by its name in the error. forGood: all other files will fail, too.
func (t *trust) note(ctx context.Context, err error, file string, forGood bool) {
	var temporary *retry.TemporaryError
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return
	case !errors.As(err, &temporary) && !forGood:
		t.failed = 0
		return
	}
	t.failed++
	if t.gone == nil && (t.failed >= maxFailures || forGood) {
		t.gone = &GoneError{t.name, t.withoutFile(err, file)}
		t.log.WarnContext(ctx, "a source is not asked any more", "source", t.name, "err", t.gone.why)
	}
}

// Source is the server's name, without credentials.
func (e *GoneError) Source() string { return e.name }
