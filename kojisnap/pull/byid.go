package pull

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
)

// idReader reads the rows that belong to ids, those of builds or rpms. It pages through the hub's whole table
// where that costs less, and makes one call for each id elsewhere.
type idReader struct {
	relation string // the table's
	name     string // of the rows, for the progress and for errors: "rpms"
	owner    string // what an id stands for, for errors: "build"
	method   string // gives the rows of one id, which is its only argument

	pages func(ids *idset.Set, rows int64) error // reads the rows of ids from the table
	batch func(t task) idBatch                   // is called once for each batch of calls
	calls *failing                               // judges the calls
}

// idBatch takes the answers to a batch of an idReader's calls.
type idBatch struct {
	put   func(r hub.Row) error
	apart func(ctx context.Context, call hub.Call, id int64, why error) error // handles a call that failed
	end   func(ctx context.Context) error                                     // runs after the last answer; may be nil
}

// askByID runs an idReader for the ids that the stage has not finished yet.
func (t task) askByID(ctx context.Context, r idReader, ids *idset.Set) error {
	done, err := t.pager.Table(ctx, t.stage, r.relation, ids, r.pages)
	if done || err != nil {
		return err
	}
	ids = t.stage.Rest(ids)
	bar := t.opt.Progress.Begin(r.name, int64(ids.Len()))
	defer bar.End()
	err = t.pager.Batches(ctx, t.stage, ids, bar, func(ctx context.Context, b *checkpoint.Batch, ids []int64) error {
		return t.in(b).askBatch(ctx, r, ids)
	})
	if err != nil {
		return err
	}
	return r.calls.end()
}

// askBatch makes the calls for some ids in one multicall.
func (t task) askBatch(ctx context.Context, r idReader, ids []int64) error {
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = hub.Call{Method: r.method, Args: []any{id}}
	}
	b := r.batch(t)
	bad := make([]bool, len(ids))
	err := t.pager.Each(ctx, calls, func(_ int, row hub.Row) error { return b.put(row) }, func(i int, err error) error {
		bad[i] = true
		if err := b.apart(ctx, calls[i], ids[i], err); err != nil {
			return err
		}
		return r.calls.failed(ids[i], fmt.Errorf("%s of %s %d: %w", r.name, r.owner, ids[i], err))
	})
	r.calls.passed(bad)
	if err != nil || b.end == nil {
		return err
	}
	return b.end(ctx)
}
