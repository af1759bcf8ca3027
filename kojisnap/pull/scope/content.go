package scope

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
)

// A compose of modules takes the rpms of each module build from a tag of their own (its content tag), which
// the build names in its extra and no tag inherits from. So the scope has that tag, with what it inherits
// from, and the content tags of modules in these. Each new module build brings a tag whose name nobody can
// know before.
//
// A bad name of a content tag never stops a pull: production's own composes work without the tag, too.

// contentTags has what a pull knows about content tags.
type contentTags struct {
	f      *Finder
	found  map[int64]*snapfile.Content // by module build
	looked map[string]string           // tag names that were looked up, with what is wrong; "": nothing
	none   bool                        // no module can exist
	event  any                         // for getTag: the event at which the tags must exist
}

func newContentTags(f *Finder) *contentTags {
	return &contentTags{f: f, found: map[int64]*snapfile.Content{}, looked: map[string]string{}, none: f.opt.NoContentTags, event: f.Event}
}

// list returns what was found, by build.
func (c *contentTags) list() []snapfile.Content {
	var all []snapfile.Content
	for _, id := range slices.Sorted(maps.Keys(c.found)) {
		all = append(all, *c.found[id])
	}
	return all
}

// follow finds the module builds in tags. It adds their content tags to names, and returns the new ones. For
// heads, which a compose may ask for, builds in inherited tags count by the head's own package list, too.
func (c *contentTags) follow(ctx context.Context, heads, tags []int64, names map[int64]string) (more []int64, err error) {
	if err := c.look(ctx); err != nil || c.none {
		return nil, err
	}
	builds, err := c.modules(ctx, heads, tags)
	if err != nil {
		return nil, err
	}
	return c.add(ctx, builds, names)
}

// followNamed does the same for module builds that were asked for by name.
func (c *contentTags) followNamed(ctx context.Context, builds []snapfile.NamedBuild, names map[int64]string) (more []int64, err error) {
	if c.none {
		return nil, nil
	}
	var ids []int64
	for _, b := range builds {
		c.found[b.ID] = &snapfile.Content{Build: b.ID, NVR: b.Name()}
		ids = append(ids, b.ID)
	}
	return c.add(ctx, ids, names)
}

// add adds the content tags of builds in found to names, and returns the new ones.
func (c *contentTags) add(ctx context.Context, builds []int64, names map[int64]string) (more []int64, err error) {
	if len(builds) == 0 {
		return nil, nil
	}
	if err := c.readExtra(ctx, builds); err != nil {
		return nil, err
	}
	return c.lookUp(ctx, builds, names)
}

// look finds out, once, whether the hub has any module. Most hubs have none, and are asked nothing more.
func (c *contentTags) look(ctx context.Context) error {
	if c.none || len(c.found) > 0 {
		return nil
	}
	n, err := c.f.pager.Count(ctx, nil, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"type": "module", "state": 1}})
	var fault *hub.Fault
	switch {
	case errors.As(err, &fault) && fault.Code == hub.FaultGeneric: // the hub has no such type of builds
		c.f.log.DebugContext(ctx, "the hub has no modules", "err", err)
		c.none = true
	case err != nil:
		return fmt.Errorf("module builds: %w", err)
	default:
		c.none = n == 0
	}
	return nil
}

