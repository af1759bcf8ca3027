package hardlink

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"kojisnap/volumes"
)

// ask gives the file of one source after the other to use, until use can make something of
// it. What each source had to say is added to tried, and all of that is the error if none
// will do. An error that is not a source's ends it at once.
func (l *sourceSet) ask(ctx context.Context, b volumes.Build, path string, tried *attempts, use func(in *input) error) error {
	return l.askOf(ctx, l.all, b, path, tried, use)
}

// askOf is ask with some of the sources.
func (l *sourceSet) askOf(ctx context.Context, sources []source, b volumes.Build, path string, tried *attempts, use func(in *input) error) error {
	for _, s := range sources {
		err := l.once(ctx, s, b, path, use)
		if errors.Is(err, syscall.ESTALE) || errors.Is(err, errChanged) {
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

func (l *sourceSet) once(ctx context.Context, s source, b volumes.Build, path string, use func(in *input) error) error {
	in, err := s.open(ctx, b, path)
	if err != nil {
		return &sourceError{err}
	}
	defer in.close()
	in.limited = func(r io.Reader) io.Reader { return l.limitedOf(ctx, s, r) }
	in.Reader = in.limited(sourceReader{in.Reader})
	return use(in)
}

// limited waits for the source's turn first: what waits there keeps no other source waiting.
func (l *sourceSet) limitedOf(ctx context.Context, s source, r io.Reader) io.Reader {
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
		err = &sourceError{err}
	}
	return n, err
}

// attempts are why a file could not be had, source by source.
type attempts struct {
	build volumes.Build
	path  string
	errs  []error
}

// err is a MissingError if no source has the file, as far as those who deny it tell, else a SourceError.
func (a *attempts) err() error {
	for _, err := range a.errs {
		if !absent(err) && !denied(err) {
			return &SourceError{a.build.NVR(), a.path, a.errs}
		}
	}
	return &MissingError{a.build.NVR(), a.path, &reasons{a.errs}}
}

// over tells whether err is what all sources said.
func (a *attempts) over(err error) bool {
	var source *SourceError
	var missing *MissingError
	return errors.As(err, &source) || errors.As(err, &missing)
}

// stat is the size of a file at the first source that has it, -1 if a request would
// tell. If none has it, the error is that of a source that could not tell, if there is one.
func (l *sourceSet) stat(b volumes.Build, path string) (int64, error) {
	var last error
	for _, s := range l.all {
		n, err := s.stat(b, path)
		if errors.Is(err, syscall.ESTALE) { // NFS: it is looked up anew, once
			n, err = s.stat(b, path)
		}
		if err == nil {
			return n, nil
		}
		if last == nil || absent(last) {
			last = err
		}
	}
	return 0, last
}

// check says of each source, by its name, why no file can be had from it, nil if it answers.
// A directory must have packages; a server is asked for a file that no Koji has.
func (l *sourceSet) check(ctx context.Context) map[string]error {
	none := volumes.Build{Name: "kojisnap-asks-whether-this-answers", Version: "0", Release: "0"}
	answers := map[string]error{}
	for i, s := range l.all {
		name := l.names[i]
		if dir, ok := s.(dirSource); ok {
			_, err := os.ReadDir(filepath.Join(string(dir), "packages"))
			answers[name] = err
			continue
		}
		in, err := s.open(ctx, none, "none")
		if err == nil {
			err = in.close()
		}
		if absent(err) || denied(err) {
			err = nil
		}
		answers[name] = err
	}
	return answers
}
