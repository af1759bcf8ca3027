package dbsource

import (
	"context"
	"errors"
	"fmt"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
)

// History is what the scope was at the events from some event S on: package pull/scope says what belongs to it, and
// how a snapshot has it.

// findStart finds S, where history is asked for.
func (r *run) findStart(ctx context.Context) error {
	o := &r.opt
	switch {
	case o.Since < 0:
		return fmt.Errorf("history since event %d: events count from 1", o.Since)
	case o.Since > 0:
		_, there, err := r.timeOf(ctx, o.Since)
		if err == nil && !there {
			err = fmt.Errorf("history: the %s has no event %d", r.kind, o.Since)
		}
		if err != nil {
			return err
		}
		r.start = o.Since
	case o.SinceTime.IsZero():
		return nil
	default:
		id, _, err := r.lastEvent(ctx, o.SinceTime)
		if err != nil {
			return err
		}
		if id == 0 {
			r.start = 1 // older than all events: nothing was revoked by the first
			return nil
		}
		r.start = id
	}
	if r.start > r.event {
		return fmt.Errorf("history since event %d: that is later than event %d, which the pull is of: give an earlier one (--since)", r.start, r.event)
	}
	r.builder.Refer("events", r.start)
	return nil
}

// followPast adds to the scope the tags that were inherited since S, those that hold the rpms of modules that were
// tagged since S, and what all these inherit at E.
func (r *run) followPast(ctx context.Context, tags *tagRows) error {
	if r.start == 0 {
		return nil
	}
	parents := map[int64][]int64{} // at some event since S, and no more at E
	add := func(tag, of []byte, created, revoked []byte, take func(tag, of int64)) error {
		from, to, err := eventsOf(created, revoked)
		if err != nil || from > r.event || to <= max(from, r.start) {
			return err
		}
		a, err := idset.Parse(tag)
		b, err2 := idset.Parse(of)
		take(a, b)
		return errors.Join(err, err2)
	}
	since := &Window{Since: r.start, Until: r.event}
	err := r.each(ctx, query{relation: "tag_inheritance", columns: []string{"tag_id", "parent_id", "create_event", "revoke_event"}, window: since}, func(row [][]byte) error {
		return add(row[0], row[1], row[2], row[3], func(tag, parent int64) { parents[tag] = append(parents[tag], parent) })
	})
	if err != nil {
		return err
	}
	modules := map[int64][]int64{} // content tags, by the tag that a module was in
	if !r.opt.NoContentTags {
		if modules, err = r.pastModules(ctx, tags, add); err != nil {
			return fmt.Errorf("module builds since event %d: %w", r.start, err)
		}
	}
	for known := -1; known < r.scope.inScope.Len(); {
		known = r.scope.inScope.Len()
		for _, tag := range r.scope.inScope.List() {
			r.inherit(tags, parents[tag])
			r.inherit(tags, modules[tag])
		}
	}
	return nil
}

// pastModules returns the content tags of modules whose taggings were revoked since S, by the tag that they were in.
// The tags may have been deleted since. What such a build names that is no tag is not told: production's composes did
// without it, too.
func (r *run) pastModules(ctx context.Context, tags *tagRows, add func(tag, of, created, revoked []byte, take func(tag, of int64)) error) (map[int64][]int64, error) {
	c := &contentTags{run: r}
	all, err := c.moduleBuilds(ctx)
	if err != nil || all.Len() == 0 {
		return nil, err
	}
	ofTag := map[int64][]int64{}
	var past idset.Set
	listing := query{relation: "tag_listing", columns: []string{"tag_id", "build_id", "create_event", "revoke_event"},
		where: &Where{"build_id", toBitmap(&all)}, window: &Window{Since: r.start, Until: r.event}}
	err = r.each(ctx, listing, func(row [][]byte) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return add(row[0], row[1], row[2], row[3], func(tag, build int64) {
			ofTag[tag] = append(ofTag[tag], build)
			past.Add(build)
		})
	})
	if err != nil {
		return nil, err
	}
	byName := map[string]int64{}
	for id, name := range tags.names {
		byName[name] = id
	}
	named := map[int64]int64{} // content tags, by build
	extra := query{relation: "build", columns: []string{"id", "extra"}, where: &Where{"id", toBitmap(&past)}}
	err = r.each(ctx, extra, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if name, err := tagged.ContentTagInExtra(row[1]); err == nil && byName[name] != 0 {
			named[id] = byName[name]
		}
		return nil
	})
	modules := map[int64][]int64{}
	for tag, builds := range ofTag {
		for _, b := range builds {
			if named[b] != 0 {
				modules[tag] = append(modules[tag], named[b])
			}
		}
	}
	return modules, err
}

// readEvents refers to all events since S, so that each can be pinned by name; where there are too many, to those
// that the base has, beside those that rows name.
func (r *run) readEvents(ctx context.Context) error {
	if r.start == 0 {
		return nil
	}
	from := r.start
	if r.base != nil {
		err := snapshot.EachRow(ctx, r.base, relation.Get("events"), func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			if err == nil && id >= r.start && id <= r.event {
				r.builder.Refer("events", id)
			}
			return err
		})
		if err != nil {
			return err
		}
		// Some before the base's are read again: a transaction may commit long after it took its event.
		if again := r.event - snapshot.MaxEvents; again > from && r.base.Manifest.Event > again && r.sameStart() {
			from = again
		}
	}
	if r.event-from > snapshot.MaxEvents {
		r.opt.Log.InfoContext(ctx, "only events that rows name are read", "since", from, "events", r.event-from, "most", snapshot.MaxEvents)
		return nil
	}
	ids := bitmapOf(nil)
	ids.AddRange(uint64(from)+1, uint64(r.event))
	return r.each(ctx, query{relation: "events", where: &Where{"id", ids}}, func(row [][]byte) error {
		_, err := r.builder.Add("events", row)
		return err
	})
}

// sameStart reports whether the base has the history of just the tags that it should have.
func (r *run) sameStart() bool {
	for _, t := range r.base.Manifest.Scope.All {
		if t.History != r.start {
			return false
		}
	}
	return true
}
