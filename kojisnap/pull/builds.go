package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
)

// buildReader reads builds and what belongs to them.
type buildReader struct{ *run }

// read reads the builds that tagging refers to, with their rpms, signatures, types and
// archives.
func (b buildReader) read(ctx context.Context) error {
	if err := b.readBuilds(ctx); err != nil {
		return err
	}
	// If a draft is promoted between two calls, its build and its rpms disagree, which no schema accepts:
	// read both again.
	for round := 0; ; round++ {
		promoted := b.drafts.differ()
		if len(promoted) == 0 {
			break
		}
		if round == 3 {
			for _, id := range promoted {
				(task{run: b.run}).skipBuild("build", id, errors.New("it is a draft, but its rpms are not, or the other way round"))
			}
			break
		}
		if err := b.getBuilds(ctx, "", idset.Of(promoted), false); err != nil {
			return err
		}
		had := b.builder.Added("rpminfo")
		if err := b.listRPMs(ctx, "", idset.Of(promoted)); err != nil {
			return err
		}
		if err := b.askSignatures(ctx, task{run: b.run}, b.builder.Added("rpminfo").Minus(had)); err != nil {
			return err
		}
	}
	return nil
}

// readBuilds reads the tagged builds that have to be asked for, with what belongs to them. A pull that keeps
// rows of a base knows these builds only after it has read their rows.
func (b buildReader) readBuilds(ctx context.Context) error {
	var ids *idset.Set
	var steps []func(context.Context) error
	if b.inc != nil {
		var err error
		if ids, err = b.buildsToAsk(ctx); err != nil {
			return err
		}
	} else {
		tagged := b.builder.Referred("build")
		if b.opt.Everything {
			complete, err := b.completeBuilds(ctx)
			if err != nil {
				return err
			}
			for id := range complete.All() {
				tagged.Add(id)
			}
		}
		ids = tagged
		steps = append(steps, func(ctx context.Context) error { return b.getBuilds(ctx, "builds", ids, false) })
	}
	now := ids
	if b.inc != nil {
		now = &b.inc.tagged
	}
	left, err := b.leftBuilds(ctx, now)
	if err != nil {
		return err
	}
	steps = append(steps, func(ctx context.Context) error { return b.readLeft(ctx, left) })
	steps = append(steps, func(ctx context.Context) error {
		if err := b.listRPMs(ctx, "rpms", ids); err != nil {
			return err
		}
		return b.querySignatures(ctx)
	}, func(ctx context.Context) error { return b.archives().read(ctx, ids) })
	return together(ctx, steps...)
}

// buildsToAsk reads the rows of builds that may have changed since the base. It returns those whose other
// rows have to be asked for, too.
func (b buildReader) buildsToAsk(ctx context.Context) (*idset.Set, error) {
	if err := b.recheckLost(ctx); err != nil {
		return nil, err
	}
	if err := b.chooseBuilds(ctx); err != nil {
		return nil, err
	}
	if err := b.getBuilds(ctx, "builds", b.inc.ask.Clone(), true); err != nil {
		return nil, err
	}
	tagged, err := b.recheckTagging(ctx, b.recheck.sorted())
	if err != nil {
		return nil, err
	}
	if err := b.getBuilds(ctx, "tagged-builds", idset.Of(tagged), false); err != nil {
		return nil, err
	}
	return b.inc.ask.Clone(), nil
}

// getBuilds reads builds and their types. With suspicion it leaves out builds whose taggings need a recheck,
// and notes them.
func (b buildReader) getBuilds(ctx context.Context, stageName string, ids *idset.Set, suspicion bool) error {
	return b.inStage(ctx, stageName, func(t task) error { return b.askBuilds(ctx, t, ids, suspicion) })
}

