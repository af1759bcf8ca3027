package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/tagged"
)

// Everything: a pull of the whole catalogue reads as any other, with these differences. The history comes by tables
// and not by tags, of which there are thousands: the rows of the view in windows of events, what changed in one reply.
// Builds are wanted if they are complete, too; new ones are found by the times of their creation and completion. All
// packages are read.

const (
	// windowRows is about how many rows of the history one reply has.
	windowRows = 20_000
	// mostChanged is how many changed rows of a table are asked for in one reply; more are asked for by tag.
	mostChanged = 50_000
	// someWindows is into how many windows the events are cut at first where the hub cannot count rows: of the largest
	// hubs' ten million rows one has windowRows or less.
	someWindows = 1000
)

// countsHistory reports whether the hub counts the rows of queryHistory. Before Koji 1.34 it knows no queryOpts there,
// says nothing about it, and answers with all rows.
func countsHistory(v hub.Version) bool { return v.AtLeast(1, 34) }

// askAllHistory reads the versioned relations of all tags.
func (h historyReader) askAllHistory(ctx context.Context, t task) error {
	bar := h.opt.Progress.Begin("history", int64(len(tagHistory)))
	defer bar.End()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(h.hub.Jobs())
	for _, name := range tagHistory {
		g.Go(func() error {
			if err := h.tableHistory(gctx, t, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			bar.Add(1)
			return nil
		})
	}
	return g.Wait()
}

// tableHistory reads the history of one relation.
func (h historyReader) tableHistory(ctx context.Context, t task, name string) error {
	if h.inc == nil {
		if err := h.windows(ctx, t, name); err != nil {
			return err
		}
		return h.changedRows(ctx, t, name, "revoked", map[string]any{"active": false, "afterEvent": h.since})
	}
	if err := h.changedRows(ctx, t, name, "later", map[string]any{"afterEvent": h.inc.after}); err != nil {
		return err
	}
	// What the base lacks of single tags.
	for _, tag := range h.Scope.All {
		if !h.inc.tags[tag.ID] || h.inc.whole[name][tag.ID] {
			err := h.history(ctx, t, fmt.Sprint(name, " of ", tag.ID), name, map[string]any{"tag": tag.ID}, func(r hub.Value) bool { return isOf(r, tag.ID) })
			if err != nil {
				return fmt.Errorf("tag %s: %w", tag.Name, err)
			}
		}
		if from := h.inc.missingHistory(tag.ID); from > 0 {
			kwargs := map[string]any{"tag": tag.ID, "active": false, "afterEvent": h.Start, "beforeEvent": from + 1}
			if err := h.rowsOf(ctx, t, name, fmt.Sprint(name, " earlier ", tag.ID), kwargs); err != nil {
				return fmt.Errorf("tag %s: %w", tag.Name, err)
			}
		}
	}
	return nil
}

// windows reads the active rows of a relation, in windows of events that follow each other. How wide one is depends on
// how many rows the one before had.
func (h historyReader) windows(ctx context.Context, t task, name string) error {
	width := max(1, h.Event/someWindows)
	if countsHistory(h.version) {
		rows, err := h.countHistory(ctx, t, name, map[string]any{"active": true})
		if err != nil {
			return err
		}
		width = max(1, h.Event*h.opt.windowRows/max(h.opt.windowRows, rows))
	}
	for after := int64(0); after < h.Event; {
		until := min(after+width, h.Event)
		kwargs := map[string]any{"active": true, "beforeEvent": until + 1}
		if after > 0 {
			kwargs["afterEvent"] = after
		}
		got, err := checkpoint.Once(ctx, t.stage, fmt.Sprintf("%s from %d to %d", name, after, until), func(b *checkpoint.Batch) (int64, error) {
			n := int64(0)
			err := h.askRows(ctx, t.in(b), name, kwargs, &n)
			return n, err
		})
		if err != nil {
			return err
		}
		after = until
		switch {
		case got > 2*h.opt.windowRows:
			width = max(1, width*h.opt.windowRows/got)
		case got < h.opt.windowRows/2:
			width *= 2
		}
	}
	return nil
}

// countHistory asks how many rows of a relation's history a query returns.
func (h historyReader) countHistory(ctx context.Context, t task, name string, kwargs map[string]any) (int64, error) {
	counted := map[string]any{"tables": []any{name}, "queryOpts": map[string]any{"countOnly": true}}
	for k, v := range kwargs {
		counted[k] = v
	}
	return checkpoint.Once(ctx, t.stage, fmt.Sprint("rows of ", name, " ", kwargs), func(*checkpoint.Batch) (int64, error) {
		v, err := h.hub.Call(ctx, hub.Call{Method: "queryHistory", Kwargs: counted})
		if err != nil {
			return 0, fmt.Errorf("count: %w", err)
		}
		n, ok := v.Field(name).Int()
		if !ok {
			return 0, fmt.Errorf("queryHistory answered %s to a count", v.Field(name).Kind())
		}
		return n, nil
	})
}

// changedRows reads the rows of a relation that changed after an event: in one reply, or, where that would be too
// large, by tag. Where the hub cannot count them, the events since are taken for their number.
func (h historyReader) changedRows(ctx context.Context, t task, name, key string, kwargs map[string]any) error {
	rows := h.Event - kwargs["afterEvent"].(int64)
	if countsHistory(h.version) {
		var err error
		if rows, err = h.countHistory(ctx, t, name, kwargs); err != nil {
			return err
		}
	}
	if rows <= h.opt.mostChanged {
		return h.rowsOf(ctx, t, name, name+" "+key, kwargs)
	}
	for _, tag := range h.Scope.All {
		of := map[string]any{"tag": tag.ID}
		for k, v := range kwargs {
			of[k] = v
		}
		if err := h.rowsOf(ctx, t, name, fmt.Sprint(name, " ", key, " of ", tag.ID), of); err != nil {
			return fmt.Errorf("tag %s: %w", tag.Name, err)
		}
	}
	return nil
}

// rowsOf reads the rows of a relation that a query returns, as the part of the stage that key names.
func (h historyReader) rowsOf(ctx context.Context, t task, name, key string, kwargs map[string]any) error {
	return t.do(ctx, key, func(t task) error { return h.askRows(ctx, t, name, kwargs, new(int64)) })
}

// askRows adds the rows of a relation that a query returns, as far as they are of tags of the scope, and counts all.
func (h historyReader) askRows(ctx context.Context, t task, name string, kwargs map[string]any, n *int64) error {
	kwargs["tables"] = []any{name}
	var ours error
	put := func(r hub.Row) error {
		*n++
		ours = nil
		if id, ok := r.Get("tag_id").Int(); !ok || h.InScope[id] && isOf(r.Value, kwargs["tag"]) {
			_, ours = t.putVersioned(name, r.Value)
		}
		return ours
	}
	return h.stream(ctx, t, name, kwargs, put, &ours)
}

// isOf reports whether a row is about a tag, nil for any: for inheritance, the filter also returns the links to
// children. A row that does not say it is taken, as it is no valid row, and an error.
func isOf(r hub.Value, tag any) bool {
	id, ok := r.Field("tag_id").Int()
	return !ok || tag == nil || id == tag
}

// completeBuilds returns the builds that are complete and were created by E. It pages through the list of all builds,
// of whatever state: from that none is ever gone, as Koji deletes no row of a build, and new ones are at its end. In a
// list of complete ones each build that is deleted, and each that completes, moves all that follow, and Koji's
// garbage collector deletes thousands. That list is taken if the hub cannot send the row of some build.
func (b buildReader) completeBuilds(ctx context.Context) (ids *idset.Set, err error) {
	err = b.inStage(ctx, "complete", func(t task) (err error) {
		if ids, err = b.pageComplete(ctx, t, nil); errors.Is(err, pager.ErrUnpaged) {
			b.log.WarnContext(ctx, "asking for complete builds only", "err", err)
			ids, err = b.pageComplete(ctx, t, map[string]any{"state": tagged.Complete})
		}
		if errors.Is(err, pager.ErrUnpaged) {
			err = fmt.Errorf("the list of all complete builds: %w: mend the build's row in production, or read its database (--from-db) or a dump (--from-dump)", err)
		}
		return err
	})
	return ids, err
}

// newBuilds returns the builds that were created or completed since the base, with an overlap, and are complete. The
// overlap is for content generators, too: they say themselves when a build was completed, and import it later. Such a
// build is missed if it is in no tag, was announced (CGInitBuild) and completed before the overlap, and imported after
// the base: only a full pull finds it.
func (b buildReader) newBuilds(ctx context.Context) (*idset.Set, error) {
	since := b.momentFor(b.base.Manifest.EventTime.Add(-max(b.opt.Overlap, 0)))
	all := new(idset.Set)
	err := b.inStage(ctx, "new-builds", func(t task) error {
		for _, filter := range []string{"createdAfter", "completeAfter"} {
			some, err := b.pageComplete(ctx, t, map[string]any{filter: since})
			if errors.Is(err, pager.ErrUnpaged) {
				err = fmt.Errorf("the list of builds since the last snapshot: %w: mend the build's row in production, or read its database (--from-db) or a dump (--from-dump)", err)
			}
			if err != nil {
				return err
			}
			for id := range some.All() {
				all.Add(id)
			}
		}
		return nil
	})
	return all, err
}

// momentFor gives a time as a filter of listBuilds takes it. As text with its offset it means the same to every
// hub: of a number, hubs before 1.35 make local time without an offset, which the database takes to be of its own
// zone. Before 1.22 the database has no offsets, and such a time is right.
func (b buildReader) momentFor(at time.Time) any {
	if !b.version.AtLeast(1, 22) {
		return float64(at.UnixMicro()) / 1e6
	}
	return at.UTC().Format("2006-01-02 15:04:05.000000+00:00")
}

// pageComplete returns the complete builds of a list.
func (b buildReader) pageComplete(ctx context.Context, t task, kwargs map[string]any) (*idset.Set, error) {
	all := new(idset.Set)
	call := hub.Call{Method: "listBuilds", Kwargs: kwargs}
	noted, err := b.pager.Pages(ctx, t.stage, "build", call, "build_id", -1, pager.RowFilter{Member: "build_id", Note: true, Want: func(r hub.Value) bool {
		event, ok := r.Field("creation_event_id").Int()
		state, known := r.Field("state").Int()
		return !known || state == tagged.Complete && (!ok || event <= b.Event)
	}})
	for _, id := range noted {
		all.Add(id)
	}
	return all, err
}

// wants reports whether the base's row of a build is wanted.
func (c *incremental) wants(build int64) bool {
	return c.builder.Refers("build", build) || c.found.Scope.Everything && c.keepsBuild(build)
}

// readPackages reads all packages.
func (n nameReader) readPackages(ctx context.Context, t task) error {
	return t.do(ctx, "packages", func(t task) error {
		return n.hub.Stream(ctx, pager.RowsOf(hub.Call{Method: "listPackages"}), func(r hub.Row) error {
			id, ok := r.Get("package_id").Int()
			if !ok {
				return fmt.Errorf("listPackages: %.200s is not a package", r.Value)
			}
			if err := idset.Check(id); err != nil {
				return fmt.Errorf("listPackages: id %w", err)
			}
			return t.addNamed("package", id, r.Get("package_name"))
		})
	})
}
