package pull

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/progress"
)

// batchCalls is how many calls go into one multicall at first: a reply stays below some
// megabytes. The number follows the hub's answers, within bounds.
const (
	batchCalls    = 500
	minBatchCalls = 20
	maxBatchCalls = 1000

	quickAnswer = time.Second
	slowAnswer  = 10 * time.Second
)

// batchSize is how many ids the next multicall is for.
type batchSize struct{ atomic.Int64 }

// answered takes how long a batch of n took: half as many after a slow answer, twice as many after
// a quick one to a full batch.
func (b *batchSize) answered(n int, took time.Duration) {
	size := b.Load()
	switch {
	case took > slowAnswer:
		b.CompareAndSwap(size, max(minBatchCalls, min(size, int64(n))/2))
	case took < quickAnswer && int64(n) == size:
		b.CompareAndSwap(size, min(maxBatchCalls, 2*size))
	}
}

// inBatches calls fn for slices of ids, some at the same time, with the puller that it is to use.
func (p *puller) inBatches(ctx context.Context, ids []int64, bar progress.Counter, fn func(context.Context, *puller, []int64) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.hub.Jobs())
	var size batchSize
	size.Store(batchCalls)
	for len(ids) > 0 {
		n := min(len(ids), cmp.Or(p.opt.batch, int(size.Load())))
		batch := ids[:n]
		ids = ids[n:]
		g.Go(func() error {
			if err := p.takeSlot(gctx); err != nil {
				return err
			}
			start := time.Now() // not before: to wait for a slot is not the hub's time
			q, end := p.begin()
			err := fn(gctx, q, batch)
			p.freeSlot()
			if err != nil {
				return err
			}
			size.answered(len(batch), time.Since(start))
			if err := end(gctx, batchEnd{IDs: batch}); err != nil {
				return err
			}
			bar.Add(int64(len(batch)))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// together runs steps that do not need each other, so that the hub has work while one of them
// comes to its end. They share the slots.
func together(ctx context.Context, steps ...func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		g.Go(func() error { return step(gctx) })
	}
	return g.Wait()
}

// takeSlot waits until one of the requests that may be under way is free to be made. What takes a
// slot calls nothing that takes one.
func (p *puller) takeSlot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *puller) freeSlot() { <-p.slots }
