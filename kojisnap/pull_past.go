package kojisnap

import (
	"context"
	"fmt"
	"sync"

	"kojisnap/kojisnap/hub"
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
	type at struct{ tag, event int64 }
	asked := map[at]bool{}
	var calls []hub.Call
	for _, tag := range p.scope.All {
		after := p.since
		if p.carry != nil && p.carry.tags[tag.ID] && p.missingHistory(tag.ID) == 0 {
			after = max(after, min(p.carry.after, p.base.Manifest.Event))
		}
		call := rowsOf(hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_external_repos"}, "tag": tag.ID, "active": false, "afterEvent": after}})
		err := p.hub.StreamTables(ctx, call, func(_ string, r hub.Row) error {
			created, _ := r.Get("create_event").Int()
			key := at{tag.ID, created}
			if r.Get("arches").Kind() != hub.Missing || created <= 0 || created > p.event || asked[key] {
				return nil
			}
			asked[key] = true
			calls = append(calls, rowsOf(hub.Call{Method: "getTagExternalRepos", Kwargs: map[string]any{"tag_info": tag.ID, "event": created}}))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("those that tag %s had: %w", tag.Name, err)
		}
	}
	return calls, nil
}
