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

// Ask gives the file of one source after the other to use, until use can make something of
// it. What each source had to say is added to tried, and all of that is the error if none
// will do. An error that is not a source's ends it at once.
func (l *Set) Ask(ctx context.Context, b volumes.Build, path string, tried *Attempts, use func(in *Input) error) error {
	return l.AskOf(ctx, l.All, b, path, tried, use)
}

// AskOf is ask with some of the sources.
func (l *Set) AskOf(ctx context.Context, sources []Source, b volumes.Build, path string, tried *Attempts, use func(in *Input) error) error {
	for _, s := range sources {
		err := l.once(ctx, s, b, path, use)
		if errors.Is(err, syscall.ESTALE) || errors.Is(err, ErrChanged) {
			// NFS: the file was replaced on the server. It is opened anew, once.
			err = l.once(ctx, s, b, path, use)
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

func (l *Set) once(ctx context.Context, s Source, b volumes.Build, path string, use func(in *Input) error) error {
	in, err := s.Open(ctx, b, path)
	if err != nil {
		return &content.ReadError{Err: err}
	}
	defer in.Close()
	in.Limited = func(r io.Reader) io.Reader { return l.ofLimits(ctx, s, r) }
	in.Reader = in.Limited(sourceReader{in.Reader})
	return use(in)
}

// ofLimits waits for the source's turn first: what waits there keeps no other source waiting.
func (l *Set) ofLimits(ctx context.Context, s Source, r io.Reader) io.Reader {
	if own := l.limits[s]; own != nil {
		r = own.reader(ctx, r)
	}
	return l.limit.reader(ctx, r)
}

// sourceReader tells an error of reading from one of writing.
type sourceReader struct{ r io.Reader }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &content.ReadError{Err: err}
	}
	return n, err
}

// Attempts are why a file could not be had, source by source.
type Attempts struct {
	Build volumes.Build
	Path  string
	errs  []error
}

// err is a MissingError if no source has the file, as far as those who deny it tell, else an Error.
func (a *Attempts) err() error {
	for _, err := range a.errs {
		if !Absent(err) && !Denied(err) {
			return &Error{a.Build.NVR(), a.Path, a.errs}
		}
	}
	return &MissingError{a.Build.NVR(), a.Path, &reasons{a.errs}}
}

// Over tells whether err is what all sources said.
func (a *Attempts) Over(err error) bool {
	var source *Error
	var missing *MissingError
	return errors.As(err, &source) || errors.As(err, &missing)
}

// Stat is the size of a file at the first source that has it, -1 if a request would
// tell. If none has it, the error is that of a source that could not tell, if there is one.
func (l *Set) Stat(b volumes.Build, path string) (int64, error) {
	var last error
	for _, s := range l.All {
		n, err := s.Stat(b, path)
		if errors.Is(err, syscall.ESTALE) { // NFS: it is looked up anew, once
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

// Check says of each source, by its name, why no file can be had from it, nil if it answers.
// A directory must have packages; a server is asked for a file that no Koji has.
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
