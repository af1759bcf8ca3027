package hardlink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"kojisnap/kojisnap/retry"
)

// DigestError is a file whose content is not what the database says. It is not
// made visible.
type DigestError struct {
	Path string // of the source
	What string // size, sigmd5, key, md5, …
	Want string
	Have string
	Own  bool // Want is what the file itself says, or what all of its kind have
}

func (e *DigestError) Error() string { return fmt.Sprintf("verify %q: %s", e.Path, e.Says()) }

// Says is the error without the path.
func (e *DigestError) Says() string {
	says := "the database says"
	if e.Own {
		says = "want"
	}
	return fmt.Sprintf("%s is %s, %s %s", e.What, e.Have, says, e.Want)
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

// LeftOutError is what could not be made for want of good files. Everything else was done: the
// builds that it is about are whole on the read-only volume, and no symlink leads elsewhere.
type LeftOutError struct{ Errs []error }

// Error has a line for each of the first ones, but one of all where no source gave any. Of what a server is to blame for that is not
// asked any more one is enough, and so it is of what failed before that was clear.
func (e *LeftOutError) Error() string {
	const shown = 100
	var given *goneError // the first that was given up
	for _, err := range e.Errs {
		if errors.As(err, &given) {
			break
		}
	}
	var lines []string
	var blamed []*goneError
	more, refused := 0, false
	nothing, told := e.nothing(), false
	for _, err := range e.Errs {
		var missing *MissingError
		if errors.As(err, &missing) && nothing > few && nothingGiven(missing.Err) {
			if told {
				more++
				continue
			}
			told = true
			err = fmt.Errorf("%w: no source gave anything, and %d files are missing: is --source production's topdir, where Koji's topurl leads, with the directory packages in it?", err, nothing)
		}
		if errors.As(err, &missing) && deniedByAll(missing.Err) { // so it is with all
			if refused {
				more++
				continue
			}
			refused = true
		}
		var gone *goneError
		if !errors.As(err, &gone) && errors.As(err, new(*retry.TemporaryError)) {
			gone = given
		}
		same := gone != nil && !errors.As(err, new(*DigestError)) && slices.Contains(blamed, gone)
		if same || len(lines) == shown {
			more++
			continue
		}
		if gone != nil && !errors.As(err, new(*DigestError)) { // which file it was found at differs each time
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
		var missing *MissingError
		if errors.As(err, &missing) && nothingGiven(missing.Err) {
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
		var source *SourceError
		var missing *MissingError
		if errors.As(err, &missing) && deniedByAll(missing.Err) {
			return false
		}
		if !errors.As(err, &source) {
			continue // a file that no source has, or something that is kept back by itself
		}
		for _, said := range source.Errs {
			var digest *DigestError
			if !absent(said) && !denied(said) && !errors.As(said, &digest) && !ofFile(said) {
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

// BadSourceError is a source whose URL cannot be one of production's tree.
type BadSourceError struct{ Err error }

func (e *BadSourceError) Error() string { return "source: " + e.Err.Error() }
func (e *BadSourceError) Unwrap() error { return e.Err }
