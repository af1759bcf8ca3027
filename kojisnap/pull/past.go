package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// What history needs beside the rows of queryHistory.

// holes are the tags of which revoked rows cannot be had, with the last event that they would be asked
// for at: their history is whole only after. Its methods may be called concurrently.
type holes struct {
	mu sync.Mutex
	by map[int64]int64
}

func (h *holes) add(tag, event int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[int64]int64{}
	}
	h.by[tag] = max(h.by[tag], event)
}

func (h *holes) last(tag int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[tag]
}

// hole notes that a row that was revoked cannot be had.
func (p *puller) hole(r hub.Value, revoked int64) {
	for _, column := range []string{"tag_id", "build_tag", "dest_tag"} {
		tag, ok := r.Field(column).Int()
		if !ok || !p.inScope[tag] {
			continue
		}
		p.holes.add(tag, revoked)
		p.batch.note(func(end *batchEnd) {
			if end.Holes == nil {
				end.Holes = map[int64]int64{}
			}
			end.Holes[tag] = max(end.Holes[tag], revoked)
		})
	}
}

// archesOf returns the arches of an external repo of a tag, of which the history shows none.
func (p *puller) archesOf(r hub.Value, inView bool) []byte {
	key := repoArchesKey(r)
	if !inView {
		key += " at " + string(r.Field("create_event").Text())
	}
	return p.repoArches[key]
}

// pastRepos returns the calls for the external repos that tags had at the events at which they got one
// that was revoked since S. Where the history shows the arches there are none.
func (p *puller) pastRepos(ctx context.Context) ([]hub.Call, error) {
	if p.start == 0 {
		return nil, nil
	}
	past := make([]hub.Call, len(p.scope.All))
	for i, tag := range p.scope.All {
		after := p.since
		if p.carry != nil && p.carry.tags[tag.ID] && p.missingHistory(tag.ID) == 0 {
			after = max(after, min(p.carry.after, p.base.Manifest.Event))
		}
		past[i] = rowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_external_repos"}, "tag": tag.ID, "active": false, "afterEvent": after}})
	}
	type at struct{ tag, event int64 }
	asked := map[at]bool{}
	var calls []hub.Call
	err := p.hub.StreamMulti(ctx, past, func(i int, r hub.Row) error {
		for _, link := range r.Get("tag_external_repos").Items() {
			created, _ := link.Field("create_event").Int()
			key := at{p.scope.All[i].ID, created}
			if link.Field("arches").Kind() != hub.Missing || created <= 0 || created > p.event || asked[key] {
				continue
			}
			asked[key] = true
			calls = append(calls, rowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"tag_info": key.tag, "event": created}}))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("those that tags had: %w", err)
	}
	return calls, nil
}

// maxEvents is how many events a pull asks for that no row names. A month of a middling hub has as many.
const maxEvents = 20_000

// pastEvents reads all events since S, so that each can be pinned by name: Pungi asks for the event itself.
// Where there are too many the snapshot has those that rows name; at another one calls answer as they
// do at the last of these before it.
func (p *puller) pastEvents(ctx context.Context) error {
	if p.start == 0 {
		return nil
	}
	from := p.start
	var had idset.Set
	if p.carry != nil {
		err := snapshot.EachRow(ctx, p.base, relation.Get("events"), func(row [][]byte) error {
			id, err := idset.Parse(row[0])
			if err == nil && id >= p.start && id <= p.event {
				p.builder.Refer("events", id)
				had.Add(id)
			}
			return err
		})
		if err != nil {
			return err
		}
		if p.sameStart() {
			from = max(from, min(p.carry.after, p.base.Manifest.Event))
		}
	}
	if p.event-from > maxEvents {
		p.log.InfoContext(ctx, "only events that rows name are read", "since", from, "events", p.event-from, "most", maxEvents)
		return nil
	}
	var ids []int64
	for id := from + 1; id < p.event; id++ {
		if !p.builder.Has("events", id) && !had.Has(id) {
			ids = append(ids, id)
		}
	}
	return p.inStage(ctx, "events", func(p *puller) error {
		for some := range slices.Chunk(ids, 1000) {
			if err := onceOnly(ctx, p, digest(some), func(p *puller) error { return p.askEvents(ctx, some) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// askEvents reads events, those that there are: transactions that were rolled back leave gaps.
func (p *puller) askEvents(ctx context.Context, ids []int64) error {
	calls := make([]hub.Call, len(ids))
	for i, id := range ids {
		calls[i] = hub.Call{Method: "getEvent", Args: []any{id}}
	}
	results, err := p.hub.Multi(ctx, calls)
	if err != nil {
		return fmt.Errorf("events since %d: %w", p.start, err)
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
			if err := p.addEvent(ids[i], ts); err != nil {
				return err
			}
		}
	}
	return nil
}
