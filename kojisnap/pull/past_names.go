package pull

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
)

// A rename leaves no event. What the view refers to is named anew by each pull; what only revoked rows refer
// to that are carried over has to be asked for its name, as it may be another's by now.

// renamed are the relations whose rows Koji renames and no list has that are deleted.
var renamed = []string{"tag", "build_target", "external_repo"}

// pastNames asks for the names of tags that only history has, as the base knew them, and returns those
// that the hub has.
func (p *puller) pastNames(ctx context.Context, tags map[int64]string) (map[int64]string, error) {
	var ids []int64
	for id := range tags {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	now := map[int64]string{}
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = rowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_config"}, "tag": id}})
		now[id] = tags[id]
	}
	err := p.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
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

// nameCarried names what the revoked rows of a relation refer to that are carried over, and that nothing
// has named yet: targets, with their tags, or external repos. filter is the name of queryHistory's filter.
func (p *puller) nameCarried(ctx context.Context, name, filter, column string) error {
	rel := relation.Get(name)
	var ask idset.Set
	err := p.eachKeptRevoked(ctx, rel, func(row [][]byte) error {
		for i, c := range rel.Columns {
			if !slices.Contains(renamed, c.Ref) || row[i] == nil {
				continue
			}
			id, err := idset.Parse(row[i])
			if err != nil {
				return err
			}
			if !p.builder.Has(c.Ref, id) {
				of, err := idset.Parse(row[rel.Index(column)])
				ask.Add(of)
				return err
			}
		}
		return nil
	})
	if err != nil || ask.Len() == 0 {
		return err
	}
	ids := ask.List()
	return onceOnly(ctx, p, fmt.Sprint("names by ", name, " ", digest(ids)), func(p *puller) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = rowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{name}, filter: id}})
		}
		err := p.hub.StreamMulti(ctx, calls, func(_ int, r hub.Row) error {
			for _, config := range r.Get(name).Items() {
				if err := p.namesOf(rel, config); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("names by %s: %w", name, err)
		}
		return nil
	})
}
