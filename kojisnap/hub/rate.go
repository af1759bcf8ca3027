package hub

import (
	"context"
	"sync"
	"time"

	"kojisnap/kojisnap/retry"
)

// pace lets requests begin at a rate: each waits for its turn, the first for none.
type pace struct {
	gap time.Duration // 0: no limit

	mu   sync.Mutex
	next time.Time
	held time.Time // the hub says not to come before
}

func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return &pace{}
	}
	return &pace{gap: time.Duration(float64(time.Second) / perSecond)}
}

// wait returns when the next request may begin, or with the reason that ctx ended for.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if err := sleepUntil(ctx, held); err != nil || p.gap == 0 {
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
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(p.gap)
	return at
}

func sleepUntil(ctx context.Context, at time.Time) error {
	if d := time.Until(at); d > 0 {
		return retry.Sleep(ctx, d)
	}
	return nil
}
