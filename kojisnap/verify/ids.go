package verify

import (
	"context"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
)

// tagRef is a tag. Calls name it by its id, because staging may have renamed it, and production may have by now.
type tagRef struct {
	id   int64
	name string
}

// stagingTag is staging's row for a tag of production's.
type stagingTag struct {
	tagRef
	there bool  // at the event
	err   error // of the call that asked for it; id and name are then guesses
}

// names finds production's names of staging's rows, of a relation whose rows have names: staging may have
// given a row another name or another id.
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

// of returns production's name of a row that staging calls name, or name itself if production is not known to
// have the row.
func (n *names) of(id int64, name string) string {
	if production, ok := n.ids[id]; ok {
		id = production
	}
	if production, ok := n.production[id]; ok {
		return production
	}
	return name
}

// tagFinder finds staging's rows of production's tags.
type tagFinder struct {
	staging hubAnswers
	ids     map[int64]int64       // staging's ids by production's, as far as the database says that they differ
	scope   []snapfile.Tag        // the snapshot's; empty: not known
	here    map[int64]*stagingTag // those that were looked for, by production's ids
	names   *names                // of those
}

func newTagFinder(staging hubAnswers, ids map[int64]int64, scope []snapfile.Tag) *tagFinder {
	return &tagFinder{staging: staging, ids: ids, scope: scope, here: map[int64]*stagingTag{}, names: newNames(nil)}
}

// find asks staging's hub for its rows of production's tags: by the id that the database has on record, or else
// by production's; and if there is no such tag, by the name. Afterwards f.here has each of them.
func (f *tagFinder) find(ctx context.Context, tags []tagRef) error {
	var missing []tagRef
	var infos []any
	for _, t := range tags {
		if _, known := f.here[t.id]; known {
			continue
		}
		id := t.id
		if other, ok := f.ids[t.id]; ok {
			id = other
		}
		f.here[t.id] = &stagingTag{tagRef: tagRef{id, t.name}}
		f.names.production[t.id] = t.name
		f.names.ids[id] = t.id
		missing, infos = append(missing, t), append(infos, id)
	}
	missing, err := f.ask(ctx, missing, infos)
	if err != nil {
		return err
	}
	infos = infos[:0]
	for _, t := range missing {
		infos = append(infos, t.name)
	}
	_, err = f.ask(ctx, missing, infos)
	return err
}

// ask asks for tags by ids or names, and returns those that it does not find.
func (f *tagFinder) ask(ctx context.Context, tags []tagRef, infos []any) (missing []tagRef, err error) {
	calls := make([]hub.Call, len(infos))
	for i, info := range infos {
		calls[i] = hub.Call{Method: "getTag", Args: []any{info}, Kwargs: f.staging.at(map[string]any{})}
	}
	results, err := f.staging.multi(ctx, calls)
	if err != nil {
		for _, t := range tags {
			f.here[t.id].err = err
		}
		return nil, gone(ctx, err)
	}
	for i, t := range tags {
		found := f.here[t.id]
		id, ok := results[i].Value.Field("id").Int()
		switch {
		case results[i].Err != nil:
			found.err = f.staging.failed(results[i].Err)
		case !ok || f.isAnother(t, id):
			missing = append(missing, t)
		default:
			found.id, found.name, found.there = id, text(results[i].Value.Field("name")), true
			f.names.ids[id] = t.id
		}
	}
	return missing, nil
}

// isAnother reports whether the id that was found for a tag belongs to another tag of production's, to which
// staging has given this name.
func (f *tagFinder) isAnother(t tagRef, id int64) bool {
	if id == t.id || f.ids[t.id] == id {
		return false
	}
	return slices.ContainsFunc(f.scope, func(other snapfile.Tag) bool { return other.ID == id })
}
