package pager

import (
	"cmp"
	"context"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/pull/checkpoint"
)

// batchCalls is how many calls the first multicall has: its reply is at most some megabytes. Later multicalls
// follow the hub's speed, within bounds.
const (
	batchCalls    = 500
	minBatchCalls = 20
	maxBatchCalls = 1000

	quickAnswer = time.Second
	slowAnswer  = 10 * time.Second
)

// batchSize is how many ids the next multicall has.
type batchSize struct{ atomic.Int64 }

// answered takes the time of a batch of n: a slow answer halves the size, a quick one to a full batch doubles
// it.
func (b *batchSize) answered(n int, took time.Duration) {
	size := b.Load()
	switch {
	case took > slowAnswer:
		b.CompareAndSwap(size, max(minBatchCalls, min(size, int64(n))/2))
	case took < quickAnswer && int64(n) == size:
		b.CompareAndSwap(size, min(maxBatchCalls, 2*size))
	}
}

// Batches calls fn for slices of ids, ascending, some of them concurrently, each with the batch of the stage that keeps
// the results.
func (p *Pager) Batches(ctx context.Context, s *checkpoint.Stage, ids *idset.Set, bar progress.Counter, fn func(context.Context, *checkpoint.Batch, []int64) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.hub.Jobs())
	var size batchSize
	size.Store(batchCalls)
	next, stop := iter.Pull(ids.All())
	defer stop()
	for {
		some := make([]int64, 0, cmp.Or(p.test.Batch, int(size.Load())))
		for len(some) < cap(some) {
			id, more := next()
			if !more {
				break
			}
			some = append(some, id)
		}
		if len(some) == 0 {
			break
		}
		g.Go(func() error {
			if err := p.takeSlot(gctx); err != nil {
				return err
			}
			start := time.Now() // waiting for a slot is not the hub's time
			batch := s.Begin()
			err := fn(gctx, batch, some)
			p.freeSlot()
			if err != nil {
				return err
			}
			size.answered(len(some), time.Since(start))
			if err := batch.Finish(gctx, some); err != nil {
				return err
			}
			bar.Add(int64(len(some)))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// takeSlot waits until another request may be made. The holder of a slot must not call anything that takes
// one.
func (p *Pager) takeSlot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Pager) freeSlot() { <-p.slots }
