package pull

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// tagHistory are the versioned relations that queryHistory selects by tag.
var tagHistory = []string{
	"tag_config", "tag_extra", "tag_inheritance", "tag_packages", "tag_package_owners", "tag_listing",
	"tag_external_repos", "group_config", "group_req_listing", "group_package_listing",
}

// historyReader reads relations with events: the versioned relations of the scope's tags, and the targets.
type historyReader struct{ *run }

// read reads the versioned relations of the scope's tags, and the targets.
func (h historyReader) read(ctx context.Context) error {
	return h.inStage(ctx, "history", func(t task) error {
		if err := h.loadRepoArches(ctx, t); err != nil {
			return err
		}
		if err := h.askHistory(ctx, t); err != nil {
			return err
		}
		return h.readTargets(ctx, t)
	})
}

func (h historyReader) askHistory(ctx context.Context, t task) error {
	if h.opt.Everything {
		return h.askAllHistory(ctx, t)
	}
	bar := h.opt.Progress.Begin("history", int64(len(tagHistory)*len(h.Scope.All)))
	defer bar.End()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * len(tagHistory))
	for _, tag := range h.Scope.All {
		if h.inc != nil && h.inc.tags[tag.ID] {
			g.Go(func() error {
				err := t.do(gctx, fmt.Sprint("later ", tag.ID), func(t task) error { return h.laterHistory(gctx, t, tag) })
				if err != nil {
					return fmt.Errorf("history of tag %s: %w", tag.Name, err)
				}
				bar.Add(int64(len(tagHistory)))
				return nil
			})
			if from := h.inc.missingHistory(tag.ID); from > 0 {
				g.Go(func() error {
					err := t.do(gctx, fmt.Sprint("earlier ", tag.ID), func(t task) error { return h.earlierHistory(gctx, t, tag, from) })
					if err != nil {
						return fmt.Errorf("history of tag %s: %w", tag.Name, err)
					}
					return nil
				})
			}
		}
		for _, name := range tagHistory {
			if h.inc != nil && h.inc.tags[tag.ID] && !h.inc.whole[name][tag.ID] {
				continue
			}
			g.Go(func() error {
				err := h.history(gctx, t, fmt.Sprint(name, " of ", tag.ID), name, map[string]any{"tag": tag.ID}, func(r hub.Value) bool {
					// For inheritance the filter also returns the links to children.
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
func (h historyReader) laterHistory(ctx context.Context, t task, tag snapfile.Tag) error {
	return h.tagRows(ctx, t, tag, map[string]any{"tables": toAny(tagHistory), "tag": tag.ID, "afterEvent": h.inc.after})
}

// tagRows adds the rows of a tag's history that a query returns.
func (h historyReader) tagRows(ctx context.Context, t task, tag snapfile.Tag, kwargs map[string]any) error {
	var ours error
	put := func(table string, r hub.Row) error {
		ours = t.putLater(tag.ID, table, r)
		return ours
	}
	err := h.hub.StreamTables(ctx, pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), put)
	if !pager.Broken(ctx, err, ours) {
		return err
	}
	for _, name := range tagHistory {
		of := maps.Clone(kwargs)
		of["tables"] = []any{name}
		if err := h.historyApart(ctx, t, name, of, err, func(r hub.Row) error { return t.putLater(tag.ID, name, r) }); err != nil {
			return err
		}
	}
	return nil
}

func (t task) putLater(tag int64, table string, r hub.Row) error {
	if !slices.Contains(tagHistory, table) {
		return fmt.Errorf("queryHistory answered %q", table)
	}
	if id, ok := r.Get("tag_id").Int(); id != tag && ok {
		return nil // for inheritance the filter also returns the links to children
	}
	_, err := t.putVersioned(table, r.Value)
	return err
}

// stream gives put the rows of one table of the history that a query returns. ours is the error of put, by which a failure of the
// hub is told from one of this program.
func (h historyReader) stream(ctx context.Context, t task, name string, kwargs map[string]any, put func(r hub.Row) error, ours *error) error {
	err := h.hub.StreamTables(ctx, pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), func(table string, r hub.Row) error {
		if table != name {
			*ours = fmt.Errorf("queryHistory of %s answered %q", name, table)
			return *ours
		}
		return put(r)
	})
	if pager.Broken(ctx, err, *ours) {
		return h.historyApart(ctx, t, name, kwargs, err, put)
	}
	return err
}

// historyApart reads rows of one table of the history that the hub cannot send in one reply. It is then
// unknown which rows the hub cannot send; only their tag is known. If the hub can send none, or not a tag's
// config, that is an error: the tag would be a different one.
func (h historyReader) historyApart(ctx context.Context, t task, name string, kwargs map[string]any, whole error, fn func(r hub.Row) error) error {
	ask := func(ctx context.Context, call hub.Call, fn func(r hub.Row) error) error {
		return h.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error { return fn(r) })
	}
	order := strings.Join(relation.Get(name).Key, ",")
	lost, why, err := h.pager.Split(ctx, ask, hub.Call{Method: "queryHistory", Kwargs: kwargs}, order, whole, fn)
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
	t.skip(x)
	return nil
}

// loadRepoArches reads the arches of external repos. Koji has them since 1.24, but queryHistory of no
// released version up to 1.35.3 returns them. The version does not tell whether later ones do, so the rows
// decide. The arches of revoked rows are read if history is asked for, and missing otherwise.
// asked for, and lost otherwise.
func (h historyReader) loadRepoArches(ctx context.Context, t task) error {
	if !h.version.AtLeast(1, 24) {
		return nil
	}
	var err error
	h.repoArches, err = checkpoint.Once(ctx, t.stage, "arches of external repos", func(*checkpoint.Batch) (map[string][]byte, error) { return h.askRepoArches(ctx) })
	return err
}

func (h historyReader) askRepoArches(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	calls := make([]hub.Call, len(h.Scope.All))
	for i, tag := range h.Scope.All {
		calls[i] = pager.RowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"tag_info": tag.ID, "event": h.Event}})
	}
	if h.opt.Everything {
		calls = []hub.Call{pager.RowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"event": h.Event}})}
	}
	now := len(calls)
	past, err := h.pastRepos(ctx)
	if err != nil {
		return nil, fmt.Errorf("external repos: %w", err)
	}
	calls = append(calls, past...)
	err = h.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		key := repoArchesKey(r.Value)
		if i >= now {
			key += fmt.Sprint(" at ", calls[i].Kwargs["event"])
		}
		switch arches := r.Get("arches"); arches.Kind() {
		case hub.String:
			all[key] = bytes.Clone(arches.Text())
		case hub.Nil:
		case hub.Bad:
			all[key] = badArches
		default:
			return fmt.Errorf("tag %d: arches: %s, not text, in the row %s", calls[i].Kwargs["tag_info"], arches.Kind(), pager.DescribeRow(r.Value))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("external repos: %w", err)
	}
	return all, nil
}

