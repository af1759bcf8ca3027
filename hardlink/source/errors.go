package source

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/retry"
)

// OfTree tells whether an error is one of a file system at a source: a file that cannot be read.
func OfTree(err error) bool {
	var source *Error
	if !errors.As(err, &source) {
		return false
	}
	for _, said := range source.Errs {
		if !Absent(said) && !OfFile(said) {
			return false
		}
	}
	return true
}

// OfFile tells whether a source that is a directory failed for one file.
func OfFile(said error) bool {
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

// Error is a wanted file that no source gave as the database has it. It unwraps to
// what each said: a DigestError, a TemporaryError, an error of the file system.
type Error struct {
	Build string // N-V-R
	Path  string // below the build's directory
	Errs  []error
}

func (e *Error) Error() string {
	return fmt.Sprintf("build %q: no source gives %q: %v", e.Build, e.Path, &reasons{e.Errs})
}

func (e *Error) Unwrap() []error { return e.Errs }

// URLError is a source whose URL cannot be one of production's tree.
type URLError struct{ Err error }

func (e *URLError) Error() string { return "source: " + e.Err.Error() }

func (e *URLError) Unwrap() error { return e.Err }

// ErrChanged is a file that was replaced at the source while it was read.
var ErrChanged = errors.New("it changed while it was read")

func ofSource(err error) bool {
	var source *content.ReadError
	var digest *content.DigestError
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

// Absent is fs.ErrNotExist, or a file where the path wants a directory.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
