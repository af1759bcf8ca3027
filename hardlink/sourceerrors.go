package hardlink

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"kojisnap/kojisnap/retry"
)

// ofSourceTree tells whether an error is one of a file system at a source: a file that cannot be read.
func ofSourceTree(err error) bool {
	var source *SourceError
	if !errors.As(err, &source) {
		return false
	}
	for _, said := range source.Errs {
		if !absent(said) && !ofFile(said) {
			return false
		}
	}
	return true
}

// ofFile tells whether a source that is a directory failed for one file.
func ofFile(said error) bool {
	var errno syscall.Errno
	return errors.As(said, new(*notRegularError)) || errors.As(said, &errno) && !errors.As(said, new(*retry.TemporaryError)) && errno != syscall.ENOSPC
}

// MissingError is a wanted file that no source has.
type MissingError struct {
	Build string `json:"build"` // N-V-R
	Path  string `json:"path"`  // below the build's directory
	Err   error  `json:"-"`     // what the sources said
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("build %q: %q is at no source: %v", e.Build, e.Path, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// SourceError is a wanted file that no source gave as the database has it. It unwraps to
// what each said: a DigestError, a TemporaryError, an error of the file system.
type SourceError struct {
	Build string // N-V-R
	Path  string // below the build's directory
	Errs  []error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("build %q: no source gives %q: %v", e.Build, e.Path, &reasons{e.Errs})
}

func (e *SourceError) Unwrap() []error { return e.Errs }

// BadSourceError is a source whose URL cannot be one of production's tree.
type BadSourceError struct{ Err error }

func (e *BadSourceError) Error() string { return "source: " + e.Err.Error() }

func (e *BadSourceError) Unwrap() error { return e.Err }

// errChanged is a file that was replaced at the source while it was read.
var errChanged = errors.New("it changed while it was read")

func ofSource(err error) bool {
	var source *sourceError
	var digest *DigestError
	return errors.As(err, &source) || errors.As(err, &digest)
}

// reasons are errors in one line.
type reasons struct{ errs []error }

func (r *reasons) Unwrap() []error { return r.errs }

func (r *reasons) Error() string {
	texts := make([]string, len(r.errs))
	for i, err := range r.errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// notRegularError is a directory or a device in the place of a file.
type notRegularError struct {
	name string
	is   fs.FileMode
}

func (e *notRegularError) Error() string {
	return fmt.Sprintf("open %s: is not a regular file but %v", e.name, e.is)
}

// absent is fs.ErrNotExist, or a file where the path wants a directory.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
