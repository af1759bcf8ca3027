package pull

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// archiveReader reads archives and their components.
type archiveReader struct{ *run }

// archiveTables are the build types whose archives have a table of their own.
var archiveTables = map[string]string{"maven": "maven_archives", "win": "win_archives", "image": "image_archives"}

// archiveCalls are the calls that return one archive's row of those tables.
var archiveCalls = map[string]string{"maven": "getMavenArchive", "win": "getWinArchive", "image": "getImageArchive"}

// read reads the archives of builds, with the rows of their types.
func (a archiveReader) read(ctx context.Context, ids *idset.Set) error {
	return a.inStage(ctx, "archives", func(t task) error { return a.askArchives(ctx, t, ids) })
}

func (a archiveReader) askArchives(ctx context.Context, t task, ids *idset.Set) error {
	return t.askByID(ctx, idReader{relation: "archiveinfo", name: "archives", owner: "build", method: "listArchives",
		pages: func(ids *idset.Set, rows int64) error { return a.archivesByTable(ctx, t, ids, rows) },
		batch: func(t task) idBatch {
			var typed typedArchives
			return idBatch{
				put: func(r hub.Row) error {
					typed.note(r.Value, false)
					return t.put("archiveinfo", r.Value)
				},
				apart: func(ctx context.Context, call hub.Call, build int64, why error) error {
					return a.archivesApart(ctx, t, call, build, &typed, why)
				},
				end: func(ctx context.Context) error { return a.askTyped(ctx, t, &typed) },
			}
		},
		calls: a.newFailing(),
	}, ids)
}

// archivesByTable reads archives of builds page by page, with the rows of their types.
func (a archiveReader) archivesByTable(ctx context.Context, t task, ids *idset.Set, rows int64) error {
	_, err := a.pager.Pages(ctx, t.stage, "archiveinfo", hub.Call{Method: "listArchives"}, "id", rows, pager.RowFilter{IDs: ids, Member: "build_id", Take: t.putInto("archiveinfo")})
	for btype, name := range archiveTables {
		if err != nil {
			return err
		}
		call := hub.Call{Method: "listArchives", Kwargs: map[string]any{"type": btype}}
		_, err = a.pager.Pages(ctx, t.stage, "archiveinfo", call, "id", -1, pager.RowFilter{IDs: ids, Member: "build_id", Take: t.putInto(name)})
	}
	return err
}

