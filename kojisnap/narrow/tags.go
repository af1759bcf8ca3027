package narrow

import (
	"context"
	"maps"
	"slices"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
	"kojisnap/kojisnap/tagglob"
)

// finder follows tags like a pull, see package scope.
type finder struct {
	snap    *snapfile.Snapshot
	names   map[int64]string // of all tags of the snapshot
	ids     map[string]int64
	there   idset.Set         // tags that exist at E; others are only in the history
	parents map[int64][]int64 // at E
	in      idset.Set         // the tags that were found
	content map[int64]snapfile.Content
	modules map[int64]snapfile.Content // that the snapshot has, by build
	view    *tagged.View               // nil: there are no modules
}

// narrowScope finds the scope that a pull of some of a snapshot's tags has.
func narrowScope(ctx context.Context, snap *snapfile.Snapshot, set tagglob.Set) (snapfile.Scope, error) {
	whole := snap.Manifest.Scope
	f := &finder{snap: snap, names: map[int64]string{}, ids: map[string]int64{}, parents: map[int64][]int64{}, content: map[int64]snapfile.Content{}, modules: map[int64]snapfile.Content{}}
	for _, t := range whole.All {
		f.names[t.ID], f.ids[t.Name] = t.Name, t.ID
	}
	err := tagged.Each(ctx, snap, "tag_config", func(r tagged.Row) { f.there.Add(r.Int("tag_id")) })
	if err != nil {
		return snapfile.Scope{}, err
	}
	asked, err := f.choose(set)
	if err != nil {
		return snapfile.Scope{}, err
	}
	for _, step := range []func(context.Context) error{f.readLinks, f.readModules, func(context.Context) error { f.follow(asked); return nil }, f.followPast} {
		if err := step(ctx); err != nil {
			return snapfile.Scope{}, err
		}
	}
	scope := snapfile.Scope{Tags: asked, Builds: whole.Builds}
	if !set.IsNames() {
		scope.Asked = set.List()
	}
	for _, t := range whole.All {
		if f.in.Has(t.ID) {
			scope.All = append(scope.All, t)
		}
	}
	for _, build := range slices.Sorted(maps.Keys(f.content)) {
		scope.Content = append(scope.Content, f.content[build])
	}
	return scope, nil
}

// choose returns the names of the tags that were asked for.
func (f *finder) choose(set tagglob.Set) ([]string, error) {
	asked := slices.Clone(set.Names())
	lacks := slices.DeleteFunc(slices.Clone(asked), func(name string) bool {
		id, known := f.ids[name]
		return known && (f.there.Has(id) || !f.snap.Manifest.Scope.Everything)
	})
	for name, id := range f.ids {
		if f.there.Has(id) && set.Has(name) {
			asked = append(asked, name)
		}
	}
	slices.Sort(asked)
	if asked = slices.Compact(asked); len(asked) == 0 {
		lacks = set.List()
	}
	if len(lacks) > 0 {
		has := f.snap.Manifest.Scope.Tags
		if f.snap.Manifest.Scope.Everything {
			has = []string{"everything"}
		}
		return nil, &UnknownError{f.snap.ID, lacks, has}
	}
	return asked, nil
}

// readLinks reads the inheritance at E.
func (f *finder) readLinks(ctx context.Context) error {
	return tagged.Each(ctx, f.snap, "tag_inheritance", func(r tagged.Row) {
		child, parent := r.Int("tag_id"), r.Int("parent_id")
		f.parents[child] = append(f.parents[child], parent)
	})
}

// readModules reads what is needed to find module builds, if there are any.
func (f *finder) readModules(ctx context.Context) (err error) {
	if f.snap.Manifest.Scope.Everything {
		return f.readAllModules(ctx)
	}
	if len(f.snap.Manifest.Scope.Content) == 0 {
		return nil
	}
	for _, c := range f.snap.Manifest.Scope.Content {
		f.modules[c.Build] = c
	}
	f.view, err = tagged.Read(ctx, f.snap)
	return err
}

// follow finds everything that tags inherit from, the content tags of the modules in these tags and of builds
// asked for by name, and what the content tags inherit from.
func (f *finder) follow(asked []string) {
	var heads []int64
	for _, name := range asked {
		id := f.ids[name]
		f.in.Add(id)
		heads = append(heads, id)
	}
	named := map[int64]bool{}
	for _, b := range f.snap.Manifest.Scope.Builds {
		named[b.ID] = true
	}
	for _, c := range f.snap.Manifest.Scope.Content {
		if named[c.Build] {
			heads = append(heads, f.takes(c)...)
		}
	}
	for len(heads) > 0 {
		heads = f.contentTags(heads, f.inherited(heads))
	}
}

