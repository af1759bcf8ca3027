package source

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"kojisnap/hardlink/content"
	"kojisnap/kojisnap/retry"
)

// limiter limits the bytes a second of all its readers together. A nil limiter has no limit.
type limiter struct {
	*rate.Limiter
	begun atomic.Bool
}

func newLimiter(bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	// Little may pass at once after a pause, so that the rate holds in each second.
	burst := int(max(1, min(bytesPerSecond/100, content.BufferSize)))
	return &limiter{Limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), burst)}
}

// reader also ends with ctx's error once ctx is canceled.
func (l *limiter) reader(ctx context.Context, r io.Reader) io.Reader {
	return limitedReader{ctx, l, r}
}

type limitedReader struct {
	ctx context.Context
	l   *limiter
	r   io.Reader
}

func (r limitedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if r.l != nil && n > 0 {
		if werr := r.l.wait(r.ctx, n); werr != nil {
			return n, werr
		}
	}
	return n, err
}

// wait waits for n bytes' turn: they occupy the line for n/rate.
func (l *limiter) wait(ctx context.Context, n int) error {
	now := time.Now()
	if !l.begun.Swap(true) {
		l.AllowN(now, l.Burst()) // the first bytes wait, too
	}
	var delay time.Duration
	for n > 0 { // a reservation cannot exceed the burst
		part := min(n, l.Burst())
		delay = l.ReserveN(now, part).DelayFrom(now)
		n -= part
	}
	if retry.Sleep(ctx, delay) != nil {
		return ctx.Err()
	}
	return nil
}
