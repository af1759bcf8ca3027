package scope

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/pager"
)

// History is the scope at all events from an event S on: besides the view at E each row that was revoked
// after S, with everything that it refers to. queryHistory returns both. So the view at an event N from S to
// E is the rows with create_event ≤ N < revoke_event.
//
// A tag that was inherited at an event since S, but not at E, is in the scope like any other, and so is the
// content tag of a module that was tagged at an event since S.
//
// A pull with a base keeps the base's revoked rows. It asks for those revoked since, like each pull, and for
// the history of tags that the base has not or not from S on.

// FindStart finds S, if history is asked for.
func (f *Finder) FindStart(ctx context.Context) error {
	o := &f.opt
	switch {
	case o.Since < 0:
		return fmt.Errorf("history since event %d: events count from 1", o.Since)
	case o.Since > 0:
		v, err := f.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{o.Since}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric || err == nil && v.Kind() == hub.Nil {
			return fmt.Errorf("history: %w", &NoEventError{f.hub.URL(), o.Since})
		}
		if err != nil {
			return fmt.Errorf("history since event %d: %w", o.Since, err)
		}
		return f.startHistory(v, fmt.Sprint("event ", o.Since))
	case o.SinceTime.IsZero():
		return nil
	}
	before := o.SinceTime.UTC()
	now, err := f.hub.Clock(ctx)
	if err != nil {
		return fmt.Errorf("hub %s: %w", f.hub.URL(), err)
	}
	if before.After(now) {
		return fmt.Errorf("history since %s: by the hub's clock it is %s: give an earlier time (--since)", before.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	v, there, err := f.LastEvent(ctx, before)
	switch {
	case err != nil:
		return fmt.Errorf("history since %s: %w", before.Format(time.RFC3339), err)
	case !there:
		f.Start = 1 // older than all events: nothing was revoked by the first
		return nil
	}
	return f.startHistory(v, before.Format(time.RFC3339))
}

// startHistory takes the answer about the event where history begins. The snapshot has that event, so that
// calls can be pinned at it.
func (f *Finder) startHistory(v hub.Value, asked string) error {
	id, ok := v.Field("id").Int()
	ts, isTime := v.Field("ts").Float()
	if !ok || !isTime || id <= 0 {
		return fmt.Errorf("hub %s: %.200s is not an event", f.hub.URL(), v)
	}
	if id > f.Event {
		return fmt.Errorf("history since %s: that is event %d, later than event %d, which the pull is of: give an earlier one (--since)", asked, id, f.Event)
	}
	f.Start, f.Times[id] = id, ts
	return nil
}

// FindPast adds these tags to the scope: those that were inherited since S, those with the rpms of modules
// that were tagged since S, and everything that all of these inherited from.
func (f *Finder) FindPast(ctx context.Context) error {
	if f.Start == 0 {
		return nil
	}
	names := map[int64]string{}
	for _, t := range f.Scope.All {
		names[t.ID] = t.Name
	}
	after := f.Start
	if f.sameHistory && !f.opt.NoContentTags { // the base's content tags may not be wanted any longer
		were := map[int64]string{} // inherited since S, whatever they are now
		for _, t := range f.base.Manifest.Scope.All {
			if _, known := names[t.ID]; !known {
				were[t.ID] = t.Name
			}
		}
		now, err := f.pastNames(ctx, were)
		if err != nil {
			return err
		}
		maps.Copy(names, now)
		after = min(f.after, f.base.Manifest.Event)
	}
	var level []int64
	for id := range names {
		level = append(level, id)
	}
	content := newPastContent(f)
	for len(level) > 0 {
		slices.Sort(level)
		found, err := f.pastParents(ctx, level, after, names)
		if err != nil {
			return fmt.Errorf("inheritance since event %d: %w", f.Start, err)
		}
		modules, err := content.followPast(ctx, level, after, names)
		if err != nil {
			return err
		}
		found = append(found, modules...)
		known := len(names)
		if _, err := f.inherited(ctx, slices.Clone(found), names); err != nil {
			return err
		}
		level = found
		if len(names) > known { // what these inherit from at E has a history, too
			level = level[:0]
			for id := range names {
				level = append(level, id)
			}
		}
		after = f.Start // for tags that the base may not have
	}
	if len(names) == len(f.Scope.All) {
		return nil
	}
	f.setScope(ctx, names)
	return nil
}

// pastParents adds tags to names: those that some tags inherited from at an event after another one, but not
// at E. It returns the new ones.
func (f *Finder) pastParents(ctx context.Context, tags []int64, after int64, names map[int64]string) (found []int64, err error) {
	add := func(tag int64, link hub.Value) error {
		child, _ := link.Field("tag_id").Int()
		created, _ := link.Field("create_event").Int()
		revoked, _ := link.Field("revoke_event").Int()
		if child != tag || created > f.Event || revoked <= max(created, f.Start) {
			return nil // the filter also returns the links to children
		}
		id, ok := link.Field("parent_id").Int()
		name, named := link.Field("parent.name").Str()
		if !ok || !named {
			return fmt.Errorf("tag %d: no parent in %s", tag, link)
		}
		if err := idset.Check(id); err != nil {
			return fmt.Errorf("tag %d: its parent: id %w", tag, err)
		}
		if _, known := names[id]; !known {
			names[id] = name
			found = append(found, id)
		}
		return nil
	}
	calls := make([]hub.Call, len(tags))
	for i, id := range tags {
		calls[i] = pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_inheritance"}, "tag": id, "active": false, "afterEvent": after}})
	}
	if after > f.Start { // a few
		err = f.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
			for _, link := range r.Get("tag_inheritance").Items() {
				if err := add(tags[i], link); err != nil {
					return err
				}
			}
			return nil
		})
		return found, err
	}
	for i, call := range calls {
		err := f.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error { return add(tags[i], r.Value) })
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pastNames asks for the names of tags that only the history has, as the base knew them. It returns those
// that the hub has.
func (f *Finder) pastNames(ctx context.Context, tags map[int64]string) (map[int64]string, error) {
	var ids []int64
	for id := range tags {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	now := map[int64]string{}
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "tag": id}})
		now[id] = tags[id]
	}
	err := f.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		for _, config := range r.Get("tag_config").Items() {
			if name, ok := config.Field("tag.name").Str(); ok {
				now[ids[i]] = name
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("names of tags that were inherited: %w", err)
	}
	return now, nil
}