// inherited adds tags that the given ones inherit from. It returns the new ones and the given ones.
func (f *finder) inherited(heads []int64) []int64 {
	all := slices.Clone(heads)
	for i := 0; i < len(all); i++ {
		for _, parent := range f.parents[all[i]] {
			if !f.in.Has(parent) {
				f.in.Add(parent)
				all = append(all, parent)
			}
		}
	}
	return all
}

// contentTags adds the content tags of the modules in tags, and returns the new ones. For heads, which a
// compose may ask for, builds in inherited tags count by the head's own package list, too.
func (f *finder) contentTags(heads, tags []int64) (more []int64) {
	if f.view == nil {
		return nil
	}
	for _, tag := range tags {
		// If a filter cannot be evaluated, the hub lists nothing of the tag.
		builds, unknown := f.view.Builds(tag, slices.Contains(heads, tag), false)
		if slices.ContainsFunc(unknown, func(u *tagged.Undecided) bool { return u.Refused }) {
			continue
		}
		for _, b := range builds {
			if c, isModule := f.modules[b.ID]; isModule {
				more = append(more, f.takes(c)...)
			}
		}
	}
	return more
}

// takes adds the content tag of a module build. It returns the tag if it is new.
func (f *finder) takes(c snapfile.Content) []int64 {
	f.content[c.Build] = c
	id, there := f.ids[c.Tag]
	if !c.Follows() || !there || f.in.Has(id) {
		return nil
	}
	f.in.Add(id)
	return []int64{id}
}

// followPast adds what was inherited and tagged since the snapshot's history begins, if it has one.
func (f *finder) followPast(ctx context.Context) error {
	links, taggings, err := f.readPast(ctx)
	if err != nil || links == nil {
		return err
	}
	for level := f.in.List(); len(level) > 0; {
		var found []int64
		for _, tag := range level {
			for _, id := range slices.Concat(links[tag], taggings[tag]) {
				if !f.in.Has(id) {
					f.in.Add(id)
					found = append(found, id)
				}
			}
		}
		level = f.inherited(found)
	}
	return nil
}

// historyStart returns the event where the history of a snapshot begins, 0 if no history was asked for: then
// its revoked rows are only those since its parent.
func historyStart(m *snapfile.Manifest) int64 {
	start := m.Event
	for _, t := range m.Scope.All {
		start = min(start, m.HistoryFrom(t.ID))
	}
	if start == m.Event || start == m.ParentEvent() {
		return 0
	}
	return start
}

// readPast returns the links that were revoked since the snapshot's history begins, and the content tags of
// modules that were untagged since, by tag. It returns nil if no history was asked for.
func (f *finder) readPast(ctx context.Context) (links, taggings map[int64][]int64, err error) {
	start := historyStart(f.snap.Manifest)
	if start == 0 {
		return nil, nil, nil
	}
	links, taggings = map[int64][]int64{}, map[int64][]int64{}
	all := true // the tags that were inherited are in the scope
	err = f.eachRevoked(ctx, "tag_inheritance", start, func(tag int64, r func(string) int64) {
		parent := r("parent_id")
		_, there := f.names[parent]
		all = all && there
		links[tag] = append(links[tag], parent)
	})
	if err != nil || !all {
		return nil, nil, err
	}
	modules, err := f.namedContent(ctx)
	if err != nil {
		return nil, nil, err
	}
	return links, taggings, f.eachRevoked(ctx, "tag_listing", start, func(tag int64, r func(string) int64) {
		if content, ok := modules[r("build_id")]; ok {
			taggings[tag] = append(taggings[tag], content)
		}
	})
}

// namedContent returns the content tags in the snapshot that its builds name.
func (f *finder) namedContent(ctx context.Context) (map[int64]int64, error) {
	tags := map[int64]int64{}
	err := tagged.Each(ctx, f.snap, "build", func(r tagged.Row) {
		if extra := r.Bytes("extra"); extra != nil {
			if name, err := tagged.ContentTagInExtra(extra); err == nil {
				if id, there := f.ids[name]; there {
					tags[r.Int("id")] = id
				}
			}
		}
	})
	return tags, err
}

// eachRevoked calls fn for the tags' rows that were revoked since an event, with the tag and a function for
// the numbers in other columns.
func (f *finder) eachRevoked(ctx context.Context, name string, start int64, fn func(tag int64, column func(string) int64)) error {
	rel := relation.Get(name)
	return snapshot.EachRevoked(ctx, f.snap, rel, func(row [][]byte) error {
		var bad error
		column := func(name string) int64 {
			n, err := idset.Parse(row[rel.Index(name)])
			if err != nil {
				bad = err
			}
			return n
		}
		if column("revoke_event") > max(column("create_event"), start) {
			fn(column("tag_id"), column)
		}
		return bad
	})
}
