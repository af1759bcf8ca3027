package pull

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// plan counts, at little cost to the hub, what a pull would begin with: the active rows of the scope's
// versioned relations. From these it estimates what it would ask about builds, and how.
func (r *run) plan(ctx context.Context) (*Result, error) {
	if r.opt.Everything {
		return r.planEverything(ctx)
	}
	var calls, past []hub.Call
	for _, tag := range r.Scope.All {
		count := func(name string, v any) {
			calls = append(calls, hub.Call{Method: "queryHistory", Kwargs: map[string]any{
				"tables": toAny(tagHistory), "tag": tag.ID, name: v, "queryOpts": map[string]any{"countOnly": true},
			}})
		}
		count("active", true)
		if r.inc != nil && r.inc.tags[tag.ID] {
			count("afterEvent", r.inc.after)
		}
		if r.Start > 0 && (r.inc == nil || !r.inc.tags[tag.ID] || r.inc.missingHistory(tag.ID) > 0) {
			past = append(past, hub.Call{Method: "queryHistory", Kwargs: map[string]any{
				"tables": toAny(tagHistory), "tag": tag.ID, "active": false, "afterEvent": r.Start, "queryOpts": map[string]any{"countOnly": true},
			}})
		}
	}
	results, err := r.countAll(ctx, calls)
	if err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	history := pager.Estimate{Relation: "history", By: "history"}
	var builds int64
	m := &snapfile.Manifest{Hub: r.hub.URL(), KojiVersion: r.version.String(), Event: r.Event, EventTime: r.EventTime, Scope: r.Scope}
	result := r.result(m)
	result.Existing = r.base != nil && r.base.Manifest.Event == r.Event && slices.Equal(r.base.Manifest.Scope.Builds, r.Scope.Builds) && len(past) == 0
	for i, counts := range results {
		later := calls[i].Kwargs["active"] == nil
		kept := r.inc != nil && r.inc.tags[calls[i].Kwargs["tag"].(int64)]
		for name, count := range counts {
			if !later {
				result.Rows[name] += count
			}
			asked := count
			if !later && kept {
				asked = count / int64(r.opt.Sweep)
			}
			if name == "tag_listing" {
				builds += asked
			}
			if later || !kept {
				history.Rows += count
			}
		}
		if later || !kept {
			history.Requests += 1
		}
	}
	revoked, err := r.countAll(ctx, past)
	if err != nil {
		return nil, fmt.Errorf("counts of history: %w", err)
	}
	for _, counts := range revoked {
		history.Requests++
		for name, count := range counts {
			history.Rows += count
			if name == "tag_listing" {
				builds += count
			}
		}
	}
	priceHistory(&history)
	result.Plan, err = r.planBuilds(ctx, builds+int64(len(r.Scope.Builds)))
	result.Plan = append([]pager.Estimate{history}, result.Plan...)
	return result, err
}

// countAll makes calls of queryHistory that ask for counts, and returns these by relation. A hub that cannot count sends
// the rows, and they are counted here: that costs it what the pull itself costs it for the history.
func (r *run) countAll(ctx context.Context, calls []hub.Call) ([]map[string]int64, error) {
	counts := make([]map[string]int64, len(calls))
	of := func(i int, err error) error {
		if tag := calls[i].Kwargs["tag"]; tag != nil {
			return fmt.Errorf("tag %v: %w", tag, err)
		}
		return err
	}
	if !countsHistory(r.version) {
		for i, call := range calls {
			none := func() {
				counts[i] = map[string]int64{}
				for _, name := range call.Kwargs["tables"].([]any) {
					counts[i][name.(string)] = 0
				}
			}
			none()
			whole := pager.RowsOf(hub.Call{Method: call.Method, Kwargs: maps.Clone(call.Kwargs)})
			delete(whole.Kwargs, "queryOpts")
			whole.Again = none
			err := r.hub.StreamTables(ctx, whole, func(table string, _ hub.Row) error {
				counts[i][table]++
				return nil
			})
			if err != nil {
				return nil, of(i, err)
			}
		}
		return counts, nil
	}
	results, err := r.hub.Multi(ctx, calls)
	if err != nil {
		return nil, err
	}
	for i, res := range results {
		if res.Err != nil {
			return nil, of(i, res.Err)
		}
		counts[i] = map[string]int64{}
		for name, n := range res.Value.Members() {
			counts[i][name], _ = n.Int()
		}
	}
	return counts, nil
}

