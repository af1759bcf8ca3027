package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// What history needs besides the rows of queryHistory.

// pastRepos returns the calls for external repos of tags at the events at which a row was created that was
// revoked since S. If the history shows the arches, it returns none.
func (h historyReader) pastRepos(ctx context.Context) ([]hub.Call, error) {
	if h.Start == 0 {
		return nil, nil
	}
	past := make([]hub.Call, len(h.Scope.All))
	for i, tag := range h.Scope.All {
		after := h.since
		if h.inc != nil && h.inc.tags[tag.ID] && h.inc.missingHistory(tag.ID) == 0 {
			after = max(after, h.inc.covered())
		}
		past[i] = pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_external_repos"}, "tag": tag.ID, "active": false, "afterEvent": after}})
	}
	if h.opt.Everything {
		past = []hub.Call{pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_external_repos"}, "active": false, "afterEvent": h.since}})}
	}
	type at struct{ tag, event int64 }
	asked := map[at]bool{}
	var calls []hub.Call
	err := h.hub.StreamMulti(ctx, past, func(_ int, r hub.Row) error {
		for _, link := range r.Get("tag_external_repos").Items() {
			created, _ := link.Field("create_event").Int()
			tag, _ := link.Field("tag_id").Int()
			key := at{tag, created}
			if link.Field("arches").Kind() != hub.Missing || created <= 0 || created > h.Event || asked[key] || !h.InScope[tag] {
				continue
			}
			asked[key] = true
			calls = append(calls, pager.RowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"tag_info": key.tag, "event": created}}))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("those that tags had: %w", err)
	}
	return calls, nil
}

// readEvents reads all events since S, so that a compose can be pinned at each: Pungi asks for the event
// itself. If there are too many, the snapshot has only those that rows name. At another event, calls answer
// as at the last one of these before it.
func (h historyReader) readEvents(ctx context.Context) error {
	if h.Start == 0 {
		return nil
	}
	from := h.Start
	var had idset.Set
	if h.inc != nil {
		err := snapshot.EachRow(ctx, h.base, relation.Get("events"), func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			if err == nil && id >= h.Start && id <= h.Event {
				h.builder.Refer("events", id)
				had.Add(id)
			}
			return err
		})
		if err != nil {
			return err
		}
		if h.inc.sameStart() {
			from = max(from, h.inc.covered())
		}
	}
	if h.Event-from > snapshot.MaxEvents {
		h.log.InfoContext(ctx, "only events that rows name are read", "since", from, "events", h.Event-from, "most", snapshot.MaxEvents)
		return nil
	}
	var ids []int64
	for id := from + 1; id < h.Event; id++ {
		if !h.builder.Has("events", id) && !had.Has(id) {
			ids = append(ids, id)
		}
	}
	return h.inStage(ctx, "events", func(t task) error {
		for some := range slices.Chunk(ids, 1000) {
			if err := t.do(ctx, checkpoint.Digest(slices.Values(some)), func(t task) error { return h.askEvents(ctx, t, some) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// askEvents reads those of the events that exist: transactions that were rolled back leave gaps.
func (h historyReader) askEvents(ctx context.Context, t task, ids []int64) error {
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = hub.Call{Method: "getEvent", Args: []any{id}}
	}
	results, err := h.hub.Multi(ctx, calls)
	if err != nil {
		return fmt.Errorf("events since %d: %w", h.Start, err)
	}
	for i, r := range results {
		var fault *hub.Fault
		switch {
		case errors.As(r.Err, &fault) && fault.Code == hub.FaultGeneric:
			continue
		case r.Err != nil:
			return fmt.Errorf("event %d: %w", ids[i], r.Err)
		}
		if ts, ok := r.Value.Field("ts").Float(); ok {
			if err := t.addEvent(ids[i], ts); err != nil {
				return err
			}
		}
	}
	return nil
}

// readExternalRepos reads the URLs of the external repos that are referred to.
func (h historyReader) readExternalRepos(ctx context.Context, t task) error {
	// Koji's row 0, INTERNAL, stands for "built here". Each schema has it, and no call returns it.
	if h.builder.Refers("external_repo", 0) {
		if err := t.addName("external_repo", 0, "INTERNAL"); err != nil {
			return err
		}
	}
	// A resumed pull may refer to other repos.
	wanted := h.builder.Referred("external_repo")
	referred := checkpoint.Digest(wanted.All())
	err := h.history(ctx, t, "external repos "+referred, "external_repo_config", nil, func(r hub.Value) bool {
		id, ok := r.Field("external_repo_id").Int()
		return h.opt.Everything || h.builder.Refers("external_repo", id) || !ok
	})
	if err != nil {
		return err
	}
	if err := h.nameKept(ctx, t, "external_repo_config", "external_repo", "external_repo_id"); err != nil {
		return err
	}
	// A repo may be deleted before E and still be named by rpms in images.
	for _, id := range h.builder.Wanted("external_repo") {
		kwargs := map[string]any{"tables": []any{"external_repo_config"}, "external_repo": id}
		err := t.do(ctx, fmt.Sprint("external repo ", id), func(t task) error {
			return h.hub.StreamTables(ctx, pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: kwargs}), func(_ string, r hub.Row) error {
				return t.addNamed("external_repo", id, r.Get("external_repo.name"))
			})
		})
		if err != nil {
			return fmt.Errorf("external repo %d: %w", id, err)
		}
	}
	return nil
}

// A rename leaves no event. Each pull asks again for the names that the view refers to. Names that only kept
// revoked rows refer to have to be asked for separately, as another row may have the name by now.

// renamed are the relations whose rows Koji renames and does not list once they are deleted.
var renamed = []string{"tag", "build_target", "external_repo"}

// nameKept asks for the names that kept revoked rows of a relation refer to and that are not known yet: of
// targets with their tags, or of external repos. filter is the name of queryHistory's filter.
func (h historyReader) nameKept(ctx context.Context, t task, name, filter, column string) error {
	rel := relation.Get(name)
	var ask idset.Set
	err := h.inc.eachKeptRevoked(ctx, rel, func(row [][]byte) error {
		for i, c := range rel.Columns {
			if !slices.Contains(renamed, c.Ref) || row[i] == nil {
				continue
			}
			id, err := idset.Parse(row[i])
			if err != nil {
				return err
			}
			if !h.builder.Has(c.Ref, id) {
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
	return t.do(ctx, fmt.Sprint("names by ", name, " ", checkpoint.Digest(slices.Values(ids))), func(t task) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = pager.RowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{name}, filter: id}})
		}
		err := h.hub.StreamMulti(ctx, calls, func(_ int, r hub.Row) error {
			for _, config := range r.Get(name).Items() {
				if err := t.namesOf(rel, config); err != nil {
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
