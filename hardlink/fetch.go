package hardlink

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kojisnap/volumes"
)

// httpDoer is what is needed of an http.Client.
type httpDoer interface {
	Do(*http.Request) (*http.Response, error)
}

// webSource is production's topdir as its topurl: plain GETs, not resumed.
type webSource struct {
	base   *url.URL
	client httpDoer
}

func newWebSource(base string, client httpDoer) (webSource, error) {
	u, err := url.Parse(base)
	if err != nil {
		return webSource{}, fmt.Errorf("source: %w", err)
	}
	if u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return webSource{}, fmt.Errorf("source %q: is not the URL of a topdir", u.Redacted())
	}
	if client == nil {
		// No limit on the whole: a file may be large. A server that does not begin to
		// answer is another matter.
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = time.Minute
		transport.DisableCompression = true // the bytes as they are
		client = &http.Client{Transport: transport}
	}
	return webSource{u, client}, nil
}

func (w webSource) open(ctx context.Context, b volumes.Build, path string) (*input, error) {
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	u := w.base.JoinPath(dir, path) // escapes what a path needs escaped
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// A + in a path stands for itself, but some servers (S3) read it as a space.
	req.URL.RawPath = strings.ReplaceAll(req.URL.EscapedPath(), "+", "%2B")
	resp, err := w.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &TemporaryError{fmt.Errorf("fetch %s: %w", u.Redacted(), err)}
	}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		resp.Body.Close()
		return nil, fmt.Errorf("fetch %s: %s: %w", u.Redacted(), resp.Status, fs.ErrNotExist)
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		resp.Body.Close()
		return nil, &TemporaryError{fmt.Errorf("fetch %s: %s", u.Redacted(), resp.Status)}
	default:
		resp.Body.Close()
		return nil, fmt.Errorf("fetch %s: %s", u.Redacted(), resp.Status)
	}
	mtime, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil {
		mtime = time.Now().Truncate(time.Second)
	}
	return &input{Reader: netReader{resp.Body, u.Redacted()}, close: resp.Body.Close, name: u.Redacted(),
		size: resp.ContentLength, mode: 0o644, mtime: mtime}, nil
}

func (webSource) stat(volumes.Build, string) (int64, error) { return -1, nil }

// netReader tells a connection that broke from a file that is damaged.
type netReader struct {
	r    io.Reader
	name string
}

func (n netReader) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && err != io.EOF {
		err = &TemporaryError{fmt.Errorf("fetch %s: %w", n.name, err)}
	}
	return k, err
}
