package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// tagHistory are the versioned relations that queryHistory selects by tag.
var tagHistory = []string{
	"tag_config", "tag_extra", "tag_inheritance", "tag_packages", "tag_package_owners", "tag_listing",
	"tag_external_repos", "group_config", "group_req_listing", "group_package_listing",
}

// pullHistory reads the versioned relations of the scope's tags, and the targets.
func (p *puller) pullHistory(ctx context.Context) error {
	return p.inStage(ctx, "history", func(p *puller) error {
		if err := p.loadRepoArches(ctx); err != nil {
			return err
		}
		if err := p.askHistory(ctx); err != nil {
			return err
		}
		return p.pullTargets(ctx)
	})
}

func (p *puller) askHistory(ctx context.Context) error {
	bar := p.opt.Progress.Begin("history", int64(len(tagHistory)*len(p.scope.All)))
	defer bar.End()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * len(tagHistory))
	for _, tag := range p.scope.All {
		if p.carry != nil && p.carry.tags[tag.ID] {
			g.Go(func() error {
				err := onceOnly(gctx, p, fmt.Sprint("later ", tag.ID), func(p *puller) error { return p.laterHistory(gctx, tag) })
				if err != nil {
					return fmt.Errorf("history of tag %s: %w", tag.Name, err)
				}
				bar.Add(int64(len(tagHistory)))
				return nil
			})
			if from := p.missingHistory(tag.ID); from > 0 {
				g.Go(func() error {
					err := onceOnly(gctx, p, fmt.Sprint("earlier ", tag.ID), func(p *puller) error { return p.earlierHistory(gctx, tag, from) })
					if err != nil {
						return fmt.Errorf("history of tag %s: %w", tag.Name, err)
					}
					return nil
				})
			}
		}
		for _, name := range tagHistory {
			if p.carry != nil && p.carry.tags[tag.ID] && !p.carry.whole[name][tag.ID] {
				continue
			}
			g.Go(func() error {
				err := p.history(gctx, fmt.Sprint(name, " of ", tag.ID), name, map[string]any{"tag": tag.ID}, func(r hub.Value) bool {
					// Of inheritance the filter gives the links to children too.
					id, ok := r.Field("tag_id").Int()
					return id == tag.ID || !ok
				})
				if err != nil {
					return fmt.Errorf("history of tag %s: %w", tag.Name, err)
				}
				bar.Add(1)
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// laterHistory reads what changed in a tag of the base's scope.
func (p *puller) laterHistory(ctx context.Context, tag snapfile.Tag) error {
	return p.tagRows(ctx, tag, map[string]any{"tables": toAny(tagHistory), "tag": tag.ID, "afterEvent": p.carry.after})
}

// tagRows adds the rows of a tag's history that a query gives.
func (p *puller) tagRows(ctx context.Context, tag snapfile.Tag, kwargs map[string]any) error {
	var ours error
	put := func(table string, r hub.Row) error {
		ours = p.putLater(tag.ID, table, r)
		return ours
	}
	err := p.hub.StreamTables(ctx, rowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), put)
	if !broken(ctx, err, ours) {
		return err
	}
	for _, name := range tagHistory {
		of := maps.Clone(kwargs)
		of["tables"] = []any{name}
		if err := p.historyApart(ctx, name, of, err, func(r hub.Row) error { return p.putLater(tag.ID, name, r) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *puller) putLater(tag int64, table string, r hub.Row) error {
	if !slices.Contains(tagHistory, table) {
		return fmt.Errorf("queryHistory answered %q", table)
	}
	if id, ok := r.Get("tag_id").Int(); id != tag && ok {
		return nil // of inheritance the filter gives the links to children too
	}
	_, err := p.putVersioned(table, r.Value)
	return err
}

// historyApart reads rows of one table of the history that the hub cannot send all at once. Which
// rows it cannot send is not known then, only in which tag. That none can be had, or a tag's config
// cannot, is an error: the tag would be another one.
func (p *puller) historyApart(ctx context.Context, name string, kwargs map[string]any, whole error, fn func(r hub.Row) error) error {
	ask := func(ctx context.Context, call hub.Call, fn func(r hub.Row) error) error {
		return p.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error { return fn(r) })
	}
	order := strings.Join(relation.Get(name).Key, ",")
	lost, why, err := p.apart(ctx, ask, hub.Call{Method: "queryHistory", Kwargs: kwargs}, order, whole, fn)
	switch {
	case err != nil || lost == 0:
		return err
	case lost < 0 || name == "tag_config":
		return why
	}
	x := snapfile.LeftOut{Relation: name, Row: fmt.Sprintf("%d rows", lost), Reason: why.Error()}
	if tag, ok := kwargs["tag"].(int64); ok {
		x.Tag = tag
		x.Row += fmt.Sprint(" of tag ", tag)
	}
	p.leave(x)
	return nil
}

// loadRepoArches reads the arches of external repos, which Koji has since 1.24, but which the
// queryHistory of no released version up to 1.35.3 shows. Later ones may or may not: the
// version does not tell, so the rows decide. Of rows that are revoked they are read where history is
// asked for, and lost otherwise.
func (p *puller) loadRepoArches(ctx context.Context) error {
	if !p.version.AtLeast(1, 24) {
		return nil
	}
	var err error
	p.repoArches, err = once(ctx, p, "arches of external repos", func(p *puller) (map[string][]byte, error) { return p.askRepoArches(ctx) })
	return err
}

func (p *puller) askRepoArches(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	calls := make([]hub.Call, len(p.scope.All))
	for i, tag := range p.scope.All {
		calls[i] = rowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"tag_info": tag.ID, "event": p.event}})
	}
	past, err := p.pastRepos(ctx)
	if err != nil {
		return nil, fmt.Errorf("external repos: %w", err)
	}
	calls = append(calls, past...)
	err = p.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		key := repoArchesKey(r.Value)
		if i >= len(p.scope.All) {
			key += fmt.Sprint(" at ", calls[i].Kwargs["event"])
		}
		switch arches := r.Get("arches"); arches.Kind() {
		case hub.String:
			all[key] = bytes.Clone(arches.Text())
		case hub.Nil:
		case hub.Bad:
			all[key] = badArches
		default:
			return fmt.Errorf("tag %d: arches: %s, not text, in the row %s", calls[i].Kwargs["tag_info"], arches.Kind(), describeRow(r.Value))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("external repos: %w", err)
	}
	return all, nil
}

// badArches stands for arches that are no text that a hub may send: no text has a NUL.
var badArches = []byte{0}

func repoArchesKey(r hub.Value) string {
	return fmt.Sprintf("%s/%s/%s", r.Field("tag_id").Text(), r.Field("external_repo_id").Text(), r.Field("priority").Text())
}

// pullTargets reads the build targets that have a tag of the scope on either side. The hub's
// own filter knows only the destination.
func (p *puller) pullTargets(ctx context.Context) error {
	err := p.history(ctx, "targets", "build_target_config", nil, func(r hub.Value) bool {
		build, ok := r.Field("build_tag").Int()
		dest, ok2 := r.Field("dest_tag").Int()
		return p.inScope[build] || p.inScope[dest] || !ok || !ok2
	})
	if err != nil {
		return err
	}
	return p.nameCarried(ctx, "build_target_config", "build_target", "build_target_id")
}

// history reads a versioned relation: the rows of the view at E and those revoked since the
// snapshot before. keep chooses among them, and keeps what it cannot tell: that is no row of the
// relation, and an error. In a stage, key stands for all that it depends on.
func (p *puller) history(ctx context.Context, key, name string, filter map[string]any, keep func(hub.Value) bool) error {
	after, err := p.since, error(nil)
	if filter == nil {
		if after, err = p.revokedAfter(ctx, relation.Get(name)); err != nil {
			return err
		}
	}
	// In this order: a row that is revoked between the two calls is in both.
	for _, active := range []bool{true, false} {
		kwargs := map[string]any{"tables": []any{name}, "active": active}
		for k, v := range filter {
			kwargs[k] = v
		}
		if !active {
			kwargs["afterEvent"] = after
		}
		err := onceOnly(ctx, p, fmt.Sprint(key, ", active ", active), func(p *puller) error {
			var ours error
			put := func(r hub.Row) error {
				if ours = nil; keep(r.Value) {
					_, ours = p.putVersioned(name, r.Value)
				}
				return ours
			}
			err := p.hub.StreamTables(ctx, rowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), func(table string, r hub.Row) error {
				if table != name {
					ours = fmt.Errorf("queryHistory of %s answered %q", name, table)
					return ours
				}
				return put(r)
			})
			if broken(ctx, err, ours) {
				err = p.historyApart(ctx, name, kwargs, err, put)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// putVersioned adds a row of queryHistory to the view at E or to the revoked rows, or to
// neither, with the events and names that it brings along. It reports whether it was added.
func (p *puller) putVersioned(name string, r hub.Value) (bool, error) {
	created, ok := r.Field("create_event").Int()
	if !ok {
		return false, fmt.Errorf("%s: a row without create_event: %s", name, describeRow(r))
	}
	if p.carry != nil && name == "tag_listing" {
		build, _ := r.Field("build_id").Int()
		p.touch(build)
	}
	revoked, isRevoked := r.Field("revoke_event").Int()
	if created > p.event || isRevoked && revoked == created {
		return false, nil
	}
	inView := !isRevoked || revoked > p.event
	since := isRevoked && revoked > p.since
	if !inView && !since && p.carry == nil {
		return false, nil
	}
	rel := relation.Get(name)
	row, fault, err := p.tryConvert(name, r, nil)
	if err != nil {
		return false, err
	}
	if name == "tag_external_repos" && fault == nil && r.Field("arches").Kind() == hub.Missing {
		if row[rel.Index("arches")] = p.archesOf(r, inView); inView && bytes.Equal(row[rel.Index("arches")], badArches) {
			fault = errors.New("arches: the hub cannot send them")
		}
	}
	if !inView && p.carry != nil {
		p.gone(rel, row)
	}
	switch {
	case fault != nil && inView:
		return false, p.leaveRow(rel, row, fault)
	case fault != nil && since:
		p.hole(r, revoked) // what was revoked is not in the view, whatever it was
		return false, nil
	case fault != nil, !inView && !since:
		return false, nil
	}
	return true, p.addVersioned(rel, row, r, inView)
}

// addVersioned adds a row of queryHistory.
func (p *puller) addVersioned(rel *relation.Relation, row [][]byte, r hub.Value, inView bool) error {
	if inView {
		row[rel.Index("revoke_event")] = nil
		row[rel.Index("revoker_id")] = nil
		row[rel.Index("active")] = []byte("t")
	}
	for _, event := range []string{"create", "revoke"} {
		if inView && event == "revoke" {
			continue
		}
		id, _ := r.Field(event + "_event").Int()
		if ts, ok := r.Field(event + "_ts").Float(); ok {
			if err := p.addEvent(id, ts); err != nil {
				return err
			}
		}
	}
	if err := p.namesOf(rel, r); err != nil {
		return err
	}
	return p.addRow(rel.Name, row, !inView)
}

// historyNames says which member of a history row names what a column refers to.
var historyNames = map[string]string{
	"tag_id": "tag.name", "parent_id": "parent.name", "build_target_id": "build_target.name",
	"build_tag": "build_tag.name", "dest_tag": "dest_tag.name", "external_repo_id": "external_repo.name",
	"group_id": "group.name", "req_id": "req.name", "package_id": "package.name",
}

// namesOf adds the named objects that a history row refers to, so that deleted ones, which no
// list has any more, are there too.
func (p *puller) namesOf(rel *relation.Relation, r hub.Value) error {
	for _, c := range rel.Columns {
		target := relation.Get(c.Ref)
		if target == nil || len(target.Columns) != 2 || target.Columns[1].Name != "name" {
			continue
		}
		if id, ok := r.Field(c.Name).Int(); ok {
			if err := p.addNamed(c.Ref, id, r.Field(historyNames[c.Name])); err != nil {
				return err
			}
		}
	}
	return nil
}

// pullExternalRepos reads the URLs of the external repos that are referred to.
func (p *puller) pullExternalRepos(ctx context.Context) error {
	// Koji's row 0, INTERNAL, stands for "built here". Every schema has it, no call shows it.
	if p.builder.Refers("external_repo", 0) {
		if err := p.addName("external_repo", 0, "INTERNAL"); err != nil {
			return err
		}
	}
	// Which repos are referred to may be another thing when a pull goes on.
	wanted := p.builder.Referred("external_repo")
	referred := digest(wanted.List())
	err := p.history(ctx, "external repos "+referred, "external_repo_config", nil, func(r hub.Value) bool {
		id, ok := r.Field("external_repo_id").Int()
		return p.builder.Refers("external_repo", id) || !ok
	})
	if err != nil {
		return err
	}
	if err := p.nameCarried(ctx, "external_repo_config", "external_repo", "external_repo_id"); err != nil {
		return err
	}
	// A repo that was deleted before E, but that rpms in images still name.
	for _, id := range p.builder.Wanted("external_repo") {
		kwargs := map[string]any{"tables": []any{"external_repo_config"}, "external_repo": id}
		err := onceOnly(ctx, p, fmt.Sprint("external repo ", id), func(p *puller) error {
			return p.hub.StreamTables(ctx, rowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), func(_ string, r hub.Row) error {
				return p.addNamed("external_repo", id, r.Get("external_repo.name"))
			})
		})
		if err != nil {
			return fmt.Errorf("external repo %d: %w", id, err)
		}
	}
	return nil
}
