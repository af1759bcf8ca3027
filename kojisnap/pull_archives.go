package kojisnap

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
)

// archiveTables are the types of builds whose archives have a table of their own.
var archiveTables = map[string]string{"maven": "maven_archives", "win": "win_archives", "image": "image_archives"}

// listArchives reads the archives of builds, with what their type adds.
func (p *puller) listArchives(ctx context.Context, ids []int64) error {
	return p.inStage(ctx, "archives", func(p *puller) error { return p.askArchives(ctx, ids) })
}

func (p *puller) askArchives(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "archiveinfo", ids, func(of *idSet, rows int64) error { return p.archivesByTable(ctx, of, rows) })
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("archives", int64(len(ids)))
	defer bar.End()
	return p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "listArchives", Args: []any{id}}
		}
		var typed []hub.Call
		asked := map[string]bool{}
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			btype, _ := r.Get("btype").Str()
			if key := fmt.Sprint(ids[i], btype); archiveTables[btype] != "" && !asked[key] {
				asked[key] = true
				typed = append(typed, hub.Call{Method: "listArchives", Kwargs: map[string]any{"buildID": ids[i], "type": btype}})
			}
			return p.put("archiveinfo", r.Value)
		}, func(i int, err error) error {
			p.leave("archiveinfo", fmt.Sprintf("build %d", ids[i]), err)
			return nil
		})
		if err != nil {
			return err
		}
		return p.each(ctx, typed, func(i int, r hub.Row) error {
			return p.put(archiveTables[typed[i].Kwargs["type"].(string)], r.Value)
		}, func(i int, err error) error {
			return fmt.Errorf("archives of build %v: %w", typed[i].Kwargs["buildID"], err)
		})
	})
}

// pullComponents reads what the archives of the scope consist of: rpms and archives, and the
// builds of those, no further.
func (p *puller) pullComponents(ctx context.Context) error {
	ids := p.tables["archiveinfo"].all()
	err := p.inStage(ctx, "components", func(p *puller) error { return p.askComponents(ctx, ids) })
	if err != nil {
		return err
	}
	return p.componentBuilds(ctx)
}

func (p *puller) askComponents(ctx context.Context, ids []int64) error {
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("components", int64(len(ids)))
	defer bar.End()
	return p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, 0, 2*len(ids))
		for _, id := range ids {
			of := map[string]any{"imageID": id}
			calls = append(calls, hub.Call{Method: "listRPMs", Kwargs: of}, hub.Call{Method: "listArchives", Kwargs: of})
		}
		var typed []hub.Call
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			component, ok := r.Get("id").Int()
			if !ok {
				return fmt.Errorf("a component without an id: %s", describeRow(r.Value))
			}
			pair := [][]byte{strconv.AppendInt(nil, ids[i/2], 10), strconv.AppendInt(nil, component, 10)}
			if i%2 == 0 {
				if err := p.putRPM(r.Value); err != nil {
					return err
				}
				return p.addRow("archive_rpm_components", pair, false)
			}
			if btype, _ := r.Get("btype").Str(); archiveTables[btype] != "" {
				build, _ := r.Get("build_id").Int()
				typed = append(typed, hub.Call{Method: "listArchives", Kwargs: map[string]any{"archiveID": component, "buildID": build, "type": btype}})
			}
			if err := p.put("archiveinfo", r.Value); err != nil {
				return err
			}
			return p.addRow("archive_components", pair, false)
		}, func(i int, err error) error {
			p.leave("archive components", fmt.Sprintf("archive %d", ids[i/2]), err)
			return nil
		})
		if err != nil {
			return err
		}
		return p.each(ctx, typed, func(i int, r hub.Row) error {
			return p.put(archiveTables[typed[i].Kwargs["type"].(string)], r.Value)
		}, func(i int, err error) error { return fmt.Errorf("archive %v: %w", typed[i].Kwargs["archiveID"], err) })
	})
}

// componentBuilds reads the builds of components, those that are not carried over.
func (p *puller) componentBuilds(ctx context.Context) error {
	if p.carry == nil {
		return p.getBuilds(ctx, "component-builds", p.tables["build"].wanted(), false)
	}
	err := p.carryArchives(ctx)
	if err == nil {
		err = p.fold(ctx, "archive_components", "archive_rpm_components", "archiveinfo", "rpminfo", "tag_listing")
	}
	if err != nil {
		return err
	}
	var ask []int64
	for _, id := range p.tables["build"].wanted() {
		if !p.carry.carriesBuild(id) && (!p.carry.known.has(id) || p.carry.unsettled.has(id) || p.swept(id)) {
			ask = append(ask, id)
		}
	}
	if err := p.getBuilds(ctx, "component-builds", ask, false); err != nil {
		return err
	}
	var rest []string
	for _, rel := range slices.Backward(relation.All()) {
		if rel.Name == "build" || rel.Name == "build_types" || rel.Versioned && rel.Name != "tag_listing" {
			rest = append(rest, rel.Name)
		}
	}
	return p.fold(ctx, rest...)
}
