package hub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Multi makes many calls by as few multicalls as Options.BatchSize and
// MaxRequest permit, some of them at the same time, and returns a Result for each
// call in order. The hub runs the calls of a multicall one after another, but not
// at one point in time.
//
// The Result of a call has the fault of that call. Multi returns an error if a whole
// multicall failed. A fault that arises while the hub encodes the reply loses the
// results of all its calls; see [Splittable]. If the fault of one call says that the
// hub is offline, Multi repeats the whole multicall, as after a temporary error.
func (c *Client) Multi(ctx context.Context, calls []Call) ([]Result, error) {
	if err := checkAll(calls); err != nil {
		return nil, err
	}
	results := kept{results: make([]Result, len(calls))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.opts.Jobs)
	for from := 0; from < len(calls) && gctx.Err() == nil; {
		n, _, err := c.batch(calls[from:])
		if err != nil {
			g.Go(func() error { return err })
			break
		}
		first := from
		g.Go(func() error { return c.multi(gctx, calls, &results, first, n) })
		from += n
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return results.results, ctx.Err()
}

// kept are the results of calls, which are all in memory in the end.
type kept struct {
	results []Result
	bytes   atomic.Int64
}

// multi fetches the results of n calls from first, in halves if they are too many for a request.
func (c *Client) multi(ctx context.Context, calls []Call, results *kept, first, n int) error {
	body, err := c.encodeMulti(calls[first:first+n], c.limit(n))
	if err == nil {
		err = c.multiOnce(ctx, calls, results, first, n, body)
	}
	var limit *LimitError
	large := errors.As(err, &limit) && !limit.final // fewer results at a time may fit
	if n == 1 || !large && !errors.Is(err, errTooLong) && !c.tooLarge(ctx, err, len(body)) {
		return err
	}
	if err := c.multi(ctx, calls, results, first, n/2); err != nil {
		return err
	}
	return c.multi(ctx, calls, results, first+n/2, n-n/2)
}

func (c *Client) multiOnce(ctx context.Context, calls []Call, results *kept, first, n int, body []byte) error {
	return c.do(ctx, request{method: describe(calls[first : first+n]), body: body, keepBad: calls[first].KeepBad}, func(d *decoder) error {
		v, err := d.whole()
		if err != nil {
			return err
		}
		if results.bytes.Add(int64(v.t.size())) > maxKept {
			return &LimitError{What: fmt.Sprintf("results of more than %d bytes in all", int64(maxKept)), final: true}
		}
		if v.Kind() != Array || v.Len() != n {
			return fmt.Errorf("%s of %d results for %d calls", v.Kind(), v.Len(), n)
		}
		for i, e := range v.Items() {
			at := first + i
			switch {
			case e.Kind() == Array && e.Len() == 1:
				results.results[at] = Result{Value: e.Index(0)}
			case e.Kind() == Struct:
				fault, err := toFault(e)
				if err != nil {
					return &CallError{at, calls[at], err}
				}
				if Temporary(fault) {
					return fault
				}
				results.results[at] = Result{Err: &CallError{at, calls[at], fault}}
			default:
				return &CallError{at, calls[at], errors.New("neither a result nor a fault")}
			}
		}
		return nil
	})
}

// limit is how many bytes a multicall of n calls may have: a single call is sent whatever its size.
func (c *Client) limit(n int) int {
	if n == 1 {
		return c.opts.MaxRequest
	}
	return int(c.maxRequest.Load())
}

// tooLarge reports whether err says that a request is larger than the hub, or a proxy before it,
// accepts. Later multicalls are at most half as large.
func (c *Client) tooLarge(ctx context.Context, err error, size int) bool {
	var status *HTTPError
	if !errors.As(err, &status) || !status.tooLarge() {
		return false
	}
	for {
		limit := c.maxRequest.Load()
		if limit <= int64(size/2) || c.maxRequest.CompareAndSwap(limit, int64(size/2)) {
			break
		}
	}
	c.log.InfoContext(ctx, "the hub does not take requests of this size: sending smaller ones", "bytes", size, "err", err)
	return true
}

// StreamMulti makes many calls by multicalls, one after another, and gives their
// results to fn in the order of the calls, as they arrive. fn gets each element of a
// result that is an array, and any other result, nil too, as a whole. The Row is reused.
// fn must not call the Client.
//
// A call's fault ends StreamMulti with a *CallError. After a temporary error, or a
// call's fault that says that the hub is offline, StreamMulti repeats the calls whose
// results did not arrive whole. It does not if fn has seen rows of an incomplete result
// and the call has no Again.
func (c *Client) StreamMulti(ctx context.Context, calls []Call, fn func(i int, r Row) error) error {
	return c.StreamMultiFaults(ctx, calls, fn, func(e *CallError) error { return e })
}

// StreamMultiFaults is StreamMulti, but gives faults of calls to onFault, in
// order with the rows; it goes on if onFault returns nil.
func (c *Client) StreamMultiFaults(ctx context.Context, calls []Call, fn func(i int, r Row) error, onFault func(*CallError) error) error {
	if err := checkAll(calls); err != nil {
		return err
	}
	for from := 0; from < len(calls); {
		n, body, err := c.batch(calls[from:])
		if err != nil {
			return err
		}
		answered, err := c.streamBatch(ctx, calls, from, n, body, fn, onFault)
		if err != nil {
			return err
		}
		from += answered // n, or fewer after a reply was cut off
	}
	return ctx.Err()
}

// streamBatch makes one multicall of n calls from first. It returns how many were
// answered: if that is fewer than n without an error, the caller repeats the rest.
func (c *Client) streamBatch(ctx context.Context, calls []Call, first, n int, body []byte, fn func(i int, r Row) error, onFault func(*CallError) error) (int, error) {
	answered, begun, theirs := 0, false, false
	what := request{describe(calls[first : first+n]), body, calls[first].Again, calls[first].KeepBad}
	err := c.do(ctx, what, func(d *decoder) error {
		err := d.streamMulti(n, func(i int, r Row) error {
			begun = true
			return fn(first+i, r)
		}, func(i int, f *Fault) error {
			answered, begun = i+1, false
			d.settled = true // not to be asked again from the start
			if f == nil {
				return nil
			}
			return onFault(&CallError{first + i, calls[first+i], f})
		})
		theirs = d.inFn
		var reply *ReplyError
		if errors.As(err, &reply) && !theirs && answered < n && (answered > 0 || begun) {
			err = &CallError{first + answered, calls[first+answered], err}
		}
		return err
	})
	if answered == 0 && n > 1 && c.tooLarge(ctx, err, len(body)) {
		return 0, nil
	}
	if err == nil || theirs || answered == 0 || !Temporary(err) || ctx.Err() != nil {
		return answered, err
	}
	if begun {
		again := calls[first+answered].Again
		if again == nil {
			return answered, err
		}
		again()
	}
	c.log.InfoContext(ctx, "multicall cut off: asking for the rest", "answered", answered, "calls", n, "err", err)
	return answered, nil
}

// batch returns how many of the calls fit into one multicall, and its request.
func (c *Client) batch(calls []Call) (int, []byte, error) {
	for n := min(len(calls), c.opts.BatchSize); ; n /= 2 {
		body, err := c.encodeMulti(calls[:n], c.limit(n))
		switch {
		case err == nil:
			return n, body, nil
		case !errors.Is(err, errTooLong):
			return 0, nil, fmt.Errorf("encode multicall: %w", err)
		case n == 1:
			return 0, nil, fmt.Errorf("encode %s: %w", calls[0], err)
		}
	}
}

// checkAll refuses before anything is sent.
func checkAll(calls []Call) error {
	for _, call := range calls {
		if err := checkRead(call); err != nil {
			return err
		}
	}
	return nil
}

func describe(calls []Call) string {
	if len(calls) == 1 {
		return "multiCall of " + calls[0].String()
	}
	return fmt.Sprintf("multiCall of %d calls from %s", len(calls), calls[0])
}
