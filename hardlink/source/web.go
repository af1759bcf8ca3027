package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/slow"
	"kojisnap/volumes"
)

const (
	// webTries is how often a request is sent at most, and how often a download is resumed without any new
	// byte.
	webTries = 4
	// maxRetryAfter is the longest wait that a server may ask for. Beyond it the file fails for now.
	maxRetryAfter = 2 * time.Minute
	maxPause      = 30 * time.Second
	// webSilence is how long a server may send nothing.
	webSilence = time.Minute
)

// webSource is production's topdir below Koji's topurl.
type webSource struct {
	base   *url.URL
	client *http.Client
	pause  time.Duration               // before the first repetition
	turn   func(context.Context) error // waits until one more request may be sent; nil: any time
	trust

	waits sync.Mutex
	until time.Time // do not ask the server before this time
}

func newWebSource(base string, o Options) (*webSource, error) {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return nil, &URLError{fmt.Errorf("%q: want http://HOST/PATH or https://HOST/PATH, production's topurl", secret.HideURL(base))}
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, &URLError{fmt.Errorf("%q is not the URL of a topdir", secret.Hide(u.String()))}
	}
	var client http.Client
	if o.Client != nil {
		client = *o.Client
	} else {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableCompression = true // the bytes as they are
		transport.MaxIdleConnsPerHost = o.Jobs
		client.Transport = transport
	}
	client.CheckRedirect = checkRedirect
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	client.Transport = slow.Client{Send: transport.RoundTrip, Silence: -1, Window: o.SlowAfter} // download sees to silence
	return &webSource{base: u, client: &client, pause: o.RetryInterval, trust: trust{name: secret.Hide(u.String()), log: o.Log}}, nil
}

// Below returns the URL of a path below a base. It escapes the names: no character in them has a meaning in
// the URL.
func Below(base *url.URL, rel string) *url.URL {
	components := strings.Split(rel, "/")
	for i, c := range components {
		// A + in a path stands for itself, but some servers (S3) read it as a space.
		components[i] = strings.ReplaceAll(url.PathEscape(c), "+", "%2B")
	}
	u := *base
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" + strings.Join(components, "/")
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + rel
	return &u
}

func (w *webSource) Open(ctx context.Context, b volumes.Build, name string) (*Input, error) {
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	u := Below(w.base, dir+"/"+name)
	d := &download{ctx: ctx, from: w, url: u, name: secret.Hide(u.String()), size: -1}
	resp, err := d.request()
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/html" && !strings.HasPrefix(path.Ext(name), ".htm") {
		d.Close()
		return nil, &content.DigestError{Path: d.name, What: "content", Want: path.Base(name), Have: "a web page, perhaps a login", Own: true}
	}
	w.given.Store(true)
	d.size, d.validator = resp.ContentLength, validator(resp)
	mtime, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil {
		mtime = time.Now().Truncate(time.Second)
	}
	return &Input{Reader: d, Close: d.Close, Name: d.name, Size: d.size, Mode: 0o644, Mtime: mtime}, nil
}

func (*webSource) Stat(volumes.Build, string) (int64, error) { return -1, nil }

// validator returns the value for If-Range, or "" if the answer has none.
func validator(resp *http.Response) string {
	if tag := resp.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return resp.Header.Get("Last-Modified")
}

// ready waits until the server may be asked.
func (w *webSource) ready(ctx context.Context) error {
	if err := w.lost(); err != nil {
		return err
	}
	w.waits.Lock()
	wait := time.Until(w.until)
	w.waits.Unlock()
	if wait > 0 {
		return retry.Sleep(ctx, wait)
	}
	return ctx.Err()
}

// wait delays all requests for as long as the server asks. If that is too long, it gives the server up for
// this run.
func (w *webSource) wait(after time.Duration, why error) {
	if after > maxRetryAfter {
		w.lose(why)
		return
	}
	w.waits.Lock()
	defer w.waits.Unlock()
	if until := time.Now().Add(after); after > 0 && until.After(w.until) {
		w.until = until
	}
}

func (w *webSource) noteError(ctx context.Context, err error, file string) {
	var forGood *tlsError
	w.note(ctx, err, file, errors.As(err, &forGood))
}

// download fetches a file. If the connection breaks, it asks for the rest, as long as the file is the same.
type download struct {
	ctx  context.Context
	from *webSource
	url  *url.URL
	name string // for messages
	// method is that of the request, "" GET.
	method string

	body      io.ReadCloser
	cancel    context.CancelCauseFunc // ends the request
	watch     *time.Timer
	offset    int64
	size      int64 // -1: unknown
	validator string
	vain      int
	tooSlow   int // answers that were too slow
	err       error
}

var errWebSilent = fmt.Errorf("the server sent nothing for %v", webSilence)

// request asks for the file from offset on. It repeats the request where that may help.
func (d *download) request() (resp *http.Response, err error) {
	defer func() { d.from.noteError(d.ctx, err, d.name) }()
	for try := 0; ; try++ {
		if err := d.from.ready(d.ctx); err != nil {
			return nil, err
		}
		var after time.Duration
		resp, after, err = d.once()
		var temporary *retry.TemporaryError
		if err == nil || d.ctx.Err() != nil || !errors.As(err, &temporary) || try+1 >= webTries || after > maxRetryAfter {
			return resp, err
		}
		pause := max(after, retry.Pause(d.from.pause, maxPause, try))
		d.from.log.DebugContext(d.ctx, "fetch to be repeated", "pause", pause, "err", err)
		if err := retry.Sleep(d.ctx, pause); err != nil {
			return nil, err
		}
	}
}

