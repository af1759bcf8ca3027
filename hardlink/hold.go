package hardlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"kojisnap/hardlink/source"
	"kojisnap/volumes"
)

// HeldError is one thing that is kept back, while all else is done: a build or a volume whose rows
// are of no use, a directory that cannot be read, a symlink in whose place something stands.
type HeldError struct {
	volumes.Held
	Path string `json:"path,omitempty"` // in the build's directory, or below topdir
	Err  error  `json:"-"`              // the reason
}

func (e *HeldError) Error() string {
	what := e.Name
	if e.Path != "" && what != "" {
		what += ": " + e.Path
	} else if e.Path != "" {
		what = e.Path
	}
	return fmt.Sprintf("%s %q: %s: %s", e.Kind, what, e.Reason, e.Outcome)
}

func (e *HeldError) Unwrap() error { return e.Err }

// What becomes of what is kept back.
const (
	stays      = "it stays on the read-only volume, and the next run tries again"
	asIs       = "it stays as it is, and the next run tries again"
	noSymlinks = "no symlinks to what is in it are made; make it readable, and the next run makes them"
	noSymlink  = "no symlink to it is made; rename it in production, and the next run makes it"
	noOptional = "no compose opens it, so the build is copied without it; make it readable, and the next run copies it"
	notMade    = "it is not made; clear the way, and the next run makes it"
	notRemoved = "it is not removed, and the next run tries again"
)

func held(kind, name, path string, err error, outcome string) *HeldError {
	return &HeldError{volumes.Held{Kind: kind, Name: name, Reason: err.Error(), Outcome: outcome}, path, err}
}

// hold keeps one thing back. One that is kept back already is not named again.
func (a *Actions) hold(h *HeldError) {
	if !slices.ContainsFunc(a.Held, h.Same) {
		a.Held = append(a.Held, h)
	}
}

// Same tells whether another error is about the same thing.
func (e *HeldError) Same(o *HeldError) bool {
	return o.Kind == e.Kind && o.Name == e.Name && o.Path == e.Path
}

// ofOne tells whether an error is about one place below topdir or at a source, so that others may do
// better: neither a cancelled run, nor a full or a sick disk.
func ofOne(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if ofBuild(err) {
		return true
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EACCES, syscall.EPERM, syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY,
		syscall.EXDEV, syscall.EBUSY, syscall.ETXTBSY, syscall.ESTALE, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EIO, syscall.EUCLEAN, syscall.ETIMEDOUT, syscall.EREMOTEIO:
		return true
	}
	return false
}

// tooMany tells that so many of so many failed that it is no matter of single ones.
func tooMany(failed, of int) bool { return failed > 10 && failed*20 > of }

// manyError is what fails for so many that the run ends.
type manyError struct {
	failed, of int
	what       string
	first      error
}

func (e *manyError) Error() string {
	return fmt.Sprintf("%d of %d %s, which is no matter of single ones: %v", e.failed, e.of, e.what, e.first)
}

func (e *manyError) Unwrap() error { return e.first }

// Held is the list of all that is kept back, for results.
func (e *LeftOutError) Held() []HeldError {
	if e == nil {
		return nil
	}
	list := make([]HeldError, len(e.Errs))
	for i, err := range e.Errs {
		list[i] = *heldBy(err)
	}
	return list
}

// heldBy says what an error keeps back.
func heldBy(err error) *HeldError {
	var (
		one     *HeldError
		missing *source.MissingError
		failed  *source.Error
	)
	switch {
	case errors.As(err, &one):
		return one
	case errors.As(err, &missing):
		return held("build", missing.Build, missing.Path, err, stays)
	case errors.As(err, &failed):
		return held("build", failed.Build, failed.Path, err, stays)
	}
	return held("", "", "", err, asIs)
}
