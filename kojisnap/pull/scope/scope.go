package scope

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
)

// FindTags finds the tags of the scope: those asked for, everything that they inherit from at E, and the
// content tags of module builds in these and of those asked for by name, with what they inherit from. It
// follows links without regard to depth limits and filters: each tag of the scope must itself answer as in
// production.
func (f *Finder) FindTags(ctx context.Context) error {
	names := maps.Clone(f.asked)
	heads := slices.Sorted(maps.Keys(f.asked))
	content := newContentTags(f)
	more, err := content.followNamed(ctx, f.modules, names)
	if err != nil {
		return err
	}
	for heads = append(heads, more...); len(heads) > 0; {
		all, err := f.inherited(ctx, heads, names)
		if err != nil {
			return err
		}
		if heads, err = content.follow(ctx, heads, all, names); err != nil {
			return err
		}
	}
	f.Scope.Content = content.list()
	f.setScope(ctx, names)
	return nil
}

// inherited adds tags to names that the given ones inherit from. It returns the new ones and the given ones.
func (f *Finder) inherited(ctx context.Context, heads []int64, names map[int64]string) (all []int64, err error) {
	all = slices.Clone(heads)
	for level := heads; len(level) > 0; {
		calls := make([]hub.Call, len(level))
		for i, id := range level {
			calls[i] = hub.Call{Method: "getInheritanceData", Args: []any{id, f.Event}, KeepBad: true}
		}
		results, err := f.hub.Multi(ctx, calls)
		if err != nil {
			return nil, fmt.Errorf("inheritance: %w", err)
		}
		level = nil
		for i, r := range results {
			if r.Err != nil {
				return nil, fmt.Errorf("inheritance of tag %d: %w", calls[i].Args[0], r.Err)
			}
			if r.Value.Kind() != hub.Array {
				return nil, fmt.Errorf("inheritance of tag %d: the hub answered %s, not a list", calls[i].Args[0], r.Value.Kind())
			}
			for _, link := range r.Value.Items() {
				id, ok := link.Field("parent_id").Int()
				name, named := link.Field("name").Str()
				if why := link.Field("name").Bad(); ok && why != nil {
					return nil, fmt.Errorf("inheritance of tag %d: the name of tag %d: %w: rename it in production", calls[i].Args[0], id, why)
				}
				if !ok || !named {
					return nil, fmt.Errorf("inheritance of tag %d: no parent in %s", calls[i].Args[0], link)
				}
				if _, known := names[id]; !known {
					names[id] = name
					level = append(level, id)
				}
			}
		}
		all = append(all, level...)
	}
	return all, nil
}

// setScope sets the tags of the scope.
func (f *Finder) setScope(ctx context.Context, names map[int64]string) {
	f.Scope.All = nil
	for id, name := range names {
		f.InScope[id] = true
		f.Scope.All = append(f.Scope.All, snapfile.Tag{ID: id, Name: name})
	}
	slices.SortFunc(f.Scope.All, func(a, b snapfile.Tag) int { return int(a.ID - b.ID) })
	f.log.InfoContext(ctx, "scope", "event", f.Event, "tags", len(f.Scope.All), "content", len(f.Scope.ContentTags()), "asked", strings.Join(f.Scope.Tags, ","))
}

// findTag returns the id and the name of a tag at E.
func (f *Finder) findTag(ctx context.Context, name string) (id int64, now string, err error) {
	v, err := f.hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{name}, Kwargs: map[string]any{"event": f.Event}, KeepBad: true})
	if pager.Broken(ctx, err, nil) { // its extra, which the history has as text, may be no JSON or have something that cannot be sent
		return f.tagByHistory(ctx, name, err)
	}
	if err != nil {
		return 0, "", fmt.Errorf("tag %q: %w", name, err)
	}
	return f.tagOf(name, v)
}

// tagOf takes getTag's answer for a name.
func (f *Finder) tagOf(name string, v hub.Value) (id int64, now string, err error) {
	if v.IsNil() {
		return 0, "", &UnknownTagError{f.hub.URL(), name, f.Event}
	}
	id, ok := v.Field("id").Int()
	if !ok {
		return 0, "", fmt.Errorf("tag %q: getTag of hub %s answered %s, which is not a tag", name, f.hub.URL(), v.Kind())
	}
	if err := idset.Check(id); err != nil {
		return 0, "", fmt.Errorf("tag %q: id %w", name, err)
	}
	if now, ok = v.Field("name").Str(); !ok || now == "" {
		return 0, "", fmt.Errorf("tag %q: getTag of hub %s answered an empty name", name, f.hub.URL())
	}
	return id, now, nil
}

// tagByHistory returns the id and name of a tag from its history, if the hub cannot send its other values. If
// that fails, too, it returns why.
func (f *Finder) tagByHistory(ctx context.Context, name string, why error) (id int64, now string, err error) {
	why = fmt.Errorf("tag %q: %w", name, why)
	v, err := f.hub.Call(ctx, hub.Call{Method: "getTagID", Args: []any{name}})
	id, ok := v.Int()
	if err != nil || !ok {
		return 0, "", why
	}
	v, err = f.hub.Call(ctx, hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "tag": id}, KeepBad: true})
	if err != nil {
		return 0, "", why
	}
	for _, r := range v.Field("tag_config").Items() {
		created, _ := r.Field("create_event").Int()
		revoked, isRevoked := r.Field("revoke_event").Int()
		if created <= f.Event && (!isRevoked || revoked > f.Event) {
			now, _ = r.Field("tag.name").Str()
			return id, now, idset.Check(id)
		}
	}
	return 0, "", &UnknownTagError{f.hub.URL(), name, f.Event}
}
