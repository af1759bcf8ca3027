package pull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// History is what the scope was at the events from some event S on: beside the view at E each row that
// was revoked after S, with all that it refers to. queryHistory gives both, so the view at any event
// N from S to E is the rows with create_event ≤ N < revoke_event.
//
// A tag that was inherited at some event since S, but is not at E, is a tag of the scope like any other, and
// so is the content tag of a module that was tagged at some event since S.
//
// A pull that goes on takes the base's revoked rows over. It asks for those revoked since, as any pull
// does, and for the history of tags that the base has not, or not from S on.

// settleHistory finds S, where history is asked for.
func (p *puller) settleHistory(ctx context.Context) error {
	o := &p.opt
	switch {
	case o.Since < 0:
		return fmt.Errorf("history since event %d: events count from 1", o.Since)
	case o.Since > 0:
		v, err := p.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{o.Since}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric || err == nil && v.Kind() == hub.Nil {
			return fmt.Errorf("history: %w", &noEventError{p.hub.URL(), o.Since})
		}
		if err != nil {
			return fmt.Errorf("history since event %d: %w", o.Since, err)
		}
		return p.startHistory(v, fmt.Sprint("event ", o.Since))
	case o.SinceTime.IsZero():
		return nil
	}
	before := o.SinceTime.UTC()
	now, err := p.hub.Clock(ctx)
	if err != nil {
		return fmt.Errorf("hub %s: %w", p.hub.URL(), err)
	}
	if before.After(now) {
		return fmt.Errorf("history since %s: by the hub's clock it is %s: give an earlier time (--since)", before.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	v, there, err := p.lastEvent(ctx, before)
	switch {
	case err != nil:
		return fmt.Errorf("history since %s: %w", before.Format(time.RFC3339), err)
	case !there:
		p.start = 1 // older than all events: nothing was revoked by the first
		return nil
	}
	return p.startHistory(v, before.Format(time.RFC3339))
}

// startHistory takes a reply for the event that history begins with. The snapshot has it, so that
// calls can be pinned at it.
func (p *puller) startHistory(v hub.Value, asked string) error {
	id, ok := v.Field("id").Int()
	ts, isTime := v.Field("ts").Float()
	if !ok || !isTime || id <= 0 {
		return fmt.Errorf("hub %s: %.200s is not an event", p.hub.URL(), v)
	}
	if id > p.event {
		return fmt.Errorf("history since %s: that is event %d, later than event %d, which the pull is of: give an earlier one (--since)", asked, id, p.event)
	}
	p.start = id
	p.builder.Refer("events", id)
	return p.addEvent(id, ts)
}

// followHistory adds to the scope the tags that were inherited since S, those that hold the rpms of modules
// that were tagged since S, and what all these inherited.
func (p *puller) followHistory(ctx context.Context) error {
	if p.start == 0 {
		return nil
	}
	names := map[int64]string{}
	for _, t := range p.scope.All {
		names[t.ID] = t.Name
	}
	after := p.start
	if p.sameStart() && !p.opt.NoContentTags { // the base's content tags may be wanted no longer
		were := map[int64]string{} // inherited since S, whatever is now
		for _, t := range p.base.Manifest.Scope.All {
			if _, known := names[t.ID]; !known {
				were[t.ID] = t.Name
			}
		}
		now, err := p.pastNames(ctx, were)
		if err != nil {
			return err
		}
		maps.Copy(names, now)
		after = min(p.carry.after, p.base.Manifest.Event)
	}
	var level []int64
	for id := range names {
		level = append(level, id)
	}
	content := newPastContent(p)
	for len(level) > 0 {
		slices.Sort(level)
		found, err := p.pastParents(ctx, level, after, names)
		if err != nil {
			return fmt.Errorf("inheritance since event %d: %w", p.start, err)
		}
		modules, err := content.followPast(ctx, level, after, names)
		if err != nil {
			return err
		}
		found = append(found, modules...)
		known := len(names)
		if _, err := p.inherited(ctx, slices.Clone(found), names); err != nil {
			return err
		}
		level = found
		if len(names) > known { // what those inherit at E has a past as well
			level = level[:0]
			for id := range names {
				level = append(level, id)
			}
		}
		after = p.start // of tags that the base may not have
	}
	if len(names) == len(p.scope.All) {
		return nil
	}
	return p.setScope(ctx, names)
}

// sameStart reports whether the base has the history of just the tags that it should have.
func (p *puller) sameStart() bool {
	if p.carry == nil {
		return false
	}
	for _, t := range p.base.Manifest.Scope.All {
		if t.History != p.start {
			return false
		}
	}
	return true
}

// pastParents adds to names the tags that some tags inherited at an event after another, and no more
// at E, and returns those that are new.
func (p *puller) pastParents(ctx context.Context, tags []int64, after int64, names map[int64]string) (found []int64, err error) {
	add := func(tag int64, link hub.Value) error {
		child, _ := link.Field("tag_id").Int()
		created, _ := link.Field("create_event").Int()
		revoked, _ := link.Field("revoke_event").Int()
		if child != tag || created > p.event || revoked <= max(created, p.start) {
			return nil // the filter gives the links to children, too
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
		calls[i] = rowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_inheritance"}, "tag": id, "active": false, "afterEvent": after}})
	}
	if after > p.start { // a few
		err = p.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
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
		err := p.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error { return add(tags[i], r.Value) })
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// missingHistory is the event from which on the base has the history of a tag, where that is later
// than S; 0 if nothing is missing.
func (p *puller) missingHistory(tag int64) int64 {
	if p.start == 0 || p.carry == nil || !p.carry.tags[tag] {
		return 0
	}
	if from := p.base.Manifest.HistoryFrom(tag); from > p.start {
		return from
	}
	return 0
}

// earlierHistory reads the rows of a tag that were revoked after S, and not after the event from which
// on the base has them.
func (p *puller) earlierHistory(ctx context.Context, tag snapfile.Tag, from int64) error {
	return p.tagRows(ctx, tag, map[string]any{"tables": toAny(tagHistory), "tag": tag.ID, "active": false, "afterEvent": p.start, "beforeEvent": from + 1})
}

// revokedAfter is the event after which revoked rows of a relation that no tag selects are asked for:
// what the base has is not asked for again.
func (p *puller) revokedAfter(ctx context.Context, rel *relation.Relation) (int64, error) {
	covers, err := p.coversUntagged(ctx, rel)
	if err != nil || !covers {
		return p.since, err
	}
	return max(p.since, min(p.carry.after, p.base.Manifest.Event)), nil
}

// coversUntagged reports whether the base has the history of all rows of a relation that no tag
// selects: those that the scope refers to, or that refer to it.
func (p *puller) coversUntagged(ctx context.Context, rel *relation.Relation) (bool, error) {
	if p.start == 0 || p.carry == nil {
		return false, nil
	}
	for _, t := range p.scope.All {
		if !p.carry.tags[t.ID] || p.missingHistory(t.ID) > 0 {
			return false, nil
		}
	}
	if rel.Name != "external_repo_config" {
		return true, nil
	}
	var had idset.Set
	err := snapshot.EachRow(ctx, p.base, relation.Get("external_repo"), func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		had.Add(id)
		return err
	})
	wanted := p.builder.Referred("external_repo")
	return err == nil && len(wanted.Without(&had)) == 0, err
}

// keepsRevoked returns what says which of the base's revoked rows of a relation are carried over,
// unless rows of the same key came from the hub.
func (p *puller) keepsRevoked(rel *relation.Relation) func(row [][]byte) (bool, error) {
	if p.start == 0 || p.carry == nil || !rel.Versioned {
		return func([][]byte) (bool, error) { return false, nil }
	}
	revoked, created := rel.Index("revoke_event"), rel.Index("create_event")
	var columns []int
	for i, c := range rel.Columns {
		if c.Ref == "tag" && (c.Name == "tag_id" || rel.Name == "build_target_config") {
			columns = append(columns, i)
		}
	}
	build, repo := rel.Index("build_id"), rel.Index("external_repo_id")
	return func(row [][]byte) (bool, error) {
		at, err := idset.Parse(row[revoked])
		from, err2 := idset.Parse(row[created])
		if err = errors.Join(err, err2); err != nil || at <= p.since || at > p.event || from >= at {
			return false, err
		}
		if build >= 0 { // what is left of a build that was reset was asked for
			if id, err := idset.Parse(row[build]); err != nil || p.carry.recheck.Has(id) {
				return false, err
			}
		}
		if rel.Name == "external_repo_config" {
			id, err := idset.Parse(row[repo])
			return err == nil && p.builder.Refers("external_repo", id), err
		}
		for _, i := range columns {
			id, err := idset.Parse(row[i])
			if err != nil || p.inScope[id] {
				return err == nil, err
			}
		}
		return false, nil
	}
}

// eachKeptRevoked gives the base's revoked rows of a relation that are carried over.
func (p *puller) eachKeptRevoked(ctx context.Context, rel *relation.Relation, fn func(row [][]byte) error) error {
	if p.start == 0 || p.carry == nil || !rel.Versioned {
		return nil
	}
	keep := p.keepsRevoked(rel)
	return snapshot.EachRevoked(ctx, p.carry.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if err != nil || !kept {
			return err
		}
		return fn(row)
	})
}

// foldRevoked finds what the revoked rows that are carried over refer to.
func (p *puller) foldRevoked(ctx context.Context, names ...string) error {
	for _, name := range names {
		rel := relation.Get(name)
		if err := p.eachKeptRevoked(ctx, rel, func(row [][]byte) error { return p.builder.ReferFrom(rel, row) }); err != nil {
			return err
		}
	}
	return nil
}

// recorded is the scope with the event from which on the history of each tag is whole.
func (p *puller) recorded() snapfile.Scope {
	s := p.scope
	s.All = slices.Clone(s.All)
	skipped := p.builder.Skipped()
	for i := range s.All {
		t := &s.All[i]
		t.History = max(p.since, p.holes.last(t.ID))
		for _, x := range skipped {
			if x.Tag == t.ID && x.Missing() { // some of its rows, and nobody knows which
				t.History = p.event
			}
		}
	}
	return s
}
