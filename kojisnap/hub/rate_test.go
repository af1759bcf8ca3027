package hub

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	p := newPace(4)
	for i, c := range []struct{ now, at time.Duration }{
		{0, 0}, {0, 250 * time.Millisecond}, {100 * time.Millisecond, 500 * time.Millisecond},
		{2 * time.Second, 2 * time.Second}, {2 * time.Second, 2250 * time.Millisecond},
	} {
		if got := p.take(start.Add(c.now)).Sub(start); got != c.at {
			t.Errorf("request %d, come up at %s, begins at %s, want %s", i, c.now, got, c.at)
		}
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	slow := newPace(1e-9)
	if err := slow.wait(ctx); err != nil {
		t.Errorf("the first request waits: %v", err)
	}
	if err := slow.wait(ctx); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if err := newPace(0).wait(ctx); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}
