package pull

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// listRPMs reads the rpms of builds.
func (b buildReader) listRPMs(ctx context.Context, stageName string, ids *idset.Set) error {
	return b.inStage(ctx, stageName, func(t task) error { return b.askRPMs(ctx, t, ids) })
}

func (b buildReader) askRPMs(ctx context.Context, t task, ids *idset.Set) error {
	take := func(batch *checkpoint.Batch, r hub.Value) error { return t.in(batch).putRPM(r) }
	return t.askByID(ctx, idReader{relation: "rpminfo", name: "rpms", owner: "build", method: "listRPMs",
		pages: func(ids *idset.Set, rows int64) error {
			_, err := b.pager.Pages(ctx, t.stage, "rpminfo", hub.Call{Method: "listRPMs"}, "id", rows, pager.RowFilter{IDs: ids, Member: "build_id", Take: take})
			return err
		},
		batch: func(t task) idBatch {
			return idBatch{
				put: func(r hub.Row) error { return t.putRPM(r.Value) },
				apart: func(ctx context.Context, call hub.Call, build int64, why error) error {
					return b.rpmsApart(ctx, t, call, build, why)
				},
			}
		},
		calls: b.newFailing(),
	}, ids)
}

// rpmsApart reads the rpms of a build that the hub cannot send in one reply.
func (b buildReader) rpmsApart(ctx context.Context, t task, call hub.Call, build int64, why error) error {
	var had idset.Set
	put := func(r hub.Row, assume map[string][]byte) error {
		id, _ := r.Get("id").Int()
		if had.Has(id) {
			return nil
		}
		had.Add(id)
		return t.putRPMAs(r.Value, assume, why)
	}
	lost, first, err := b.pager.Split(ctx, b.hub.Stream, call, "id", why, func(r hub.Row) error { return put(r, nil) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	found := int64(0)
	assume := map[string][]byte{"extra": nil, "external_repo_id": []byte("0")}
	err = b.withoutExtra(ctx, "listTaggedRPMS", build, func(r hub.Row) error {
		if id, _ := r.Get("id").Int(); !had.Has(id) {
			found++
		}
		return put(r, assume)
	})
	if err != nil || found >= lost && lost > 0 {
		return err
	}
	t.skipBuild("rpminfo", build, why)
	return nil
}

// putRPM adds an rpm of this hub or of an external repo.
func (t task) putRPM(r hub.Value) error { return t.putRPMAs(r, nil, nil) }

// putRPMAs is putRPM for rows of a call that does not return all columns, for the reason why.
func (t task) putRPMAs(r hub.Value, assume map[string][]byte, why error) error {
	rel := relation.Get("rpminfo")
	row, fault, err := t.row("rpminfo", r, assume)
	if err != nil {
		return err
	}
	if fault != nil {
		return t.skipRow(rel, row, fault)
	}
	if assume != nil {
		t.goWithout(rel, row, []snapshot.Lack{{Column: "extra", Why: why}})
	}
	if row[rel.Index("build_id")] == nil {
		row[rel.Index("draft")] = nil // an external rpm belongs to no build; Koji 1.34's migration set it to NULL
	}
	repo, _ := r.Field("external_repo_id").Int()
	if repo != 0 {
		if err := t.addNamed("external_repo", repo, r.Field("external_repo_name")); err != nil {
			return err
		}
	}
	if build, ok := r.Field("build_id").Int(); ok {
		draft, _ := r.Field("draft").Bool()
		t.drafts.rpm(build, draft)
	}
	return t.add("rpminfo", row)
}

// querySignatures reads the signatures of all rpms so far.
func (b buildReader) querySignatures(ctx context.Context) error {
	ids := b.builder.Added("rpminfo")
	return b.inStage(ctx, "signatures", func(t task) error { return b.askSignatures(ctx, t, ids) })
}

func (b buildReader) askSignatures(ctx context.Context, t task, ids *idset.Set) error {
	return t.askByID(ctx, idReader{relation: "rpmsigs", name: "signatures", owner: "rpm", method: "queryRPMSigs",
		pages: func(ids *idset.Set, rows int64) error {
			_, err := b.pager.Pages(ctx, t.stage, "rpmsigs", hub.Call{Method: "queryRPMSigs"}, "rpm_id,sigkey", rows, pager.RowFilter{IDs: ids, Member: "rpm_id", Take: t.putInto("rpmsigs")})
			return err
		},
		batch: func(t task) idBatch {
			return idBatch{
				put: func(r hub.Row) error { return t.put("rpmsigs", r.Value) },
				apart: func(_ context.Context, _ hub.Call, rpm int64, why error) error {
					t.skip(snapfile.LeftOut{Relation: "rpmsigs", Row: fmt.Sprint("rpm ", rpm), Reason: why.Error(), Column: "rpm_id", ID: rpm})
					return nil
				},
			}
		},
		calls: &failing{},
	}, ids)
}
