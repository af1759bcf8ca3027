package scope

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/tagged"
	"kojisnap/kojisnap/tagglob"
)

// NoTagsError says that patterns match no tag at all.
type NoTagsError struct {
	Hub   string
	Tags  []string
	event int64 // 0: now
}

func (e *NoTagsError) Error() string {
	at := "now"
	if e.event > 0 {
		at = fmt.Sprint("at event ", e.event)
	}
	return fmt.Sprintf("hub %s has no tag %s that is chosen by %q: correct the patterns of the tags that are pulled", e.Hub, at, e.Tags)
}

// FindAsked finds the tags asked for, at E. Each name must be a tag; a pattern may match none.
func (f *Finder) FindAsked(ctx context.Context) error {
	f.asked = map[int64]string{}
	for _, name := range f.opt.Tags.Names() {
		id, now, err := f.findTag(ctx, name)
		if err != nil {
			return err
		}
		f.asked[id] = now
	}
	if f.opt.Tags.IsNames() {
		f.Scope.Tags = f.opt.Asked
		return nil
	}
	chosen, unmatched, err := ChooseTags(ctx, f.hub, f.version, f.opt.Tags, f.Event)
	if err != nil {
		return err
	}
	maps.Copy(f.asked, chosen)
	if len(f.asked) == 0 {
		return &NoTagsError{f.hub.URL(), f.opt.Asked, f.Event}
	}
	f.Unmatched = unmatched
	f.Scope.Asked = f.opt.Asked
	f.Scope.Tags = slices.Compact(slices.Sorted(maps.Values(f.asked)))
	return nil
}

// ChooseTags finds the tags that the patterns of a set match at an event, 0 for now, and the patterns without
// a match. The hub has no list of tags at another time: ChooseTags takes today's and undoes what has changed
// since.
func ChooseTags(ctx context.Context, h *hub.Client, version hub.Version, set tagglob.Set, event int64) (chosen map[int64]string, unmatched []string, err error) {
	there := map[int64]string{} // that the patterns match
	if len(set.Patterns()) == 0 {
		return there, nil, nil
	}
	calls := []hub.Call{pager.RowsOf(hub.Call{Method: "listTags"})}
	if version.AtLeast(1, 22) {
		calls = calls[:0]
		for _, pattern := range set.Patterns() {
			calls = append(calls, pager.RowsOf(hub.Call{Method: "listTags", Kwargs: map[string]any{"pattern": pattern}}))
		}
	}
	err = h.StreamMulti(ctx, calls, func(_ int, r hub.Row) error {
		id, ok := r.Get("id").Int()
		if !ok {
			return fmt.Errorf("hub %s: %.200s is not a tag", h.URL(), r.Value)
		}
		if name, ok := r.Get("name").Str(); ok && tagged.IsTagName(name) && set.Matches(name) { // no pattern matches what is no text
			there[id] = name
		}
		if len(there) > maxTags {
			return &hub.LimitError{Hub: h.URL(), What: fmt.Sprintf("over %d tags", maxTags)}
		}
		return idset.Check(id)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("tags: %w", err)
	}
	if event > 0 {
		if err := asOf(ctx, h, set, event, there); err != nil {
			return nil, nil, fmt.Errorf("tags that changed after event %d: %w", event, err)
		}
	}
	unmatched = set.Unmatched(slices.Collect(maps.Values(there)))
	maps.DeleteFunc(there, func(_ int64, name string) bool { return !set.Has(name) })
	return there, unmatched, nil
}

// asOf turns the present tags into those at an event. It is called after they were listed, so that later
// changes are among those that it reads.
func asOf(ctx context.Context, h *hub.Client, set tagglob.Set, event int64, there map[int64]string) error {
	call := pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "afterEvent": event}})
	was := map[int64]string{}
	var changed idset.Set
	err := h.StreamTables(ctx, call, func(_ string, r hub.Row) error {
		id, ok := r.Get("tag_id").Int()
		created, ok2 := r.Get("create_event").Int()
		if !ok || !ok2 {
			return fmt.Errorf("hub %s: %.200s is not a tag's configuration", h.URL(), r.Value)
		}
		if err := idset.Check(id); err != nil {
			return err
		}
		changed.Add(id)
		revoked, isRevoked := r.Get("revoke_event").Int()
		name, ok := r.Get("tag.name").Str()
		if ok && tagged.IsTagName(name) && set.Matches(name) && created <= event && (!isRevoked || revoked > event) {
			was[id] = name
		}
		if len(was) > maxTags {
			return &hub.LimitError{Hub: h.URL(), What: fmt.Sprintf("over %d tags", maxTags)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.DeleteFunc(there, func(id int64, _ string) bool { return changed.Has(id) })
	maps.Copy(there, was)
	return nil
}

// maxTags is more tags than a hub has, and more than there is memory for.
const maxTags = 200000
