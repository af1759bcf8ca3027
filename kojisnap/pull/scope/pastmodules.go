package scope

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// newPastContent is newContentTags for modules that were tagged before E. Their content tags may have been
// deleted since.
func newPastContent(f *Finder) *contentTags {
	c := newContentTags(f)
	if f.version.AtLeast(1, 26) { // getTag accepts that
		c.event = "auto"
	}
	return c
}

// followPast finds module builds that were in tags at an event after another one, but not at E. It adds their
// content tags to names, and returns the new ones. It does not report a name that is no tag: production's
// composes worked without it, too.
func (c *contentTags) followPast(ctx context.Context, tags []int64, after int64, names map[int64]string) (more []int64, err error) {
	if err := c.look(ctx); err != nil || c.none {
		return nil, err
	}
	past, err := c.pastBuilds(ctx, tags, after)
	if err != nil {
		return nil, fmt.Errorf("module builds since event %d: %w", c.f.Start, err)
	}
	if c.f.pager.WholeList(past.Len()) {
		if past, err = c.onlyModules(ctx, past); err != nil {
			return nil, fmt.Errorf("list of module builds: %w", err)
		}
	}
	builds := past.List()
	for _, id := range builds {
		c.found[id] = &snapfile.Content{Build: id, NVR: fmt.Sprint("build ", id)}
	}
	return c.add(ctx, builds, names)
}

// pastBuilds returns the builds whose taggings were revoked after S and another event, up to E.
func (c *contentTags) pastBuilds(ctx context.Context, tags []int64, after int64) (past idset.Set, err error) {
	f := c.f
	for _, tag := range tags {
		call := pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_listing"}, "tag": tag, "active": false, "afterEvent": after}})
		err := f.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error {
			created, _ := r.Get("create_event").Int()
			revoked, _ := r.Get("revoke_event").Int()
			id, ok := r.Get("build_id").Int()
			if !ok || created > f.Event || revoked <= max(created, f.Start) || c.found[id] != nil {
				return nil
			}
			past.Add(id)
			return idset.Check(id)
		})
		if pager.Broken(ctx, err, nil) {
			continue // rows that the hub cannot send are reported when the history is read
		}
		if err != nil {
			return past, err
		}
	}
	return past, nil
}

// onlyModules returns the modules among builds.
func (c *contentTags) onlyModules(ctx context.Context, builds idset.Set) (modules idset.Set, err error) {
	call := pager.RowsOf(hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": "module", "state": tagged.Complete}})
	err = c.f.hub.Stream(ctx, call, func(r hub.Row) error {
		if id, ok := r.Get("build_id").Int(); ok && builds.Has(id) {
			modules.Add(id)
		}
		return nil
	})
	if pager.Broken(ctx, err, nil) { // the row of some module
		return builds, nil
	}
	return modules, err
}
