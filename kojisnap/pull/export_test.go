package pull

import (
	"time"
)

// WithWays forces the way by which relations are had.
func (o Options) WithWays(ways map[string]string) Options {
	o.ways = ways
	return o
}

// WithBatch fixes how many ids go into a batch.
func (o Options) WithBatch(n int) Options {
	o.batch = n
	return o
}

// SetPages makes all pages of so many rows, and returns what undoes it.
func SetPages(rows int64) func() {
	was := map[string]price{}
	for name, p := range prices {
		was[name] = p
		p.page = rows
		prices[name] = p
	}
	return func() { prices = was }
}

// BatchSizes returns the sizes of batches after answers that took so long, each to a full batch.
func BatchSizes(took []time.Duration) (sizes []int) {
	var b batchSize
	b.Store(batchCalls)
	for _, d := range took {
		b.answered(int(b.Load()), d)
		sizes = append(sizes, int(b.Load()))
	}
	return sizes
}

// ManyBuilds is from how many builds on modules are found by a list of all of the hub's.
var ManyBuilds = &manyBuilds
