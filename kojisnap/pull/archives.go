package pull

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// archiveTables are the types of builds whose archives have a table of their own.
var archiveTables = map[string]string{"maven": "maven_archives", "win": "win_archives", "image": "image_archives"}

// archiveCalls are the calls that tell what is in those tables for one archive.
var archiveCalls = map[string]string{"maven": "getMavenArchive", "win": "getWinArchive", "image": "getImageArchive"}

// listArchives reads the archives of builds, with what their type adds.
func (p *puller) listArchives(ctx context.Context, ids []int64) error {
	return p.inStage(ctx, "archives", func(p *puller) error { return p.askArchives(ctx, ids) })
}

func (p *puller) askArchives(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "archiveinfo", ids, func(of *idset.Set, rows int64) error { return p.archivesByTable(ctx, of, rows) })
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("archives", int64(len(ids)))
	defer bar.End()
	f := p.newFailing()
	err = p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "listArchives", Args: []any{id}}
		}
		var typed typedArchives
		bad := make([]bool, len(ids))
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			typed.note(r.Value, false)
			return p.put("archiveinfo", r.Value)
		}, func(i int, err error) error {
			bad[i] = true
			if err := p.archivesApart(ctx, calls[i], ids[i], &typed, err); err != nil {
				return err
			}
			return f.failed(ids[i], fmt.Errorf("archives of build %d: %w", ids[i], err))
		})
		f.passed(bad)
		if err != nil {
			return err
		}
		return p.askTyped(ctx, &typed)
	})
	if err != nil {
		return err
	}
	return f.end()
}

