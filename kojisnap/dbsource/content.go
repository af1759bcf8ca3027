package dbsource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
)

// A compose of modules takes each module build's rpms from a tag of its own, which the build names in its extra and
// nothing inherits. So it belongs to the scope, with what it inherits, and the modules that that may hold.

// contentTags are what a pull knows of them.
type contentTags struct {
	*run
	tags   *tagRows
	byName map[string]int64 // tags at E
	view   *tagged.View     // of module builds alone; nil: there is none
	found  map[int64]*snapfile.Content
}

// followContent puts into the scope what tags inherit, the content tags of the modules that they hold and of those
// asked for by name, and so on.
func (r *run) followContent(ctx context.Context, tags *tagRows, asked []int64, named []namedBuild) error {
	c := &contentTags{run: r, tags: tags, byName: map[string]int64{}, found: map[int64]*snapfile.Content{}}
	for id := range tags.there {
		c.byName[tags.names[id]] = id
	}
	var err error
	if c.view, err = c.modules(ctx); err != nil {
		return fmt.Errorf("module builds: %w", err)
	}
	heads := slices.Clone(asked)
	for _, b := range named {
		m := &snapfile.Content{Build: b.ID, NVR: b.NVR}
		c.found[b.ID] = m
		if head, ok := c.follow(m, b.extra); ok {
			heads = append(heads, head)
		}
	}
	for len(heads) > 0 {
		added := r.inherit(tags, heads)
		if heads, err = c.next(ctx, heads, added); err != nil {
			return fmt.Errorf("module builds: %w", err)
		}
	}
	for _, m := range c.found {
		r.scope.Content = append(r.scope.Content, *m)
	}
	slices.SortFunc(r.scope.Content, func(a, b snapfile.Content) int { return int(a.Build - b.Build) })
	return nil
}

// next finds the module builds of tags, and returns their content tags. Of heads, which a compose may ask for, what
// they inherit is looked at by their own package lists, too.
func (c *contentTags) next(ctx context.Context, heads, added []int64) (more []int64, err error) {
	if c.view == nil {
		return nil, nil
	}
	var fresh idset.Set
	for _, tag := range added {
		builds, _ := c.view.Builds(tag, slices.Contains(heads, tag), false)
		for _, b := range builds {
			if c.found[b.ID] == nil {
				c.found[b.ID] = &snapfile.Content{Build: b.ID, NVR: b.NVR()}
				fresh.Add(b.ID)
			}
		}
	}
	if fresh.Len() == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	err = c.each(ctx, query{relation: "build", columns: []string{"id", "extra"}, where: &Where{"id", toBitmap(&fresh)}}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if head, ok := c.follow(c.found[id], row[1]); ok {
			more = append(more, head)
		}
		return nil
	})
	slices.Sort(more)
	return slices.Compact(more), err
}

// follow finds the tag that a module build's extra names.
func (c *contentTags) follow(m *snapfile.Content, extra []byte) (tag int64, there bool) {
	name, err := tagged.ContentTagInExtra(extra)
	if err != nil {
		m.Missing = oneline.Of(err).Error()
		return 0, false
	}
	m.Tag = name
	if tag, there = c.byName[name]; !there {
		m.Missing = "production does not have it"
	}
	return tag, there
}

// modules returns the view at E of module builds alone, so that Koji's own rules say which tag holds them; nil if
// there are no modules.
func (c *contentTags) modules(ctx context.Context) (*tagged.View, error) {
	builds, err := c.moduleBuilds(ctx)
	if err != nil || builds.Len() == 0 {
		return nil, err
	}
	b := snapshot.New(snapshot.Options{TempDir: c.opt.TempDir})
	defer b.Discard()
	atE := &Window{Since: c.event, Until: c.event}
	add := func(name string, where *Where, window *Window) error {
		return c.each(ctx, query{relation: name, where: where, window: window}, func(row [][]byte) error {
			_, err := b.Add(name, row)
			return err
		})
	}
	steps := []func() error{
		func() error { return add("tag", nil, nil) },
		func() error { return add("tag_inheritance", nil, atE) },
		func() error { return add("volume", nil, nil) },
		func() error { return add("tag_listing", &Where{"build_id", toBitmap(&builds)}, atE) },
		func() error {
			return c.each(ctx, query{relation: "build", where: &Where{"id", toBitmap(&builds)}}, func(row [][]byte) error {
				row[relation.Get("build").Index("extra")] = nil // it is long, and not needed here
				_, err := b.Add("build", row)
				return err
			})
		},
		func() error { return add("package", &Where{"id", toBitmap(b.Referred("package"))}, nil) },
		func() error { return add("tag_packages", &Where{"package_id", toBitmap(b.Referred("package"))}, atE) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c.viewOf(ctx, b)
}

// moduleBuilds are the builds of the type module.
func (c *contentTags) moduleBuilds(ctx context.Context) (builds idset.Set, err error) {
	var btype idset.Set
	err = c.each(ctx, query{relation: "btype"}, func(row [][]byte) error {
		if string(row[1]) != "module" {
			return nil
		}
		id, err := idset.Parse(row[0])
		btype.Add(id)
		return err
	})
	if err != nil || btype.Len() == 0 {
		return builds, err
	}
	err = c.each(ctx, query{relation: "build_types", columns: []string{"build_id"}, where: &Where{"btype_id", toBitmap(&btype)}}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		builds.Add(id)
		return err
	})
	return builds, err
}

// viewOf commits a Builder to memory and reads the View of that.
func (c *contentTags) viewOf(ctx context.Context, b *snapshot.Builder) (*tagged.View, error) {
	var mu sync.Mutex
	objects := map[string][]byte{}
	put := func(name string, body []byte) {
		mu.Lock()
		defer mu.Unlock()
		objects[name] = body
	}
	to := snapshot.Target{
		Put: func(_ context.Context, name string, src io.ReadSeeker) error {
			body, err := io.ReadAll(src)
			put(name, body)
			return err
		},
		PutManifest: func(_ context.Context, name string, body []byte) error {
			put(name, body)
			return nil
		},
	}
	m := c.manifest()
	m.Scope = snapfile.Scope{}
	id, _, err := b.Commit(ctx, to, m)
	if err != nil {
		return nil, err
	}
	snap, err := snapfile.Open(ctx, func(_ context.Context, name string) (io.ReadCloser, error) {
		body, there := objects[name]
		if !there {
			return nil, fs.ErrNotExist
		}
		return io.NopCloser(bytes.NewReader(body)), nil
	}, id)
	if err != nil {
		return nil, err
	}
	return tagged.Read(ctx, snap)
}

// isModule reports whether a build's extra says that it is a module.
func isModule(extra []byte) bool {
	var of struct {
		Typeinfo struct{ Module json.RawMessage }
	}
	err := json.Unmarshal(extra, &of)
	var syntax *json.SyntaxError
	return !errors.As(err, &syntax) && bytes.HasPrefix(bytes.TrimSpace(of.Typeinfo.Module), []byte("{"))
}