// once sends one request. after is how long the server asks the client to wait.
func (d *download) once() (resp *http.Response, after time.Duration, err error) {
	d.stop()
	ctx, cancel := context.WithCancelCause(d.ctx)
	d.cancel = cancel
	d.watch = time.AfterFunc(webSilence, func() { cancel(errWebSilent) })
	req, err := http.NewRequestWithContext(ctx, cmp.Or(d.method, http.MethodGet), d.url.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	req.URL = d.url
	if d.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if d.validator != "" {
			req.Header.Set("If-Range", d.validator)
		}
	}
	resp, err = d.from.client.Do(req)
	d.watch.Stop()
	if err != nil {
		return nil, 0, d.trouble(ctx, err)
	}
	d.body = resp.Body
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent && d.offset > 0 {
		return resp, 0, nil
	}
	d.stop()
	text := fmt.Sprintf("fetch %s: the server answered %q", d.name, resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound || code == http.StatusGone:
		return nil, 0, &absentError{fmt.Errorf("fetch %s: HTTP %d: %w", d.name, code, fs.ErrNotExist), &d.from.trust}
	case code == http.StatusForbidden:
		return nil, 0, &deniedError{fmt.Errorf("%s: it is not there, it wants a login, or the server does not let this machine have it", text), &d.from.trust}
	case code == http.StatusUnauthorized || code == http.StatusProxyAuthRequired:
		return nil, 0, fmt.Errorf("%s: it wants a login, or does not let this machine have it", text)
	case code == http.StatusRequestedRangeNotSatisfiable && d.offset > 0:
		return nil, 0, fmt.Errorf("fetch %s: %w", d.name, ErrChanged)
	case code >= 500 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		after = retryAfter(resp.Header.Get("Retry-After"))
		if after > maxRetryAfter {
			text += fmt.Sprintf(" and asks to wait %v", after.Round(time.Second))
		}
		d.from.wait(after, d.from.withoutFile(&retry.TemporaryError{Err: errors.New(text)}, d.name))
		return nil, after, &retry.TemporaryError{Err: errors.New(text)}
	}
	return nil, 0, errors.New(text)
}

// retryAfter reads seconds or a date; 0: neither.
func retryAfter(v string) time.Duration {
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, 1<<30)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// trouble explains why a request got no answer.
func (d *download) trouble(ctx context.Context, err error) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		return fmt.Errorf("fetch %s: %w", d.name, redirect)
	}
	if problem := tlsProblem(err); problem != "" {
		return &tlsError{fmt.Errorf("fetch %s: %s", d.name, problem)}
	}
	if errors.Is(context.Cause(ctx), errWebSilent) {
		err = errWebSilent
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the URL, which the message has already
	}
	return &retry.TemporaryError{Err: fmt.Errorf("fetch %s: %w", d.name, err)}
}

func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 || d.err != nil {
		return 0, d.err
	}
	for {
		d.watch.Reset(webSilence)
		n, err := d.body.Read(p)
		d.watch.Stop()
		d.offset += int64(n)
		if n > 0 {
			d.vain = 0
			return n, nil // an error is returned at the next call
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF && d.offset >= d.size: // too many bytes fail the content check
			d.err = io.EOF
		default:
			d.err = d.resume(err)
		}
		if d.err != nil {
			return 0, d.err
		}
	}
}

// resume asks for the missing part. If the server sends the whole file again, it skips the part that it has.
func (d *download) resume(broke error) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	d.vain++
	if errors.Is(broke, slow.Err) { // each attempt brought something
		d.tooSlow++
	}
	if d.vain >= webTries || d.tooSlow >= webTries {
		err := &retry.TemporaryError{Err: fmt.Errorf("fetch %s: broken off after %d bytes: %w", d.name, d.offset, broke)}
		d.from.noteError(d.ctx, err, d.name)
		return err
	}
	if err := retry.Sleep(d.ctx, retry.Pause(d.from.pause, maxPause, d.vain-1)); err != nil {
		return err
	}
	resp, err := d.request()
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusPartialContent {
		return d.rest(resp)
	}
	if d.offset > 0 && validator(resp) != d.validator || d.size >= 0 && resp.ContentLength != d.size {
		return fmt.Errorf("fetch %s: %w", d.name, ErrChanged)
	}
	d.watch.Reset(webSilence)
	_, err = io.CopyN(io.Discard, d.body, d.offset)
	d.watch.Stop()
	if err != nil {
		return d.resume(err)
	}
	return nil
}

// rest checks that an answer is the part that was asked for.
func (d *download) rest(resp *http.Response) error {
	from, total, ok := contentRange(resp.Header.Get("Content-Range"))
	switch {
	case !ok || from != d.offset:
		return fmt.Errorf("fetch %s: the server sent the range %q, not the rest from byte %d on", d.name, resp.Header.Get("Content-Range"), d.offset)
	case d.size >= 0 && total >= 0 && total != d.size, d.validator != "" && validator(resp) != "" && validator(resp) != d.validator:
		return fmt.Errorf("fetch %s: %w", d.name, ErrChanged)
	}
	return nil
}

// contentRange parses "bytes FROM-TO/TOTAL"; total is -1 if the server does not know it.
func contentRange(v string) (from, total int64, ok bool) {
	span, size, ok1 := strings.Cut(strings.TrimPrefix(v, "bytes "), "/")
	first, _, ok2 := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !ok1 || !ok2 || err != nil || !strings.HasPrefix(v, "bytes ") {
		return 0, 0, false
	}
	if size == "*" {
		return from, -1, true
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return from, total, err == nil
}

// stop ends the current request.
func (d *download) stop() {
	if d.watch != nil {
		d.watch.Stop()
	}
	if d.body != nil {
		d.body.Close()
		d.body = nil
	}
	if d.cancel != nil {
		d.cancel(nil)
	}
}

func (d *download) Close() error {
	d.stop()
	return nil
}
