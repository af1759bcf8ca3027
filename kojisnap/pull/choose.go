package pull

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// chooseBuilds decides, after the history was read, which builds are tagged and which of them are asked for.
func (b buildReader) chooseBuilds(ctx context.Context) error {
	c := b.inc
	c.tagged = *b.builder.Referred("build") // including those asked for by name
	rel := relation.Get("tag_listing")
	keep := c.Keeps(rel)
	build := rel.Index("build_id")
	err := snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if kept {
			var id int64
			id, err = idset.Parse(row[build])
			c.tagged.Add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = b.inc.eachKeptRevoked(ctx, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[build])
		c.tagged.Add(id)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.findNew(ctx); err != nil {
		return err
	}
	if err := c.findAgain(ctx); err != nil {
		return err
	}
	rel = relation.Get("build")
	state, draft, created := rel.Index("state"), rel.Index("draft"), rel.Index("create_event")
	err = snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		c.known.Add(id)
		if b.opt.Everything && string(row[state]) == "1" {
			c.tagged.Add(id)
		}
		switch {
		case string(row[state]) == "2": // only a reset brings it back, and that leaves no tagging
			c.deleted.Add(id)
		case string(row[state]) != "1" || string(row[draft]) == "t":
			c.unsettled.Add(id)
		}
		if c.tagged.Has(id) && (c.touched.Has(id) || b.Named.Has(id) || c.unsettled.Has(id) || c.again.Has(id) || c.inSweepSlice(id)) {
			c.ask.Add(id)
			c.created[id], err = idset.Parse(row[created])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range c.tagged.Without(&c.known) {
		c.ask.Add(id)
	}
	b.log.InfoContext(ctx, "builds", "tagged", c.tagged.Len(), "asked", c.ask.Len())
	return nil
}

// findNew finds builds that are complete since the base: of everything all, else those of the scope as far as that
// costs little.
func (b buildReader) findNew(ctx context.Context) error {
	if !b.opt.Everything {
		return b.inStage(ctx, "completed", func(t task) error { return b.askCompleted(ctx, t) })
	}
	found, err := b.newBuilds(ctx)
	if err != nil {
		return err
	}
	for id := range found.All() {
		b.inc.tagged.Add(id)
		b.inc.touch(id)
	}
	return nil
}

// askCompleted asks which builds were completed recently. If the hub has many compared to the scope, it
// leaves them to the sweep. Promoted drafts need no such question (which no release up to 1.35.3 could
// answer): builds that were drafts in the base are asked for anyway.
func (b buildReader) askCompleted(ctx context.Context, t task) error {
	since := b.momentFor(b.base.Manifest.EventTime.Add(-max(b.opt.Overlap, 0)))
	call := pager.RowsOf(hub.Call{Method: "listBuilds", Kwargs: map[string]any{"completeAfter": since}})
	n, err := b.pager.Count(ctx, t.stage, call)
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	if n > int64(max(100, b.inc.tagged.Len()/50)) {
		b.log.InfoContext(ctx, "left to the sweep", "completed builds", n)
		return nil
	}
	err = t.do(ctx, "completed", func(t task) error {
		return b.hub.Stream(ctx, call, func(r hub.Row) error {
			if id, ok := r.Get("build_id").Int(); ok {
				t.touch(id)
			}
			return nil
		})
	})
	if pager.Broken(ctx, err, nil) { // the row of some build, perhaps outside the scope
		b.log.InfoContext(ctx, "left to the sweep", "completed builds", n, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("builds completed since the base: %w", err)
	}
	return nil
}
