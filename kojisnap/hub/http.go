package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/slow"
)

// maxTold is how long a request waits in all because the hub asks for it (Retry-After). If its
// context has a deadline, the request waits up to that instead.
const maxTold = time.Hour

// do sends a request until decode has read its reply. It gives up after an error that
// is not temporary, after Options.Retries repetitions, and if rows were given away and
// again is nil; otherwise it calls again before it gives the rows a second time. If the
// hub says how long to wait (Retry-After), all requests of the Client wait, and the
// repetition does not count.
func (c *Client) do(ctx context.Context, r request, decode func(*decoder) error) error {
	var told time.Duration
	var last error
	for try := 0; ; try++ {
		started := time.Now()
		d, err := c.once(ctx, r, decode)
		c.stats.note(len(r.body), d)
		c.log.DebugContext(ctx, "hub call", "method", r.method, "sent", len(r.body), "received", d.offset(), "elapsed", time.Since(started), "err", err)
		if err == nil || d.inFn {
			return err
		}
		if cause := context.Cause(ctx); cause != nil {
			return r.ended(cause, last)
		}
		last = err
		wait := retryAfter(err)
		if d.settled || d.delivered && r.again == nil || wait == 0 && try >= c.retries(err) || !Temporary(err) {
			return fmt.Errorf("call %s: %w", r.method, adviseTLS(err, c.opts.ServerCA))
		}
		pause := retry.Pause(c.opts.RetryInterval, maxRetryInterval, try)
		if wait > 0 {
			if told += wait; !mayWait(ctx, wait, told) {
				return fmt.Errorf("call %s: %w: it asks to wait %s, and there is no time for that", r.method, err, wait)
			}
			c.pace.hold(time.Now().Add(wait))
			pause = wait
			try--
		}
		// No warning: cron mails nothing about a call that succeeds in the end; one that does not is an error.
		c.log.InfoContext(ctx, "hub call to be repeated", "method", r.method, "pause", pause, "err", err)
		if err := retry.Sleep(ctx, pause); err != nil {
			return r.ended(err, last)
		}
		if d.delivered {
			r.again()
		}
	}
}

// ended is the error of a call that a context ended, with the error before that.
func (r request) ended(cause, last error) error {
	if last == nil {
		return fmt.Errorf("call %s: %w", r.method, cause)
	}
	return fmt.Errorf("call %s: %w (tried before: %v)", r.method, cause, last)
}

// sendError is an error of sending a request or of waiting for its reply.
type sendError struct{ err error }

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

// retryAfter returns the wait that an answer asks for, 0 if it does not.
func retryAfter(err error) time.Duration {
	var status *HTTPError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}

// mayWait reports whether there is time for waits of told in all.
func mayWait(ctx context.Context, pause, told time.Duration) bool {
	if end, ok := ctx.Deadline(); ok {
		return time.Until(end) > pause
	}
	return told <= maxTold
}

// retries says how often to repeat after err. After HTTP 500 only once: a hub also
// sends it for text that it cannot encode, and then every time.
func (c *Client) retries(err error) int {
	if isInternal(err) {
		return min(1, c.opts.Retries)
	}
	return c.opts.Retries
}

func isInternal(err error) bool {
	var status *HTTPError
	return errors.As(err, &status) && status.Status == http.StatusInternalServerError
}

// silenceNotice is after which silence the user is told what a request waits for. The largest calls
// of a busy hub take less.
const silenceNotice = 2 * time.Minute

// once sends a request and decodes its reply. The decoder says how far it came.
func (c *Client) once(ctx context.Context, r request, decode func(*decoder) error) (*decoder, error) {
	none := newDecoder(r.method, nil, 0)
	select {
	case c.jobs <- struct{}{}:
		defer func() { <-c.jobs }()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	if err := c.pace.wait(ctx); err != nil {
		return none, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{timeout: c.opts.RequestTimeout, cancel: cancel, ctx: ctx, meter: slow.Meter{Window: c.opts.SlowAfter}}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(r.body))
	if err != nil {
		return none, err
	}
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Contact != "" {
		req.Header.Set("From", c.opts.Contact)
	}
	// An empty list sends no header. It tells net/http that it may repeat the
	// request at once if the hub had closed the idle connection.
	req.Header["Idempotency-Key"] = []string{}

	w.start()
	notice := time.AfterFunc(silenceNotice, func() {
		c.log.WarnContext(ctx, "the hub has not begun to answer", "method", r.method, "after", silenceNotice)
	})
	resp, err := c.http.Do(req)
	notice.Stop()
	w.stop()
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = &sendError{u.Err} // the URL is the client's, which its errors name
		}
		return none, w.explain(err)
	}
	defer resp.Body.Close()
	w.r = resp.Body
	if resp.StatusCode != http.StatusOK {
		return none, statusError(resp, w)
	}
	if isHTML(resp) {
		return none, c.passing(errHTML)
	}
	c.noteVersion(resp.Header.Get("Koji-Version"))
	c.noteClock(resp.Header.Get("Date"))
	plain, err := decoded(resp.Header.Get("Content-Encoding"), w)
	if err != nil {
		return none, err
	}
	d := newDecoder(r.method, plain, c.opts.MaxReply)
	d.keep, d.total = r.keepBad, maxTotal
	d.room.large, d.room.done = c.large, ctx
	defer d.room.leave()
	err = c.flooded(decode(d))
	if d.began {
		c.good.Store(true)
	} else {
		err = c.passing(err)
	}
	return d, err
}

