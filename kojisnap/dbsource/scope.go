package dbsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// scopeFound is what the scope came to.
type scopeFound struct {
	snapfile.Scope
	inScope    idset.Set // tags
	deleted    idset.Set // tags of everything that do not exist at E: only their revoked rows are wanted
	named      idset.Set // builds
	unmatched  []string
	incomplete []scope.IncompleteBuild
}

// tagRows are what tags are, at E.
type tagRows struct {
	names   map[int64]string
	there   map[int64]bool    // with a configuration at E: others are deleted, or not made yet
	parents map[int64][]int64 // by child
}

// UnknownTagError says that a source has no such tag at the event of the pull.
type UnknownTagError struct {
	Kind  string
	Tag   string
	Event int64
}

func (e *UnknownTagError) Error() string {
	return fmt.Sprintf("the %s has no tag %q at event %d", e.Kind, e.Tag, e.Event)
}

// findScope finds the tags and builds that belong to the scope.
func (r *run) findScope(ctx context.Context) error {
	tags, err := r.readTags(ctx)
	if err != nil {
		return err
	}
	asked, err := r.chooseTags(tags)
	if err != nil {
		return err
	}
	modules, err := buildFinder{r.reader, r.opt.Hub, r.opt.Builds, r.store}.find(ctx, &r.scope)
	if err != nil {
		return err
	}
	for _, id := range asked {
		r.scope.Tags = append(r.scope.Tags, tags.names[id])
	}
	slices.Sort(r.scope.Tags)
	r.scope.Tags = slices.Compact(r.scope.Tags)
	if !r.tags.IsNames() {
		r.scope.Asked = r.opt.Tags
	}
	if r.opt.NoContentTags {
		r.inherit(tags, asked)
	} else if err := r.followContent(ctx, tags, asked, modules); err != nil {
		return err
	}
	if err := r.followPast(ctx, tags); err != nil {
		return err
	}
	for id := range r.scope.inScope.All() {
		r.scope.All = append(r.scope.All, snapfile.Tag{ID: id, Name: tags.names[id]})
	}
	r.opt.Log.InfoContext(ctx, "scope", "event", r.event, "tags", len(r.scope.All), "content", len(r.scope.ContentTags()), "asked", strings.Join(r.scope.Tags, ","))
	return nil
}

// readTags reads all tags.
func (r *run) readTags(ctx context.Context) (*tagRows, error) {
	tags := &tagRows{map[int64]string{}, map[int64]bool{}, map[int64][]int64{}}
	err := r.each(ctx, query{relation: "tag"}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		tags.names[id] = string(row[1])
		return err
	})
	if err != nil {
		return nil, err
	}
	atE := &Window{Since: r.event, Until: r.event}
	err = r.each(ctx, query{relation: "tag_config", columns: []string{"tag_id"}, window: atE}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		tags.there[id] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.each(ctx, query{relation: "tag_inheritance", columns: []string{"tag_id", "parent_id"}, window: atE}, func(row [][]byte) error {
		child, err := idset.Parse(row[0])
		parent, err2 := idset.Parse(row[1])
		tags.parents[child] = append(tags.parents[child], parent)
		return errors.Join(err, err2)
	})
	return tags, err
}

// chooseTags returns the tags that are asked for: each name must be one at E, a pattern may choose none.
func (r *run) chooseTags(tags *tagRows) (asked []int64, err error) {
	missing := map[string]bool{}
	for _, name := range r.tags.Names() {
		missing[name] = true
	}
	var names []string // that patterns match
	for id, name := range tags.names {
		if !tags.there[id] {
			continue
		}
		if tagged.IsTagName(name) && r.tags.Matches(name) {
			names = append(names, name)
		}
		if missing[name] || tagged.IsTagName(name) && r.tags.Has(name) {
			delete(missing, name)
			asked = append(asked, id)
		}
	}
	for _, name := range r.tags.Names() {
		if missing[name] {
			return nil, &UnknownTagError{r.kind, name, r.event}
		}
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("the %s has no tag at event %d that is chosen by %q: correct the patterns of the tags that are pulled", r.kind, r.event, r.opt.Tags)
	}
	r.scope.unmatched = r.tags.Unmatched(names)
	slices.Sort(asked)
	return asked, nil
}

// inherit adds tags, and all that they inherit at E, to the scope, and returns those that were not in it. Links are
// followed without regard to depth limits and filters: every tag of the scope must itself answer as in production.
func (r *run) inherit(tags *tagRows, heads []int64) (added []int64) {
	for level := heads; len(level) > 0; {
		var next []int64
		for _, id := range level {
			if !r.scope.inScope.Has(id) {
				r.scope.inScope.Add(id)
				added = append(added, id)
				next = append(next, tags.parents[id]...)
			}
		}
		level = next
	}
	return added
}
