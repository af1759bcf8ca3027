package hardlink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
)

// LeftOutError is what could not be made for want of good files. Everything else was done: the
// builds that it is about are whole on the read-only volume, and no symlink leads elsewhere.
type LeftOutError struct{ Errs []error }

// Error has a line for each of the first ones, but one of all where no source gave any. Of what a server is to blame for that is not
// asked any more one is enough, and so it is of what failed before that was clear.
func (e *LeftOutError) Error() string {
	const shown = 100
	var given *source.GoneError // the first that was given up
	for _, err := range e.Errs {
		if errors.As(err, &given) {
			break
		}
	}
	var lines []string
	var blamed []*source.GoneError
	more, refused := 0, false
	nothing, told := e.nothing(), false
	for _, err := range e.Errs {
		var missing *source.MissingError
		if errors.As(err, &missing) && nothing > few && source.NothingGiven(missing.Err) {
			if told {
				more++
				continue
			}
			told = true
			err = fmt.Errorf("%w: no source gave anything, and %d files are missing: is --source production's topdir, where Koji's topurl leads, with the directory packages in it?", err, nothing)
		}
		if errors.As(err, &missing) && source.DeniedByAll(missing.Err) { // so it is with all
			if refused {
				more++
				continue
			}
			refused = true
		}
		var gone *source.GoneError
		if !errors.As(err, &gone) && errors.As(err, new(*retry.TemporaryError)) {
			gone = given
		}
		same := gone != nil && !errors.As(err, new(*content.DigestError)) && slices.Contains(blamed, gone)
		if same || len(lines) == shown {
			more++
			continue
		}
		if gone != nil && !errors.As(err, new(*content.DigestError)) { // which file it was found at differs each time
			err = fmt.Errorf("left out: builds with files that no other source has: %w", gone)
		}
		lines, blamed = append(lines, err.Error()), append(blamed, gone)
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// few files that are nowhere may be those that production lost, though no other was wanted.
const few = 10

// nothing counts the files that are nowhere, while no source has given another.
func (e *LeftOutError) nothing() (n int) {
	for _, err := range e.Errs {
		var missing *source.MissingError
		if errors.As(err, &missing) && source.NothingGiven(missing.Err) {
			n++
		}
	}
	return n
}

func (e *LeftOutError) Unwrap() []error { return e.Errs }

// SourcesAnswered tells whether it is files alone that are at fault: each source said that it has
// none, could not read one, or gave one that is not what the database says. Otherwise a source is out
// of order.
func (e *LeftOutError) SourcesAnswered() bool {
	for _, err := range e.Errs {
		var failed *source.Error
		var missing *source.MissingError
		if errors.As(err, &missing) && source.DeniedByAll(missing.Err) {
			return false
		}
		if !errors.As(err, &failed) {
			continue // a file that no source has, or something that is kept back by itself
		}
		for _, said := range failed.Errs {
			var digest *content.DigestError
			if !source.Absent(said) && !source.Denied(said) && !errors.As(said, &digest) && !source.OfFile(said) {
				return false
			}
		}
	}
	return true
}

// SpaceError is a topdir that is full, or would be.
type SpaceError struct {
	Topdir  string
	Need    int64 // bytes still to be written
	Free    int64 // bytes
	Reserve int64 // bytes of these that stay free for staging's hub
	Inodes  bool  // it is inodes, not bytes, that are few
}

func (e *SpaceError) Error() string {
	what, keep := "bytes", ""
	if e.Inodes {
		what = "inodes"
	}
	if e.Reserve > 0 {
		keep = fmt.Sprintf(", and the last %d of them stay free for the hub", e.Reserve)
	}
	return fmt.Sprintf("topdir %s is full: need %d %s, %d are free%s", e.Topdir, e.Need, what, e.Free, keep)
}

// Unwrap lets errors.Is find syscall.ENOSPC.
func (e *SpaceError) Unwrap() error { return syscall.ENOSPC }
