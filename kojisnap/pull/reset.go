package pull

import (
	"context"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/snapshot"
)

// A reset of a build (Koji's resetBuild) deletes its taggings without an event, and a build is deleted when
// no tag has it any longer. So the last snapshot would have the last that is known of it. Therefore a pull
// asks once more for a build that leaves. If it is no longer complete, its row goes to the revoked rows of
// the relation build.

// leftBuilds returns the builds that the last snapshot has as complete, in tags of the scope, and that this
// pull does not have.
func (b buildReader) leftBuilds(ctx context.Context, now *idset.Set) ([]int64, error) {
	last, err := b.lastSnapshot(ctx)
	if err != nil || last == nil {
		return nil, err
	}
	left, err := snapshot.LeftBuilds(ctx, last, func(tag int64) bool { return b.InScope[tag] }, now)
	if err != nil {
		return nil, err
	}
	return left.List(), nil
}

// readLeft asks for the builds that left.
func (b buildReader) readLeft(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return b.inStage(ctx, "left-builds", func(t task) error { return b.askLeft(ctx, t, t.stage.Rest(ids)) })
}

func (b buildReader) askLeft(ctx context.Context, t task, ids []int64) error {
	bar := b.opt.Progress.Begin("builds that left", int64(len(ids)))
	defer bar.End()
	return b.pager.Batches(ctx, t.stage, ids, bar, func(ctx context.Context, batch *checkpoint.Batch, ids []int64) error {
		t := t.in(batch)
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "getBuild", Args: []any{id}}
		}
		return t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
			state, _ := r.Get("state").Int()
			if r.IsNil() || state == 1 { // a build without a row does not exist; an untagged one is not reset
				return nil
			}
			return t.putBuild(ids[i], r.Value, true)
		}, func(i int, err error) error {
			b.log.WarnContext(ctx, "what became of a build that left the scope is not known", "build", ids[i], "err", err)
			return nil
		})
	})
}