// decoded decodes a body that net/http did not: net/http asks for gzip and decodes only what has
// that name; x-gzip is an older name of the same (RFC 9110, 8.4.1.3).
func decoded(encoding string, body io.Reader) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "x-gzip", "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, &readError{fmt.Errorf("Content-Encoding %s: %w", encoding, err)}
		}
		return z, nil
	}
	return nil, fmt.Errorf("the reply has the Content-Encoding %q, and gzip was asked for", clip([]byte(encoding)))
}

// passing is the error of an answer that is not XML-RPC: it is temporary if a hub answered before.
func (c *Client) passing(err error) error {
	if err == nil || !c.good.Load() || Temporary(err) {
		return err
	}
	if errors.Is(err, errHTML) {
		err = errors.New("a web page (HTML with HTTP 200)")
	}
	return &passingError{err}
}

// watch reads a reply's body. It cancels the request if the hub is silent for too
// long, or if the reply is too slow once it has begun. The reader's own time between
// two reads does not count.
type watch struct {
	r       io.Reader
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	timer   *time.Timer
	meter   slow.Meter
}

// start begins to wait for the hub.
func (w *watch) start() {
	limit, why := w.meter.Wait(w.timeout)
	if why == nil {
		why = errSilent
	}
	if limit > 0 {
		w.timer = time.AfterFunc(limit, func() { w.cancel(why) })
	}
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) Read(p []byte) (int, error) {
	w.start()
	defer w.stop()
	n, err := w.meter.Reads(w.r, p)
	if err != nil && err != io.EOF {
		err = w.explain(err)
	}
	return n, err
}

func (w *watch) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errSilent) {
		return fmt.Errorf("%w (%s)", errSilent, w.timeout)
	}
	if errors.Is(context.Cause(w.ctx), slow.Err) {
		return fmt.Errorf("%w: less than %d bytes a second over %s", slow.Err, slow.Rate, w.meter.Span())
	}
	return err
}

func statusError(resp *http.Response, body io.Reader) error {
	e := &HTTPError{Status: resp.StatusCode, Reason: resp.Status}
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		e.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if to := resp.Header.Get("Location"); to != "" {
		e.Text = fmt.Sprintf("it redirects to %q", to)
	} else if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		text, _ := io.ReadAll(io.LimitReader(body, 1000)) // the status is the error
		e.Text = string(text)
	}
	return e
}

// errHTML says that the answer is a web page.
var errHTML error = htmlError{}

type htmlError struct{}

func (htmlError) Error() string {
	return "the hub URL answered HTML (HTTP 200), not XML-RPC: is this the hub's URL (usually …/kojihub)?"
}

func (htmlError) Is(target error) bool { return target == ErrNotHub }

func isHTML(resp *http.Response) bool {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return t == "text/html" || t == "application/xhtml+xml"
}

// parseRetryAfter reads a header that is a number of seconds or a date (RFC 9110, 10.2.3). It returns
// 0 for anything else, and for a date that is past.
func parseRetryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now).Round(time.Second)
	}
	return max(wait, 0)
}

// newHTTPClient returns a client that follows no redirects: a POST that is
// redirected becomes a GET, and a hub elsewhere is another hub.
func newHTTPClient(o Options) (*http.Client, error) {
	var h http.Client
	if o.HTTPClient != nil {
		h = *o.HTTPClient
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConnsPerHost = o.Jobs
		t.MaxResponseHeaderBytes = maxHeader
		var err error
		if t.TLSClientConfig, err = tlsConfig(o); err != nil {
			return nil, err
		}
		h.Transport = t
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h, nil
}
