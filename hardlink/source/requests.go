package source

import (
	"context"

	"golang.org/x/time/rate"
)

// newRequests returns a limit of requests a second; nil: none.
func newRequests(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), 1)
}

// turn waits until a source may be asked for one more file.
func (l *Set) turn(ctx context.Context, s Source) error {
	if limit := l.requests[s]; limit != nil {
		if err := limit.Wait(ctx); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
