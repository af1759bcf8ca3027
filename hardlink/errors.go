package hardlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
	"kojisnap/volumes"
)

// LeftOutError lists what could not be made because no good file was found. Apply made everything else. The
// builds that it names stay whole on the read-only volume, and no symlink leads elsewhere.
type LeftOutError struct{ Errs []error }

// Error has one line for each of the first errors. Errors that one cause explains share a line: no source
// gave any file, all sources refuse everything, or a server was given up.
func (e *LeftOutError) Error() string { return e.text(100) }

// All is Error without a limit on the number of lines.
func (e *LeftOutError) All() string { return e.text(len(e.Errs)) }

// text returns at most shown lines, and says how many more there are.
func (e *LeftOutError) text(shown int) string {
	var given *source.GoneError // the first server that was given up
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
		if errors.As(err, &missing) && source.DeniedByAll(missing.Err) { // the same holds for all files
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
		if gone != nil && !errors.As(err, new(*content.DigestError)) { // which file met it differs from run to run
			err = fmt.Errorf("left out: builds with files that no other source has: %w", gone)
		}
		lines, blamed = append(lines, err.Error()), append(blamed, gone)
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// few is how many missing files production may have lost, if nothing else was wanted. More missing files
// point to a wrong source.
const few = 10

// nothing returns how many files are missing without any source having given another file.
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

// SourcesAnswered reports whether only files are at fault: each source said that it does not have a file,
// could not read one, or gave one that differs from the database. Otherwise a source itself failed.
func (e *LeftOutError) SourcesAnswered() bool {
	for _, err := range e.Errs {
		var failed *source.Error
		var missing *source.MissingError
		if errors.As(err, &missing) && source.DeniedByAll(missing.Err) {
			return false
		}
		if !errors.As(err, &failed) {
			continue // no source has the file, or something else is kept back
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

// SpaceError says that topdir is full, or would be.
type SpaceError struct {
	Topdir  string
	Need    int64 // bytes still to be written
	Free    int64 // bytes
	Reserve int64 // bytes of Free that stay free for staging's hub
	Inodes  bool  // inodes are short, not bytes
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

// HeldError is one thing that is kept back while all else is done: a build or a volume with unusable rows, a
// directory that cannot be read, a symlink whose place is taken.
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

// What happens to a thing that is kept back, for people.
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

// hold keeps a thing back. It does not name the same thing twice.
func (a *Actions) hold(h *HeldError) {
	if !slices.ContainsFunc(a.Held, h.Same) {
		a.Held = append(a.Held, h)
	}
}

// Same reports whether two errors are about the same thing.
func (e *HeldError) Same(o *HeldError) bool {
	return o.Kind == e.Kind && o.Name == e.Name && o.Path == e.Path
}

// ofOne reports whether an error is about one path below topdir or at a source, so that others may succeed.
// It is not if the run was canceled, or if the disk is full or broken.
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

// tooMany reports whether so many failed that the cause cannot lie with single builds or files.
func tooMany(failed, of int) bool { return failed > 10 && failed*20 > of }

// manyError ends a run because the same step failed for too many.
type manyError struct {
	failed, of int
	what       string
	first      error
}

func (e *manyError) Error() string {
	return fmt.Sprintf("%d of %d %s, too many for faults of single ones; the first: %v", e.failed, e.of, e.what, e.first)
}

func (e *manyError) Unwrap() error { return e.first }

// Held lists everything that is kept back, for results.
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
