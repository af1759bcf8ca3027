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

// OfTree reports whether an error is from a source's file system: a file could not be read.
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

// OfFile reports whether a directory source failed for just one file.
func OfFile(said error) bool {
	var errno syscall.Errno
	return errors.As(said, new(*notRegularError)) || errors.As(said, &errno) && !errors.As(said, new(*retry.TemporaryError)) && errno != syscall.ENOSPC
}

// MissingError says that no source has a wanted file.
type MissingError struct {
	Build string `json:"build"` // N-V-R
	Path  string `json:"path"`  // below the build's directory
	Err   error  `json:"-"`     // what the sources said
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("build %q: %q is at no source: %v", e.Build, e.Path, e.Err)
}

func (e *MissingError) Unwrap() error { return e.Err }

// Error says that no source gave a wanted file as the database has it. It unwraps to the sources' errors: a
// DigestError, a TemporaryError, an error of the file system.
type Error struct {
	Build string // N-V-R
	Path  string // below the build's directory
	Errs  []error
}

func (e *Error) Error() string {
	return fmt.Sprintf("build %q: no source gives %q: %v", e.Build, e.Path, &reasons{e.Errs})
}

func (e *Error) Unwrap() []error { return e.Errs }

// URLError says that a URL cannot be one of production's tree.
type URLError struct{ Err error }

func (e *URLError) Error() string { return "source: " + e.Err.Error() }

func (e *URLError) Unwrap() error { return e.Err }

// ErrChanged says that a file was replaced at the source while it was read.
var ErrChanged = errors.New("it changed while it was read")

func ofSource(err error) bool {
	var source *content.ReadError
	var digest *content.DigestError
	return errors.As(err, &source) || errors.As(err, &digest)
}

// reasons are several errors in one line.
type reasons struct{ errs []error }

func (r *reasons) Unwrap() []error { return r.errs }

func (r *reasons) Error() string {
	texts := make([]string, len(r.errs))
	for i, err := range r.errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// notRegularError says that something else, such as a directory or a device, is in the place of a file.
type notRegularError struct {
	name string
	is   fs.FileMode
}

func (e *notRegularError) Error() string {
	return fmt.Sprintf("open %s: is not a regular file but %v", e.name, e.is)
}

// Absent reports whether err says that a path does not exist, or that a part of it is no directory.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