// archivesApart reads the archives of a build that the hub cannot send all at once.
func (p *puller) archivesApart(ctx context.Context, call hub.Call, build int64, typed *typedArchives, why error) error {
	var had idset.Set
	rel := relation.Get("archiveinfo")
	put := func(r hub.Row, assume map[string][]byte) error {
		id, _ := r.Get("id").Int()
		if had.Has(id) {
			return nil
		}
		had.Add(id)
		typed.note(r.Value, false)
		row, fault, err := p.tryConvert("archiveinfo", r.Value, assume)
		if err != nil {
			return err
		}
		if fault != nil {
			return p.leaveRow(rel, row, fault)
		}
		if assume != nil {
			p.goWithout(rel, row, []snapshot.Lack{{Column: "extra", Why: why}})
		}
		return p.addRow("archiveinfo", row, false)
	}
	lost, first, err := p.apart(ctx, p.hub.Stream, call, "id", why, func(r hub.Row) error { return put(r, nil) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	found := int64(0)
	err = p.withoutExtra(ctx, "listTaggedArchives", build, func(r hub.Row) error {
		if id, _ := r.Get("id").Int(); !had.Has(id) {
			found++
		}
		return put(r, map[string][]byte{"extra": nil})
	})
	if err != nil || found >= lost && lost > 0 {
		return err
	}
	p.leaveBuild("archiveinfo", build, why)
	return nil
}

// archivesOf are those of a build that have a table of their type, or one of them.
type archivesOf struct {
	build, archive int64 // archive 0: all
	btype          string
}

func (a archivesOf) call() hub.Call {
	kwargs := map[string]any{"buildID": a.build, "type": a.btype}
	if a.archive != 0 {
		kwargs["archiveID"] = a.archive
	}
	return hub.Call{Method: "listArchives", Kwargs: kwargs}
}

// typedArchives are the archives of a batch whose type has a table of its own.
type typedArchives struct {
	of  []archivesOf
	ids map[archivesOf][]int64
}

// note notes an archive: alone if not all of its build's are in question.
func (t *typedArchives) note(r hub.Value, alone bool) {
	btype, _ := r.Field("btype").Str()
	id, ok := r.Field("id").Int()
	if archiveTables[btype] == "" || !ok {
		return
	}
	of := archivesOf{btype: btype}
	of.build, _ = r.Field("build_id").Int()
	if alone {
		of.archive = id
	}
	if t.ids == nil {
		t.ids = map[archivesOf][]int64{}
	}
	if len(t.ids[of]) == 0 {
		t.of = append(t.of, of)
	}
	t.ids[of] = append(t.ids[of], id)
}

// askTyped reads what the types of archives add to them. The call for that brings along all else of
// those archives: where the hub cannot answer it, they are asked for one by one, by calls that do
// not.
func (p *puller) askTyped(ctx context.Context, t *typedArchives) error {
	calls := make([]hub.Call, len(t.of))
	for i, of := range t.of {
		calls[i] = of.call()
	}
	var single []hub.Call
	var names []string
	err := p.each(ctx, calls, func(i int, r hub.Row) error {
		return p.put(archiveTables[t.of[i].btype], r.Value)
	}, func(i int, _ error) error {
		for _, id := range t.ids[t.of[i]] {
			single = append(single, hub.Call{Method: archiveCalls[t.of[i].btype], Args: []any{id}})
			names = append(names, archiveTables[t.of[i].btype])
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.each(ctx, single, func(i int, r hub.Row) error {
		if r.IsNil() {
			return nil
		}
		return p.put(names[i], r.Value)
	}, func(i int, err error) error {
		id := single[i].Args[0].(int64)
		p.leave(snapfile.LeftOut{Relation: names[i], Row: fmt.Sprint("archive ", id), Reason: err.Error(), Column: "archive_id", ID: id})
		return nil
	})
}

// pullComponents reads what the archives of the scope consist of: rpms and archives, and the
// builds of those, no further.
func (p *puller) pullComponents(ctx context.Context) error {
	ids := p.builder.IDs("archiveinfo")
	err := p.inStage(ctx, "components", func(p *puller) error { return p.askComponents(ctx, ids) })
	if err == nil {
		err = p.fillSkipped(ctx) // whose builds are asked for, too
	}
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
		var typed typedArchives
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			return p.putComponent(ids[i/2], i%2 == 0, r, &typed)
		}, func(i int, err error) error { return p.componentsApart(ctx, calls[i], ids[i/2], i%2 == 0, &typed, err) })
		if err != nil {
			return err
		}
		return p.askTyped(ctx, &typed)
	})
}

// putComponent adds an rpm or an archive that an archive has in it.
func (p *puller) putComponent(archive int64, isRPM bool, r hub.Row, typed *typedArchives) error {
	id, ok := r.Get("id").Int()
	if !ok {
		return fmt.Errorf("a component without an id: %s", describeRow(r.Value))
	}
	name := "archive_components"
	if isRPM {
		name = "archive_rpm_components"
		if err := p.putRPM(r.Value); err != nil {
			return err
		}
	} else {
		typed.note(r.Value, true)
		if err := p.put("archiveinfo", r.Value); err != nil {
			return err
		}
	}
	if idset.Check(id) != nil {
		return nil // what came of it is noted
	}
	return p.addRow(name, [][]byte{idset.Text(archive), idset.Text(id)}, false)
}

// componentsApart reads what an archive consists of, rpms or archives, where the hub cannot send all
// at once.
func (p *puller) componentsApart(ctx context.Context, call hub.Call, archive int64, rpms bool, typed *typedArchives, why error) error {
	name := "archive_components"
	if rpms {
		name = "archive_rpm_components"
	}
	lost, first, err := p.apart(ctx, p.hub.Stream, call, "id", why, func(r hub.Row) error { return p.putComponent(archive, rpms, r, typed) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	p.leave(snapfile.LeftOut{Relation: name, Row: fmt.Sprint("archive ", archive), Reason: why.Error(), Column: "archive_id", ID: archive})
	return nil
}

// componentBuilds reads the builds of components, those that are not carried over.
func (p *puller) componentBuilds(ctx context.Context) error {
	if p.carry == nil {
		return p.getBuilds(ctx, "component-builds", p.builder.Wanted("build"), false)
	}
	err := p.carryArchives(ctx)
	if err == nil {
		err = p.fold(ctx, "archive_components", "archive_rpm_components", "archiveinfo", "rpminfo", "tag_listing")
	}
	if err == nil {
		err = p.foldRevoked(ctx, "tag_listing")
	}
	if err != nil {
		return err
	}
	var ask []int64
	for _, id := range p.builder.Wanted("build") {
		if !p.carry.carriesBuild(id) && (!p.carry.known.Has(id) || p.carry.unsettled.Has(id) || p.carry.again.Has(id) || p.swept(id)) {
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
	if err := p.fold(ctx, rest...); err != nil {
		return err
	}
	return p.foldRevoked(ctx, rest...)
}