// archivesApart reads the archives of a build that the hub cannot send in one reply.
func (a archiveReader) archivesApart(ctx context.Context, t task, call hub.Call, build int64, typed *typedArchives, why error) error {
	var had idset.Set
	rel := relation.Get("archiveinfo")
	put := func(r hub.Row, assume map[string][]byte) error {
		id, _ := r.Get("id").Int()
		if had.Has(id) {
			return nil
		}
		had.Add(id)
		typed.note(r.Value, false)
		row, fault, err := t.row("archiveinfo", r.Value, assume)
		if err != nil {
			return err
		}
		if fault != nil {
			return t.skipRow(rel, row, fault)
		}
		if assume != nil {
			t.goWithout(rel, row, []snapshot.Lack{{Column: "extra", Why: why}})
		}
		return t.add("archiveinfo", row)
	}
	lost, first, err := a.pager.Split(ctx, a.hub.Stream, call, "id", why, func(r hub.Row) error { return put(r, nil) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	found := int64(0)
	err = a.withoutExtra(ctx, "listTaggedArchives", build, func(r hub.Row) error {
		if id, _ := r.Get("id").Int(); !had.Has(id) {
			found++
		}
		return put(r, map[string][]byte{"extra": nil})
	})
	if err != nil || found >= lost && lost > 0 {
		return err
	}
	t.skipBuild("archiveinfo", build, why)
	return nil
}

// archivesOf are a build's archives of one type with a table of its own, or one of them.
type archivesOf struct {
	build, archive int64 // archive 0: all
	btype          string
}

func (of archivesOf) call() hub.Call {
	kwargs := map[string]any{"buildID": of.build, "type": of.btype}
	if of.archive != 0 {
		kwargs["archiveID"] = of.archive
	}
	return hub.Call{Method: "listArchives", Kwargs: kwargs}
}

// typedArchives are the archives of a batch whose type has a table of its own.
type typedArchives struct {
	of  []archivesOf
	ids map[archivesOf][]int64
}

// note notes an archive. alone: only this archive of its build is wanted.
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

// askTyped reads the archives' rows in the tables of their types. The call returns everything else about the
// archives, too. If the hub cannot answer it, askTyped asks for one archive at a time with calls that do not.
func (a archiveReader) askTyped(ctx context.Context, t task, typed *typedArchives) error {
	calls := make([]hub.Call, len(typed.of))
	for i, of := range typed.of {
		calls[i] = of.call()
	}
	var single []hub.Call
	var names []string
	err := t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
		return t.put(archiveTables[typed.of[i].btype], r.Value)
	}, func(i int, _ error) error {
		for _, id := range typed.ids[typed.of[i]] {
			single = append(single, hub.Call{Method: archiveCalls[typed.of[i].btype], Args: []any{id}})
			names = append(names, archiveTables[typed.of[i].btype])
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.pager.Each(ctx, single, func(i int, r hub.Row) error {
		if r.IsNil() {
			return nil
		}
		return t.put(names[i], r.Value)
	}, func(i int, err error) error {
		id := single[i].Args[0].(int64)
		t.skip(snapfile.LeftOut{Relation: names[i], Row: fmt.Sprint("archive ", id), Reason: err.Error(), Column: "archive_id", ID: id})
		return nil
	})
}

// readComponents reads the components of the scope's archives: rpms and archives, and the builds of these,
// but not further.
func (a archiveReader) readComponents(ctx context.Context) error {
	ids := a.builder.Added("archiveinfo")
	err := a.inStage(ctx, "components", func(t task) error { return a.askComponents(ctx, t, ids) })
	if err == nil {
		err = a.fillSkipped(ctx) // their builds are asked for, too
	}
	if err != nil {
		return err
	}
	return a.componentBuilds(ctx)
}

func (a archiveReader) askComponents(ctx context.Context, t task, ids *idset.Set) error {
	ids = t.stage.Rest(ids)
	bar := a.opt.Progress.Begin("components", int64(ids.Len()))
	defer bar.End()
	return a.pager.Batches(ctx, t.stage, ids, bar, func(ctx context.Context, b *checkpoint.Batch, ids []int64) error {
		t := t.in(b)
		calls := make([]hub.Call, 0, 2*len(ids))
		for _, id := range ids {
			of := map[string]any{"imageID": id}
			calls = append(calls, hub.Call{Method: "listRPMs", Kwargs: of}, hub.Call{Method: "listArchives", Kwargs: of})
		}
		var typed typedArchives
		err := t.pager.Each(ctx, calls, func(i int, r hub.Row) error {
			return t.putComponent(ids[i/2], i%2 == 0, r, &typed)
		}, func(i int, err error) error {
			return a.componentsApart(ctx, t, calls[i], ids[i/2], i%2 == 0, &typed, err)
		})
		if err != nil {
			return err
		}
		return a.askTyped(ctx, t, &typed)
	})
}

// putComponent adds an rpm or an archive that is a component of an archive.
func (t task) putComponent(archive int64, isRPM bool, r hub.Row, typed *typedArchives) error {
	id, ok := r.Get("id").Int()
	if !ok {
		return fmt.Errorf("a component without an id: %s", pager.DescribeRow(r.Value))
	}
	name := "archive_components"
	if isRPM {
		name = "archive_rpm_components"
		if err := t.putRPM(r.Value); err != nil {
			return err
		}
	} else {
		typed.note(r.Value, true)
		if err := t.put("archiveinfo", r.Value); err != nil {
			return err
		}
	}
	if idset.Check(id) != nil {
		return nil // the row itself was noted already
	}
	return t.add(name, [][]byte{idset.Text(archive), idset.Text(id)})
}

// componentsApart reads the rpms or the archives in an archive that the hub cannot send in one reply.
func (a archiveReader) componentsApart(ctx context.Context, t task, call hub.Call, archive int64, rpms bool, typed *typedArchives, why error) error {
	name := "archive_components"
	if rpms {
		name = "archive_rpm_components"
	}
	lost, first, err := a.pager.Split(ctx, a.hub.Stream, call, "id", why, func(r hub.Row) error { return t.putComponent(archive, rpms, r, typed) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	t.skip(snapfile.LeftOut{Relation: name, Row: fmt.Sprint("archive ", archive), Reason: why.Error(), Column: "archive_id", ID: archive})
	return nil
}

// componentBuilds reads the builds of components that are not kept from the base.
func (a archiveReader) componentBuilds(ctx context.Context) error {
	if a.inc == nil {
		return a.builds().getBuilds(ctx, "component-builds", idset.Of(a.builder.Wanted("build")), false)
	}
	err := a.inc.findArchives(ctx)
	if err == nil {
		err = a.inc.collectRefs(ctx, "archive_components", "archive_rpm_components", "archiveinfo", "rpminfo", "tag_listing")
	}
	if err == nil {
		err = a.inc.collectRevokedRefs(ctx, "tag_listing")
	}
	if err != nil {
		return err
	}
	ask := new(idset.Set)
	for _, id := range a.builder.Wanted("build") {
		if !a.inc.keepsBuild(id) && (!a.inc.known.Has(id) || a.inc.unsettled.Has(id) || a.inc.again.Has(id) || a.inc.inSweepSlice(id)) {
			ask.Add(id)
		}
	}
	if err := a.builds().getBuilds(ctx, "component-builds", ask, false); err != nil {
		return err
	}
	var rest []string
	for _, rel := range slices.Backward(relation.All()) {
		if rel.Name == "build" || rel.Name == "build_types" || rel.Versioned && rel.Name != "tag_listing" {
			rest = append(rest, rel.Name)
		}
	}
	if err := a.inc.collectRefs(ctx, rest...); err != nil {
		return err
	}
	return a.inc.collectRevokedRefs(ctx, rest...)
}