// badArches stands for arches that are no valid text. No text has a NUL.
var badArches = []byte{0}

func repoArchesKey(r hub.Value) string {
	return fmt.Sprintf("%s/%s/%s", r.Field("tag_id").Text(), r.Field("external_repo_id").Text(), r.Field("priority").Text())
}

// readTargets reads the build targets with a tag of the scope on either side. The hub's own filter knows only
// the destination.
func (h historyReader) readTargets(ctx context.Context, t task) error {
	err := h.history(ctx, t, "targets", "build_target_config", nil, func(r hub.Value) bool {
		build, ok := r.Field("build_tag").Int()
		dest, ok2 := r.Field("dest_tag").Int()
		return h.InScope[build] || h.InScope[dest] || !ok || !ok2
	})
	if err != nil {
		return err
	}
	return h.nameKept(ctx, t, "build_target_config", "build_target", "build_target_id")
}

// history reads a versioned relation: the rows of the view at E, and those revoked since the last snapshot.
// keep selects rows; it must keep a row that it cannot judge, because that is no valid row, and an error. In
// a stage, key names everything that the rows depend on.
func (h historyReader) history(ctx context.Context, t task, key, name string, filter map[string]any, keep func(hub.Value) bool) error {
	after, err := h.since, error(nil)
	if filter == nil {
		if after, err = h.revokedAfter(ctx, relation.Get(name)); err != nil {
			return err
		}
	}
	// In this order, because a row that is revoked between the two calls is then in both.
	for _, active := range []bool{true, false} {
		kwargs := map[string]any{"tables": []any{name}, "active": active}
		for k, v := range filter {
			kwargs[k] = v
		}
		if !active {
			kwargs["afterEvent"] = after
		}
		err := t.do(ctx, fmt.Sprint(key, ", active ", active), func(t task) error {
			var ours error
			put := func(r hub.Row) error {
				if ours = nil; keep(r.Value) {
					_, ours = t.putVersioned(name, r.Value)
				}
				return ours
			}
			return h.stream(ctx, t, name, kwargs, put, &ours)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// earlierHistory reads the rows of a tag that were revoked after S, up to the event from which on the base
// has them.
func (h historyReader) earlierHistory(ctx context.Context, t task, tag snapfile.Tag, from int64) error {
	return h.tagRows(ctx, t, tag, map[string]any{"tables": toAny(tagHistory), "tag": tag.ID, "active": false, "afterEvent": h.Start, "beforeEvent": from + 1})
}

// revokedAfter returns the event after which revoked rows of a relation that no tag selects are asked for:
// those that the base has are not asked for again.
func (h historyReader) revokedAfter(ctx context.Context, rel *relation.Relation) (int64, error) {
	covers, err := h.inc.coversUntagged(ctx, rel)
	if err != nil || !covers {
		return h.since, err
	}
	return max(h.since, h.inc.covered()), nil
}
