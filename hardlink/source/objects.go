package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"kojisnap/kojisnap/retry"
	"kojisnap/volumes"
)

// Objects is production's tree as objects, as in a bucket of S3. Its methods may be
// called concurrently.
type Objects interface {
	// Object opens an object by its path below topdir; the caller closes it. size is -1 and mtime zero if
	// unknown. If there is no such object, it returns fs.ErrNotExist; if the object was replaced while it
	// was read, syscall.ESTALE. It repeats by itself what may succeed the next time. An error with
	// Temporary() true is from a server that may answer later; one with Lasting() true holds for all
	// objects; one with Denied() true says that access was denied.
	Object(ctx context.Context, key string) (r io.ReadCloser, size int64, mtime time.Time, err error)
	// String names the source for people, without credentials. With a slash and a key appended it names an
	// object.
	String() string
}

type objectSource struct {
	Objects
	trust
}

func newObjectSource(url string, o Options) (*objectSource, error) {
	if o.Open == nil {
		return nil, &URLError{errors.New("a URL is http or https here")}
	}
	from, err := o.Open(url)
	if err != nil {
		return nil, &URLError{err}
	}
	return &objectSource{Objects: from, trust: trust{name: from.String(), log: o.Log}}, nil
}

func (o *objectSource) Open(ctx context.Context, b volumes.Build, path string) (*Input, error) {
	if err := o.lost(); err != nil {
		return nil, err
	}
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	key := dir + "/" + path
	request, cancel := context.WithCancelCause(ctx)
	r, size, mtime, err := o.Object(request, key)
	err = o.judge(request, err)
	o.noteError(ctx, err, key)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	o.given.Store(true)
	if mtime.IsZero() {
		mtime = time.Now().Truncate(time.Second)
	}
	in := &objectReader{ctx: ctx, request: request, from: o, key: key, r: r}
	in.watch = time.AfterFunc(webSilence, func() { cancel(errWebSilent) })
	in.watch.Stop()
	closed := func() error {
		cancel(nil)
		return r.Close()
	}
	return &Input{Reader: in, Close: closed, Name: o.String() + "/" + key, Size: size, Mode: 0o644, Mtime: mtime}, nil
}

func (*objectSource) Stat(volumes.Build, string) (int64, error) { return -1, nil }

// judge finds out which errors are temporary.
func (o *objectSource) judge(ctx context.Context, err error) error {
	var says interface{ Temporary() bool }
	var refuses interface{ Denied() bool }
	switch {
	case errors.As(err, &refuses) && refuses.Denied():
		return &deniedError{err, &o.trust}
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &absentError{err, &o.trust}
	case errors.Is(context.Cause(ctx), errWebSilent):
		return &retry.TemporaryError{Err: fmt.Errorf("fetch from %s: %w", o, errWebSilent)}
	case ctx.Err() == nil && errors.As(err, &says) && says.Temporary():
		return &retry.TemporaryError{Err: err}
	}
	return err
}

func (o *objectSource) noteError(ctx context.Context, err error, key string) {
	var says interface{ Lasting() bool }
	o.note(ctx, err, key, errors.As(err, &says) && says.Lasting())
}

// objectReader gives up if a server sends nothing for too long.
type objectReader struct {
	ctx     context.Context
	request context.Context
	from    *objectSource
	key     string
	r       io.Reader
	watch   *time.Timer
}

func (r *objectReader) Read(p []byte) (int, error) {
	r.watch.Reset(webSilence)
	n, err := r.r.Read(p)
	r.watch.Stop()
	if err = r.from.judge(r.request, err); err != nil && err != io.EOF {
		r.from.noteError(r.ctx, err, r.key)
	}
	return n, err
}
