package slow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Err is in the error of reading an answer that was too slow.
var Err = errors.New("the answer comes too slowly")

// errSilent is the cause of a request whose answer stopped.
var errSilent = errors.New("the server sends nothing more")

// Client sends requests, and ends answers that are too slow, or stop.
type Client struct {
	// Send sends a request, as http.Client's and http.RoundTripper's methods do.
	Send    func(*http.Request) (*http.Response, error)
	Silence time.Duration // how long an answer that has begun may stop; 0: as long as Window, negative: no limit here
	Window  time.Duration // see Meter
}

// RoundTrip implements http.RoundTripper.
func (c Client) RoundTrip(req *http.Request) (*http.Response, error) { return c.Do(req) }

// Do sends a request.
func (c Client) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := c.Send(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return resp, err
	}
	resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, silence: c.Silence, Meter: Meter{Window: c.Window}}
	return resp, nil
}

// body is an answer's.
type body struct {
	io.ReadCloser
	Meter
	ctx     context.Context
	cancel  context.CancelCauseFunc
	silence time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	limit, why := b.Wait(b.silence)
	if why == nil {
		why = errSilent
	}
	if limit > 0 {
		timer := time.AfterFunc(limit, func() { b.cancel(why) })
		defer timer.Stop()
	}
	n, err := b.Reads(b.ReadCloser, p)
	if err != nil && err != io.EOF {
		switch cause := context.Cause(b.ctx); cause {
		case Err:
			err = fmt.Errorf("%w: less than %d bytes a second over %s", Err, Rate, b.Span())
		case errSilent:
			err = fmt.Errorf("%w for %s", errSilent, limit)
		}
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
