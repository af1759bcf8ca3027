package hardlink

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// ErrCrash is the error of each operation on topdir after a crash.
var ErrCrash = errors.New("crashed")

// CrashAfter makes all operations on topdir fail after the first n, as if the process were killed: nothing is
// cleaned up.
func (e *Engine) CrashAfter(n int64) {
	var done atomic.Int64
	e.top.Hook = func(string, string) error {
		if done.Add(1) > n {
			return ErrCrash
		}
		return nil
	}
}

// FailWrite makes operations that need space on topdir fail, from the n-th one on, as on a full disk.
// Operations that free space work. hit reports whether any failed.
func (e *Engine) FailWrite(n int, err error) (hit func() bool) {
	var done atomic.Int64
	e.top.Hook = func(op, _ string) error {
		switch op {
		case "remove", "rmdir", "open":
			return nil
		}
		if done.Add(1) > int64(n) {
			return err
		}
		return nil
	}
	return func() bool { return done.Load() > int64(n) }
}

// FailOn makes an operation on names with a suffix fail.
func (e *Engine) FailOn(op, suffix string, err error) {
	e.top.Hook = func(o, rel string) error {
		if o == op && strings.HasSuffix(rel, suffix) {
			return err
		}
		return nil
	}
}

// WhileRead calls f each time that a source's file of that path has been read up to a byte.
func (e *Engine) WhileRead(path string, at int64, f func()) {
	for i, s := range e.sources.All {
		e.sources.All[i] = &watchedSource{s, path, at, f}
	}
}

type watchedSource struct {
	source.Source
	path string
	at   int64
	f    func()
}

func (w watchedSource) Open(ctx context.Context, b volumes.Build, path string) (*source.Input, error) {
	in, err := w.Source.Open(ctx, b, path)
	if err == nil && path == w.path {
		in.Reader = io.MultiReader(io.LimitReader(in.Reader, w.at), &reached{w.f}, in.Reader)
	}
	return in, err
}

type reached struct{ f func() }

func (r *reached) Read([]byte) (int, error) {
	r.f()
	return 0, io.EOF
}

// Limited returns the names of the sources whose limit slowed a reader, and "all" if the common limit did.
func (e *Engine) Limited() []string { return e.sources.Waited() }

// Named makes files as Linker does where they need a name from the beginning.
var Named = named

// Watch calls f before each operation on topdir.
func (e *Engine) Watch(f func()) {
	e.top.Hook = func(string, string) error {
		f()
		return nil
	}
}

// CrashAfterUnless is CrashAfter, on a file system that can exchange names or, without exchange, cannot.
func (e *Engine) CrashAfterUnless(n int64, exchange bool) {
	e.CrashAfter(n)
	crash := e.top.Hook
	e.top.Hook = func(op, rel string) error {
		if err := crash(op, rel); err != nil || op != "exchange" || exchange {
			return err
		}
		return unix.EINVAL
	}
}
