package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"kojisnap/hardlink/content"
	"kojisnap/volumes"
)

// Ask opens the file at one source after the other and calls use, until use succeeds. It adds each source's
// error to tried; if no source succeeds, these are the error. An error that no source caused ends Ask at
// once.
func (l *Set) Ask(ctx context.Context, b volumes.Build, path string, tried *Attempts, use func(in *Input) error) error {
	return l.AskOf(ctx, l.All, b, path, tried, use)
}

// AskOf is Ask for some of the sources.
func (l *Set) AskOf(ctx context.Context, sources []Source, b volumes.Build, path string, tried *Attempts, use func(in *Input) error) error {
	for _, s := range sources {
		err := l.once(ctx, s, b, path, tried.Within, use)
		if errors.Is(err, syscall.ESTALE) || errors.Is(err, ErrChanged) {
			// On NFS, the file was replaced on the server. Open it again, once.
			err = l.once(ctx, s, b, path, tried.Within, use)
		}
		if err == nil {
			return nil
		}
		if !ofSource(err) || ctx.Err() != nil {
			return err
		}
		tried.errs = append(tried.errs, err)
	}
	return tried.err()
}

func (l *Set) once(ctx context.Context, s Source, b volumes.Build, path string, within bool, use func(in *Input) error) error {
	if err := l.turn(ctx, s); err != nil {
		return err
	}
	var in *Input
	var err error
	if dir, ok := s.(Dir); ok && within {
		in, err = dir.OpenWithin(b, path)
	} else {
		in, err = s.Open(ctx, b, path)
	}
	if err != nil {
		return &content.ReadError{Err: err}
	}
	defer in.Close()
	in.Limited = func(r io.Reader) io.Reader { return l.ofLimits(ctx, s, r) }
	in.Reader = in.Limited(sourceReader{in.Reader})
	return use(in)
}

// ofLimits waits for the source's own limit first: a reader that waits there delays no other source.
func (l *Set) ofLimits(ctx context.Context, s Source, r io.Reader) io.Reader {
	if own := l.limits[s]; own != nil {
		r = own.reader(ctx, r)
	}
	return l.limit.reader(ctx, r)
}

// sourceReader marks errors of reading, so that they differ from errors of writing.
type sourceReader struct{ r io.Reader }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &content.ReadError{Err: err}
	}
	return n, err
}

// Attempts collects why each source did not give a file.
type Attempts struct {
	Build volumes.Build
	Path  string
	// Within: nothing verifies the content, so no symlink may lead out of the build's directory.
	Within bool
	errs   []error
}

// err returns a MissingError if all sources said that they do not have the file, otherwise an Error.
func (a *Attempts) err() error {
	for _, err := range a.errs {
		if !Absent(err) && !Denied(err) {
			return &Error{a.Build.NVR(), a.Path, a.errs}
		}
	}
	return &MissingError{a.Build.NVR(), a.Path, &reasons{a.errs}}
}

// Over reports whether err is the error of all sources together.
func (a *Attempts) Over(err error) bool {
	var source *Error
	var missing *MissingError
	return errors.As(err, &source) || errors.As(err, &missing)
}

// Stat returns the size of a file at the first source that has it, or -1 if finding out takes a request. If
// no source has the file, it prefers the error of a source that could not tell.
func (l *Set) Stat(b volumes.Build, path string) (int64, error) {
	var last error
	for _, s := range l.All {
		n, err := s.Stat(b, path)
		if errors.Is(err, syscall.ESTALE) { // on NFS: look it up again, once
			n, err = s.Stat(b, path)
		}
		if err == nil {
			return n, nil
		}
		if last == nil || Absent(last) {
			last = err
		}
	}
	return 0, last
}

// Check says of each source, by name, why it gives no files; nil if it answers. A directory must have
// packages; a server is asked for a file that no Koji has.
func (l *Set) Check(ctx context.Context) map[string]error {
	none := volumes.Build{Name: "kojisnap-asks-whether-this-answers", Version: "0", Release: "0"}
	answers := map[string]error{}
	for i, s := range l.All {
		name := l.names[i]
		if dir, ok := s.(Dir); ok {
			_, err := os.ReadDir(filepath.Join(string(dir), "packages"))
			answers[name] = err
			continue
		}
		in, err := s.Open(ctx, none, "none")
		if err == nil {
			err = in.Close()
		}
		if Absent(err) || Denied(err) {
			err = nil
		}
		answers[name] = err
	}
	return answers
}