func (b buildReader) askBuilds(ctx context.Context, t task, ids *idset.Set, suspicion bool) error {
	strategy, err := b.pager.Choose(ctx, t.stage, "build", t.stage.Rest(ids).Len())
	if err != nil {
		return err
	}
	if strategy.By == pager.ByTable && b.version.AtLeast(1, 27) {
		rest, err := b.buildsByType(ctx, t, ids, suspicion)
		switch {
		case errors.Is(err, pager.ErrUnpaged):
			b.log.WarnContext(ctx, "asking one by one", "relation", "build", "err", err)
		case err != nil:
			return err
		default:
			ids = rest
		}
	}
	ids = t.stage.Rest(ids)
	bar := b.opt.Progress.Begin("builds", int64(ids.Len()))
	defer bar.End()
	f := b.newFailing()
	err = b.pager.Batches(ctx, t.stage, ids, bar, func(ctx context.Context, batch *checkpoint.Batch, ids []int64) error {
		t := t.in(batch)
		calls := make([]hub.Call, 0, 2*len(ids))
		for _, id := range ids {
			calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id}}, hub.Call{Method: "getBuildType", Args: []any{id}})
		}
		found, skip, typed := make([]bool, len(ids)), make([]bool, len(ids)), make([]bool, len(ids))
		bad := func(i int, err error) error {
			id, of := ids[i/2], "build"
			if i%2 == 1 {
				if skip[i/2] || !found[i/2] {
					return nil
				}
				of, typed[i/2] = "build_types", true
			} else {
				skip[i/2] = true
			}
			t.skipBuild(of, id, err)
			return f.failed(id, fmt.Errorf("build %d: %w", id, err))
		}
		err := t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
			id := ids[i/2]
			if i%2 == 1 {
				if skip[i/2] || !found[i/2] {
					return nil
				}
				typed[i/2] = true
				return t.putTypes(id, r.Value)
			}
			if r.IsNil() {
				return nil
			}
			found[i/2] = true
			if suspicion && b.inc.needsRecheck(id, r.Value) {
				skip[i/2] = true
				t.needsRecheck(id, r.Value)
				return nil
			}
			return t.putBuild(id, r.Value, false)
		}, bad)
		var late []hub.Call // builds that only the second request found
		var of []int
		for i := range ids {
			switch {
			case err != nil:
			case !found[i] && !skip[i]:
				err = bad(2*i, b.noBuild(ids[i]))
			case found[i]:
				f.succeeded()
				if !skip[i] && !typed[i] {
					late, of = append(late, calls[2*i+1]), append(of, i)
				}
			}
		}
		if err != nil {
			return err
		}
		return t.pager.Each(ctx, late, func(i int, r hub.Row) error { return t.putTypes(ids[of[i]], r.Value) }, func(i int, err error) error { return bad(2*of[i]+1, err) })
	})
	if err != nil {
		return err
	}
	return f.end()
}

// buildsByType reads builds from the lists of builds of each type. It returns those whose rows the lists do
// not have in full: builds without a type or with a type other than rpm, which have more rows, and builds of
// content generators, which the lists do not name.
func (b buildReader) buildsByType(ctx context.Context, t task, ids *idset.Set, suspicion bool) (*idset.Set, error) {
	left := new(idset.Set)
	others, err := b.otherBuilds(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, call := range others {
		noted, err := b.pager.Pages(ctx, t.stage, "build", call, "build_id", -1, pager.RowFilter{IDs: ids, Member: "build_id", Note: true})
		if err != nil {
			return nil, err
		}
		for _, id := range noted {
			left.Add(id)
		}
	}
	rpm, isType := b.btypes["rpm"]
	if !isType {
		return ids, nil
	}
	put := func(batch *checkpoint.Batch, r hub.Value) error {
		t := t.in(batch)
		id, _ := r.Field("build_id").Int()
		if suspicion && b.inc.needsRecheck(id, r) {
			t.needsRecheck(id, r)
			return nil
		}
		if err := t.putBuild(id, r, false); err != nil {
			return err
		}
		return t.add("build_types", [][]byte{fmt.Append(nil, id), rpm})
	}
	call := hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": "rpm"}}
	found, err := b.pager.Pages(ctx, t.stage, "build", call, "build_id", -1, pager.RowFilter{IDs: ids.Minus(left), Member: "build_id", Take: put, Note: true})
	return ids.Minus(idset.Of(found)), err
}

// otherBuilds returns calls that list all builds of a type other than rpm, or of a content
// generator.
func (b buildReader) otherBuilds(ctx context.Context, t task) ([]hub.Call, error) {
	generators, err := checkpoint.Once(ctx, t.stage, "content generators", func(*checkpoint.Batch) (ids []int64, err error) {
		call := hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"cg_users"}}}
		err = b.hub.StreamTables(ctx, pager.RowsOf(call), func(_ string, r hub.Row) error {
			if id, ok := r.Get("cg_id").Int(); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			return nil
		})
		return ids, err
	})
	if err != nil {
		return nil, fmt.Errorf("content generators: %w", err)
	}
	var calls []hub.Call
	for btype := range b.btypes {
		if btype != "rpm" {
			calls = append(calls, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": btype}})
		}
	}
	for _, id := range generators {
		calls = append(calls, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"cgID": id}})
	}
	return calls, nil
}
