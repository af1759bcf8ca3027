package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"kojisnap/kojisnap/retry"
)

// do sends a request until decode has read its reply, or an error is not
// temporary, or Options.Retries are used up, or rows were given away and again,
// which is called before they are given anew, is nil.
func (c *Client) do(ctx context.Context, method string, body []byte, again func(), decode func(*decoder) error) error {
	for try := 0; ; try++ {
		started := time.Now()
		d, err := c.once(ctx, method, body, decode)
		c.stats.note(len(body), d)
		c.log.DebugContext(ctx, "hub call", "method", method, "sent", len(body), "received", d.offset(), "elapsed", time.Since(started), "err", err)
		if err == nil || d.inFn {
			return err
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("call %s: %w", method, cause)
		}
		if d.settled || d.delivered && again == nil || try >= c.retries(err) || !Temporary(err) {
			return fmt.Errorf("call %s: %w", method, err)
		}
		pause := retry.Pause(c.opts.RetryInterval, maxRetryInterval, try)
		c.log.WarnContext(ctx, "hub call to be repeated", "method", method, "pause", pause, "err", err)
		if err := retry.Sleep(ctx, pause); err != nil {
			return fmt.Errorf("call %s: %w", method, err)
		}
		if d.delivered {
			again()
		}
	}
}

// retries says how often to repeat after err. HTTP 500 once only: a hub sends it
// for text that it cannot encode as well, for ever.
func (c *Client) retries(err error) int {
	var status *HTTPError
	if errors.As(err, &status) && status.Status == http.StatusInternalServerError {
		return min(1, c.opts.Retries)
	}
	return c.opts.Retries
}

// silenceNotice is when a person is told what a request waits for. The largest calls of a busy
// hub take less.
const silenceNotice = 2 * time.Minute

// once sends a request and decodes its reply. The decoder says how far it came.
func (c *Client) once(ctx context.Context, method string, body []byte, decode func(*decoder) error) (*decoder, error) {
	none := newDecoder(method, nil, 0)
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
	w := &watch{timeout: c.opts.RequestTimeout, cancel: cancel, ctx: ctx}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return none, err
	}
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Contact != "" {
		req.Header.Set("From", c.opts.Contact)
	}
	// An empty list sends nothing, and tells net/http that the request may be
	// repeated at once when the hub closed the idle connection that it took.
	req.Header["Idempotency-Key"] = []string{}

	w.start()
	notice := time.AfterFunc(silenceNotice, func() {
		c.log.WarnContext(ctx, "the hub has not begun to answer", "method", method, "after", silenceNotice)
	})
	resp, err := c.http.Do(req)
	notice.Stop()
	w.stop()
	if err != nil {
		return none, w.explain(err)
	}
	defer resp.Body.Close()
	w.r = resp.Body
	if resp.StatusCode != http.StatusOK {
		return none, statusError(resp, w)
	}
	if isHTML(resp) {
		return none, errHTML
	}
	c.noteVersion(resp.Header.Get("Koji-Version"))
	c.noteClock(resp.Header.Get("Date"))
	d := newDecoder(method, w, c.opts.MaxReply)
	return d, decode(d)
}

// watch reads a reply's body and cancels the request if the hub is silent for
// too long. Time that the reader takes between two reads does not count.
type watch struct {
	r       io.Reader
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	timer   *time.Timer
}

func (w *watch) start() {
	switch {
	case w.timeout < 0:
	case w.timer == nil:
		w.timer = time.AfterFunc(w.timeout, func() { w.cancel(errSilent) })
	default:
		w.timer.Reset(w.timeout)
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
	n, err := w.r.Read(p)
	if err != nil && err != io.EOF {
		err = w.explain(err)
	}
	return n, err
}

func (w *watch) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errSilent) {
		return fmt.Errorf("%w (%s)", errSilent, w.timeout)
	}
	return err
}

func statusError(resp *http.Response, body io.Reader) error {
	e := &HTTPError{Status: resp.StatusCode, Reason: resp.Status}
	if to := resp.Header.Get("Location"); to != "" {
		e.Text = fmt.Sprintf("it redirects to %q", to)
	} else if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		text, _ := io.ReadAll(io.LimitReader(body, 1000)) // the status is the error
		e.Text = string(text)
	}
	return e
}

// errHTML is what a web page is told by.
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

// newHTTPClient returns a client that follows no redirects: a POST that is
// redirected becomes a GET, and a hub elsewhere is another hub.
func newHTTPClient(o Options) *http.Client {
	var h http.Client
	if o.HTTPClient != nil {
		h = *o.HTTPClient
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxIdleConnsPerHost = o.Jobs
		h.Transport = t
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}
