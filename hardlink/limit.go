package hardlink

import (
	"context"
	"io"
	"sync"
	"time"
)

// limiter lets through so many bytes a second, all readers together. A nil one
// lets through everything.
type limiter struct {
	rate float64 // bytes a second
	mu   sync.Mutex
	free time.Time // when the next byte may pass
}

func newLimiter(bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &limiter{rate: float64(bytesPerSecond)}
}

// reader also ends with the context's error once ctx is cancelled.
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

// wait takes its turn: the n bytes read occupy the line for n/rate.
func (l *limiter) wait(ctx context.Context, n int) error {
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	delay := l.free.Sub(now)
	l.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
