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

// maxFailures in a row, each after all its tries, and a server is asked no more.
const maxFailures = 3

// trust is whether a server is still asked: of one that is gone not every file has to learn
// it anew.
type trust struct {
	name string // the server's
	log  *slog.Logger

	given atomic.Bool // it gave a file in this run

	mu     sync.Mutex
	failed int        // files in a row
	gone   *GoneError // why it is asked no more
}

// GoneError is a server that is not asked any more.
type GoneError struct {
	name string
	why  error
}

func (e *GoneError) Unwrap() error { return e.why }
func (e *GoneError) Error() string {
	return fmt.Sprintf("source %s is not asked any more: %v", e.name, e.why)
}

// deniedError is access that a server denies to one file. CloudFront and S3 say so, too, of what is not
// there to those who may not list the bucket. So it is taken for missing, unless the server denies all.
type deniedError struct {
	error
	from *trust
}

func (e *deniedError) Unwrap() error { return e.error }

// absentError is a file that a server does not have.
type absentError struct {
	error
	from *trust
}

func (e *absentError) Unwrap() error { return e.error }

func Denied(err error) bool { return errors.As(err, new(*deniedError)) }

// DeniedByAll tells that all sources denied a file, of which none gave another one in this run: it is
// not known to be missing.
func DeniedByAll(err error) bool {
	return allSay(err, func(e *deniedError) *trust { return e.from })
}

// NothingGiven tells that no source has a file, and that none of them gave any other in this run: they may not
// be production's tree.
func NothingGiven(err error) bool {
	return allSay(err, func(e *absentError) *trust { return e.from })
}

// allSay tells that each source answered with an E, and none of them gave a file in this run.
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

// lost is why the server is not to be asked.
func (t *trust) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		return nil
	}
	return t.gone
}

// lose ends it for this run.
func (t *trust) lose(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone == nil {
		t.gone = &GoneError{t.name, why}
	}
}

// withoutFile is an error with the source in the place of the file that was asked for: which one of those
// that are asked for at a time it was differs from run to run.
func (t *trust) withoutFile(err error, file string) error {
	return &filelessError{err, strings.ReplaceAll(err.Error(), file, t.name)}
}

type filelessError struct {
	error
	text string
}

func (e *filelessError) Error() string { return e.text }
func (e *filelessError) Unwrap() error { return e.error }

// note counts failures, of a file as the error names it. forGood: no other file will be had either.
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
