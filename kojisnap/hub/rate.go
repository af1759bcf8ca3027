package hub

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kojisnap/kojisnap/retry"
)

// pace lets requests begin at a rate: each waits for its turn, the first for none.
type pace struct {
	limit *rate.Limiter // nil: no limit

	mu   sync.Mutex
	held time.Time // the hub says not to come before
}

func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return &pace{}
	}
	return &pace{limit: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// wait returns when the next request may begin, or with the reason that ctx ended for.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if err := sleepUntil(ctx, held); err != nil || p.limit == nil {
		return err
	}
	return sleepUntil(ctx, p.take(time.Now()))
}

// hold lets no request begin before a time.
func (p *pace) hold(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.Before(until) {
		p.held = until
	}
}

// take returns when a request that comes up now may begin, and reserves that turn.
func (p *pace) take(now time.Time) time.Time {
	return now.Add(p.limit.ReserveN(now, 1).DelayFrom(now))
}

func sleepUntil(ctx context.Context, at time.Time) error {
	if d := time.Until(at); d > 0 {
		return retry.Sleep(ctx, d)
	}
	return nil
}
