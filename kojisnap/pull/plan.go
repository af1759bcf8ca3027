package pull

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
)

// plan counts, at little cost to the hub, what a pull would begin with: the active rows of the
// scope's versioned relations. Of builds and what belongs to them it estimates from those what
// would be asked, and how.
func (p *puller) plan(ctx context.Context) (*Result, error) {
	var calls, past []hub.Call
	for _, tag := range p.scope.All {
		count := func(name string, v any) {
			calls = append(calls, hub.Call{Method: "queryHistory", Kwargs: map[string]any{
				"tables": toAny(tagHistory), "tag": tag.ID, name: v, "queryOpts": map[string]any{"countOnly": true},
			}})
		}
		count("active", true)
		if p.carry != nil && p.carry.tags[tag.ID] {
			count("afterEvent", p.carry.after)
		}
		if p.start > 0 && (p.carry == nil || !p.carry.tags[tag.ID] || p.missingHistory(tag.ID) > 0) {
			past = append(past, hub.Call{Method: "queryHistory", Kwargs: map[string]any{
				"tables": toAny(tagHistory), "tag": tag.ID, "active": false, "afterEvent": p.start, "queryOpts": map[string]any{"countOnly": true},
			}})
		}
	}
	results, err := p.hub.Multi(ctx, calls)
	if err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	history := Estimate{Relation: "history", By: "history"}
	var builds int64
	m := &snapfile.Manifest{Hub: p.hub.URL(), KojiVersion: p.version.String(), Event: p.event, EventTime: p.eventTime, Scope: p.scope}
	r := p.result(m)
	r.Existing = p.base != nil && p.base.Manifest.Event == p.event && slices.Equal(p.base.Manifest.Scope.Builds, p.scope.Builds) && len(past) == 0
	for i, res := range results {
		if res.Err != nil {
			return nil, fmt.Errorf("counts of tag %v: %w", calls[i].Kwargs["tag"], res.Err)
		}
		later := calls[i].Kwargs["active"] == nil
		carried := p.carry != nil && p.carry.tags[calls[i].Kwargs["tag"].(int64)]
		for name, n := range res.Value.Members() {
			count, _ := n.Int()
			if !later {
				r.Rows[name] += count
			}
			asked := count
			if !later && carried {
				asked = count / int64(p.opt.Sweep)
			}
			if name == "tag_listing" {
				builds += asked
			}
			if later || !carried {
				history.Rows += count
			}
		}
		if later || !carried {
			history.Requests += 1
		}
	}
	revoked, err := p.hub.Multi(ctx, past)
	if err != nil {
		return nil, fmt.Errorf("counts of history: %w", err)
	}
	for i, res := range revoked {
		if res.Err != nil {
			return nil, fmt.Errorf("counts of history of tag %v: %w", past[i].Kwargs["tag"], res.Err)
		}
		history.Requests++
		for name, n := range res.Value.Members() {
			count, _ := n.Int()
			history.Rows += count
			if name == "tag_listing" {
				builds += count
			}
		}
	}
	history.Bytes = history.Rows * historyBytes
	history.Seconds = (time.Duration(history.Rows)*historyRow + time.Duration(history.Requests)*priceRequest).Seconds()
	r.Plan, err = p.planBuilds(ctx, builds+int64(len(p.scope.Builds)))
	r.Plan = append([]Estimate{history}, r.Plan...)
	return r, err
}

// A row of queryHistory, measured as the prices were: 24,000 of tag_listing 0.7 s and 31 MB.
const (
	historyRow   = 28 * time.Microsecond
	historyBytes = 1300
)

// planBuilds estimates what builds and all that belongs to them would come to. As many rpms are
// taken to belong to each as the hub has for its builds in the mean.
func (p *puller) planBuilds(ctx context.Context, builds int64) ([]Estimate, error) {
	if err := p.loadBTypes(ctx); err != nil {
		return nil, err
	}
	newest := map[string]int64{}
	for method, id := range map[string]string{"listBuilds": "build_id", "listRPMs": "id"} {
		v, err := p.hub.Call(ctx, hub.Call{Method: method, Kwargs: map[string]any{"queryOpts": map[string]any{"order": "-" + id, "limit": 1}}})
		if err != nil {
			return nil, fmt.Errorf("newest row by %s: %w", method, err)
		}
		newest[method], _ = v.Index(0).Field(id).Int()
	}
	rpms := builds * newest["listRPMs"] / max(1, newest["listBuilds"])
	var plan []Estimate
	for _, part := range []struct {
		name string
		ids  int64
	}{{"build", builds}, {"rpminfo", builds}, {"rpmsigs", rpms}, {"archiveinfo", builds}} {
		way, err := p.choose(ctx, part.name, int(part.ids))
		if err != nil {
			return nil, err
		}
		plan = append(plan, way)
	}
	return plan, nil
}

func toAny(names []string) []any {
	a := make([]any, len(names))
	for i, n := range names {
		a[i] = n
	}
	return a
}
