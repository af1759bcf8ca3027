package verify

import (
	"context"

	"kojisnap/kojisnap/hub"
)

// tagRef is a tag as production knows it. Calls name it by its id: staging may have given it
// another name, and production may have by now.
type tagRef struct {
	id   int64
	name string
}

// stagingTag is staging's row for a tag of production's.
type stagingTag struct {
	tagRef
	there bool  // at the event
	err   error // of the hub that was asked for it; id and name are then what is likely
}

// names tells the rows of production's from staging's, of a relation whose rows are known by name:
// where staging gave a row another name, and where it has another id.
type names struct {
	production map[int64]string // names by production's ids
	ids        map[int64]int64  // production's ids by staging's, where they differ
}

func newNames(ids map[int64]int64) *names {
	n := &names{production: map[int64]string{}, ids: map[int64]int64{}}
	for production, staging := range ids {
		n.ids[staging] = production
	}
	return n
}

// of returns production's name of a row that is called name in staging; name itself if production
// is not known to have the row.
func (n *names) of(id int64, name string) string {
	if production, ok := n.ids[id]; ok {
		id = production
	}
	if production, ok := n.production[id]; ok {
		return production
	}
	return name
}

// findTags asks staging's hub for its rows of tags of production's: by the id, which is
// production's own unless the database has another on record, and if there is no such tag by the
// name. Afterwards v.here has each of them.
func (v *verifier) findTags(ctx context.Context, tags []tagRef) error {
	var missing []tagRef
	var infos []any
	for _, t := range tags {
		if _, known := v.here[t.id]; known {
			continue
		}
		id := t.id
		if other, ok := v.Record.IDs["tag"][t.id]; ok {
			id = other
		}
		v.here[t.id] = &stagingTag{tagRef: tagRef{id, t.name}}
		v.tagNames.production[t.id] = t.name
		v.tagNames.ids[id] = t.id
		missing, infos = append(missing, t), append(infos, id)
	}
	missing, err := v.askTags(ctx, missing, infos)
	if err != nil {
		return err
	}
	infos = infos[:0]
	for _, t := range missing {
		infos = append(infos, t.name)
	}
	_, err = v.askTags(ctx, missing, infos)
	return err
}

// askTags asks for tags by ids or names, and returns those that staging does not have so.
func (v *verifier) askTags(ctx context.Context, tags []tagRef, infos []any) (missing []tagRef, err error) {
	calls := make([]hub.Call, len(infos))
	for i, info := range infos {
		calls[i] = hub.Call{Method: "getTag", Args: []any{info}, Kwargs: v.staging.at(map[string]any{})}
	}
	results, err := v.staging.multi(ctx, calls)
	if err != nil {
		for _, t := range tags {
			v.here[t.id].err = err
		}
		return nil, gone(ctx, err)
	}
	for i, t := range tags {
		found := v.here[t.id]
		id, ok := results[i].Value.Field("id").Int()
		switch {
		case results[i].Err != nil:
			found.err = v.staging.failed(results[i].Err)
		case !ok || v.isAnother(t, id):
			missing = append(missing, t)
		default:
			found.id, found.name, found.there = id, text(results[i].Value.Field("name")), true
			v.tagNames.ids[id] = t.id
		}
	}
	return missing, nil
}

// isAnother reports whether the id that was found for a tag is that of another tag of production's:
// staging gave that one this name.
func (v *verifier) isAnother(t tagRef, id int64) bool {
	if id == t.id || v.Record.IDs["tag"][t.id] == id || v.Snapshot == nil {
		return false
	}
	for _, other := range v.Snapshot.Manifest.Scope.All {
		if other.ID == id {
			return true
		}
	}
	return false
}