// A row of queryHistory, measured as the costs of package pager were: 24,000 of tag_listing 0.7 s and 31 MB.
const (
	historyRow   = 28 * time.Microsecond
	historyBytes = 1300
)

// priceHistory adds what rows and requests of the history cost.
func priceHistory(e *pager.Estimate) {
	e.Bytes = e.Rows * historyBytes
	e.Seconds = (time.Duration(e.Rows)*historyRow + time.Duration(e.Requests)*pager.RequestCost).Seconds()
}

// planBuilds estimates the cost of builds and everything that belongs to them. It assumes the hub's average
// number of rpms for each.
func (r *run) planBuilds(ctx context.Context, builds int64) ([]pager.Estimate, error) {
	if err := r.names().readBuildTypes(ctx); err != nil {
		return nil, err
	}
	newest := map[string]int64{}
	for method, id := range map[string]string{"listBuilds": "build_id", "listRPMs": "id"} {
		v, err := r.hub.Call(ctx, hub.Call{Method: method, Kwargs: map[string]any{"queryOpts": map[string]any{"order": "-" + id, "limit": 1}}})
		if err != nil {
			return nil, fmt.Errorf("newest row by %s: %w", method, err)
		}
		newest[method], _ = v.Index(0).Field(id).Int()
	}
	rpms := builds * newest["listRPMs"] / max(1, newest["listBuilds"])
	var plan []pager.Estimate
	for _, part := range []struct {
		name string
		ids  int64
	}{{"build", builds}, {"rpminfo", builds}, {"rpmsigs", rpms}, {"archiveinfo", builds}} {
		strategy, err := r.pager.Choose(ctx, nil, part.name, int(part.ids))
		if err != nil {
			return nil, err
		}
		plan = append(plan, strategy)
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

// planEverything counts what plan counts for tags.
func (r *run) planEverything(ctx context.Context) (*Result, error) {
	m := &snapfile.Manifest{Hub: r.hub.URL(), KojiVersion: r.version.String(), Event: r.Event, EventTime: r.EventTime, Scope: r.Scope}
	result := r.result(m)
	result.Existing = r.base != nil && r.base.Manifest.Event == r.Event
	count := func(name string, v any) (map[string]int64, error) {
		if !countsHistory(r.version) { // all rows of the hub are too many to count here
			return map[string]int64{}, nil
		}
		call := hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": toAny(tagHistory), name: v, "queryOpts": map[string]any{"countOnly": true}}}
		counts, err := r.countAll(ctx, []hub.Call{call})
		if err != nil {
			return nil, fmt.Errorf("counts: %w", err)
		}
		return counts[0], nil
	}
	if !countsHistory(r.version) {
		r.log.WarnContext(ctx, "before Koji 1.34 a hub does not count the rows of its history: the plan is without them", "koji", r.version)
	}
	rows, err := count("active", true)
	if err != nil {
		return nil, err
	}
	result.Rows = rows
	asked, builds := rows, int64(0)
	if r.inc != nil {
		if asked, err = count("afterEvent", r.inc.after); err != nil {
			return nil, err
		}
	}
	all, err := r.pager.Count(ctx, nil, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"state": tagged.Complete}})
	if err != nil {
		return nil, err
	}
	result.Rows["build"], builds = all, all
	if r.inc != nil {
		builds = asked["tag_listing"] + all/int64(r.opt.Sweep)
	}
	history := pager.Estimate{Relation: "history", By: "history"}
	for _, name := range tagHistory {
		history.Rows += asked[name]
		history.Requests += 2 + asked[name]/windowRows
	}
	priceHistory(&history)
	result.Plan, err = r.planBuilds(ctx, builds)
	result.Plan = append([]pager.Estimate{history}, result.Plan...)
	return result, err
}