// modules returns the module builds in tags that were not found before.
func (c *contentTags) modules(ctx context.Context, heads, tags []int64) ([]int64, error) {
	calls := make([]hub.Call, len(tags))
	for i, id := range tags {
		calls[i] = hub.Call{Method: "listTagged", Args: []any{id}, Kwargs: map[string]any{
			"event": c.f.Event, "inherit": slices.Contains(heads, id), "type": "module"}}
	}
	var builds []int64
	err := c.f.pager.Each(ctx, calls, func(_ int, r hub.Row) error {
		id, ok := r.Get("build_id").Int()
		if !ok {
			return fmt.Errorf("hub %s: %.200s is not a build", c.f.hub.URL(), r.Value)
		}
		if c.found[id] == nil {
			nvr, ok := r.Get("nvr").Str()
			if !ok || len(nvr) > tagged.MaxTagNameLength {
				nvr = fmt.Sprint("build ", id)
			}
			if len(c.found) == maxModules {
				return &hub.LimitError{Hub: c.f.hub.URL(), What: fmt.Sprintf("over %d module builds", maxModules)}
			}
			c.found[id] = &snapfile.Content{Build: id, NVR: nvr}
			builds = append(builds, id)
		}
		return idset.Check(id)
	}, func(i int, err error) error {
		// As for a package filter that no hub can evaluate: production does not list the tag to a compose,
		// either, and verify reports that.
		c.f.log.InfoContext(ctx, "content tags of a tag's modules are not followed: the hub does not list them", "tag", tags[i], "err", err)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("module builds: %w", err)
	}
	return builds, nil
}

// readExtra reads the names of content tags from module builds. It takes those that the base has from there:
// extra does not change, and if it does, the sweep finds it.
func (c *contentTags) readExtra(ctx context.Context, builds []int64) error {
	rest := map[int64]bool{}
	for _, id := range builds {
		rest[id] = true
	}
	for _, m := range c.f.opt.Content { // what an interrupted pull has asked for
		if rest[m.Build] && m.Tag != "" {
			c.found[m.Build].Tag = m.Tag
			delete(rest, m.Build)
		}
	}
	if c.f.base != nil {
		rel := relation.Get("build")
		extra := rel.Index("extra")
		err := snapshot.EachRow(ctx, c.f.base, rel, func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			if err != nil || !rest[id] || row[extra] == nil {
				return err
			}
			if tag, why := tagged.ContentTagInExtra(row[extra]); why == nil {
				c.found[id].Tag = tag
				delete(rest, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	ids := slices.Sorted(maps.Keys(rest))
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = hub.Call{Method: "getBuild", Args: []any{id}}
	}
	fail := func(id int64, why error) { c.found[id].Tag, c.found[id].Missing = "", oneline.Of(why).Error() }
	err := c.f.pager.Each(ctx, calls, func(i int, r hub.Row) error {
		m := c.found[ids[i]]
		m.Missing = ""
		extra := r.Get("extra")
		v := extra.Field("typeinfo").Field("module").Field("content_koji_tag")
		why := cmp.Or(extra.Bad(), v.Bad())
		if why == nil {
			m.Tag, why = tagged.CheckContentTag(v.Any())
		}
		if why != nil {
			fail(m.Build, why)
		}
		return nil
	}, func(i int, err error) error {
		fail(ids[i], err)
		return nil
	})
	if err != nil {
		return fmt.Errorf("module builds: %w", err)
	}
	return nil
}

// lookUp finds the tags that module builds name, at E.
func (c *contentTags) lookUp(ctx context.Context, builds []int64, names map[int64]string) (more []int64, err error) {
	var wanted []string
	for _, id := range builds {
		tag := c.found[id].Tag
		if _, done := c.looked[tag]; tag != "" && !done {
			c.looked[tag] = ""
			wanted = append(wanted, tag)
		}
	}
	calls := make([]hub.Call, len(wanted))
	for i, name := range wanted {
		calls[i] = hub.Call{Method: "getTag", Args: []any{name}, Kwargs: map[string]any{"event": c.event}, KeepBad: true}
	}
	results, err := c.f.hub.Multi(ctx, calls)
	if err != nil && !pager.Broken(ctx, err, nil) {
		return nil, fmt.Errorf("content tags: %w", err)
	}
	for i, name := range wanted {
		var id int64
		var now string
		var why error
		if err != nil || results[i].Err != nil { // ask one by one
			id, now, why = c.f.findTag(ctx, name)
		} else {
			id, now, why = c.f.tagOf(name, results[i].Value)
		}
		var unknown *UnknownTagError
		switch {
		case errors.As(why, &unknown):
			c.looked[name] = "production does not have it"
		case pager.Broken(ctx, why, nil):
			if why = c.f.pager.Lasting(ctx, why); hub.Temporary(why) {
				return nil, fmt.Errorf("content %w", why)
			}
			c.looked[name] = oneline.Of(why).Error()
		case why != nil:
			return nil, fmt.Errorf("content %w", why)
		default:
			if _, known := names[id]; !known {
				names[id] = now
				more = append(more, id)
			}
		}
	}
	for _, id := range builds {
		if m := c.found[id]; m.Tag != "" {
			m.Missing = c.looked[m.Tag]
		}
	}
	return more, nil
}

// maxModules is more module builds than a scope has, and more than there is memory for.
const maxModules = 100000
