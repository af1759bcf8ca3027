// Package retry says which errors trying again may cure, and how long to wait before a request is sent again.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause is how long to wait before repetition try, counted from 0: first, doubled with each
// try up to limit, and varied by half so that clients do not come in step.
func Pause(first, limit time.Duration, try int) time.Duration {
	d := first
	for ; try > 0 && d < limit; try-- {
		d = min(2*d, limit)
	}
	return d/2 + rand.N(d/2+1)
}

// Sleep returns the context's cause if it ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TemporaryError says that trying again later may help: a server is overloaded or gone, a connection broke,
// the database restarts, or locks could not be taken.
type TemporaryError struct{ Err error }

func (e *TemporaryError) Error() string   { return e.Err.Error() }
func (e *TemporaryError) Unwrap() error   { return e.Err }
func (e *TemporaryError) Temporary() bool { return true }
