package pager

import "time"

// BatchSizes returns the sizes of batches after answers with these times, each to a full batch.
func BatchSizes(took []time.Duration) (sizes []int) {
	var b batchSize
	b.Store(batchCalls)
	for _, d := range took {
		b.answered(int(b.Load()), d)
		sizes = append(sizes, int(b.Load()))
	}
	return sizes
}
