package scope

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
)

// FindEverything takes the place of FindAsked, FindBuilds, FindTags and FindPast where the whole catalogue is asked
// for: the scope has all tags that exist at E, and those that were deleted after an event since. It is called after
// UseBase.
func (f *Finder) FindEverything(ctx context.Context, since int64) error {
	e := everything{f: f, since: since, names: map[int64]string{}}
	now := pager.RowsOf(hub.Call{Method: "listTags"})
	if err := f.hub.Stream(ctx, now, e.listed); err != nil {
		return fmt.Errorf("tags: %w", err)
	}
	// It is read after the list, so that what changes meanwhile is in it.
	changes := pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "afterEvent": since}})
	if err := f.hub.StreamTables(ctx, changes, func(_ string, r hub.Row) error { return e.changed(r) }); err != nil {
		return fmt.Errorf("tags that changed after event %d: %w", since, err)
	}
	for id := range e.later.All() { // what is of later events
		if !e.there.Has(id) {
			e.now.Remove(id)
		}
	}
	f.Scope.Everything, f.Scope.Tags, f.Scope.All = true, []string{}, []snapfile.Tag{}
	for id, name := range e.names {
		exists := e.now.Has(id) || e.there.Has(id)
		if !exists && !e.gone.Has(id) {
			continue
		}
		if !exists {
			f.Deleted.Add(id)
		}
		f.InScope[id] = true
		f.Scope.All = append(f.Scope.All, snapfile.Tag{ID: id, Name: name})
	}
	slices.SortFunc(f.Scope.All, func(a, b snapfile.Tag) int { return int(a.ID - b.ID) })
	f.log.InfoContext(ctx, "scope: everything", "event", f.Event, "tags", len(f.Scope.All))
	return nil
}

// everything is what FindEverything finds out about tags.
type everything struct {
	f     *Finder
	since int64
	names map[int64]string
	now   idset.Set // that exist now
	later idset.Set // that changed after E
	there idset.Set // of those that changed after since, the ones that exist at E
	gone  idset.Set // that were deleted, or changed, after since and by E
}

// listed takes a tag that exists now.
func (e *everything) listed(r hub.Row) error {
	id, ok := r.Get("id").Int()
	if !ok {
		return fmt.Errorf("hub %s: %.200s is not a tag", e.f.hub.URL(), r.Value)
	}
	if err := e.name(id, r.Get("name")); err != nil {
		return err
	}
	e.now.Add(id)
	return nil
}

// changed takes a configuration of a tag.
func (e *everything) changed(r hub.Row) error {
	id, ok := r.Get("tag_id").Int()
	created, ok2 := r.Get("create_event").Int()
	if !ok || !ok2 {
		return fmt.Errorf("hub %s: %.200s is not a tag's configuration", e.f.hub.URL(), r.Value)
	}
	revoked, isRevoked := r.Get("revoke_event").Int()
	E := e.f.Event
	if created > E || isRevoked && revoked > E {
		e.later.Add(id)
	}
	if created > E || isRevoked && revoked == created {
		return nil
	}
	switch {
	case !isRevoked || revoked > E:
		e.there.Add(id)
	case revoked > e.since:
		e.gone.Add(id)
	default:
		return nil
	}
	return e.name(id, r.Get("tag.name"))
}

// name notes the name of a tag, or that no hub can send it: then the snapshot is without the tag.
func (e *everything) name(id int64, name hub.Value) error {
	if err := idset.Check(id); err != nil {
		return fmt.Errorf("tag: id %w", err)
	}
	text, ok := name.Str()
	switch why := name.Bad(); {
	case why != nil && !slices.ContainsFunc(e.f.Unnamed, func(x snapfile.LeftOut) bool { return x.ID == id }):
		e.f.Unnamed = append(e.f.Unnamed, snapfile.LeftOut{Relation: "tag", Row: fmt.Sprint("tag ", id), Reason: "tag.name: " + oneline.Of(why).Error(), Column: "id", ID: id})
	case why != nil:
	case !ok:
		return fmt.Errorf("hub %s: the name of tag %d is %s, not text", e.f.hub.URL(), id, name.Kind())
	default:
		e.names[id] = text
	}
	if len(e.names) > maxTags {
		return &hub.LimitError{Hub: e.f.hub.URL(), What: fmt.Sprintf("over %d tags", maxTags)}
	}
	return nil
}
