package pull

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// listRPMs reads the rpms of builds.
func (p *puller) listRPMs(ctx context.Context, stageName string, ids []int64) error {
	return p.inStage(ctx, stageName, func(p *puller) error { return p.askRPMs(ctx, ids) })
}

func (p *puller) askRPMs(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "rpminfo", ids, func(of *idset.Set, rows int64) error {
		_, err := p.pages(ctx, hub.Call{Method: "listRPMs"}, "id", prices["rpminfo"].page, rows, pick{ids: of, member: "build_id", take: (*puller).putRPM})
		return err
	})
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("rpms", int64(len(ids)))
	defer bar.End()
	f := p.newFailing()
	err = p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "listRPMs", Args: []any{id}}
		}
		bad := make([]bool, len(ids))
		err := p.each(ctx, calls, func(_ int, r hub.Row) error { return p.putRPM(r.Value) }, func(i int, err error) error {
			bad[i] = true
			if err := p.rpmsApart(ctx, calls[i], ids[i], err); err != nil {
				return err
			}
			return f.failed(ids[i], fmt.Errorf("rpms of build %d: %w", ids[i], err))
		})
		f.passed(bad)
		return err
	})
	if err != nil {
		return err
	}
	return f.end()
}

// rpmsApart reads the rpms of a build that the hub cannot send all at once.
func (p *puller) rpmsApart(ctx context.Context, call hub.Call, build int64, why error) error {
	var had idset.Set
	put := func(r hub.Row, assume map[string][]byte) error {
		id, _ := r.Get("id").Int()
		if had.Has(id) {
			return nil
		}
		had.Add(id)
		return p.putRPMAs(r.Value, assume, why)
	}
	lost, first, err := p.apart(ctx, p.hub.Stream, call, "id", why, func(r hub.Row) error { return put(r, nil) })
	if err != nil || lost == 0 {
		return err
	}
	why = first
	found := int64(0)
	assume := map[string][]byte{"extra": nil, "external_repo_id": []byte("0")}
	err = p.withoutExtra(ctx, "listTaggedRPMS", build, func(r hub.Row) error {
		if id, _ := r.Get("id").Int(); !had.Has(id) {
			found++
		}
		return put(r, assume)
	})
	if err != nil || found >= lost && lost > 0 {
		return err
	}
	p.leaveBuild("rpminfo", build, why)
	return nil
}

// putRPM adds an rpm, of this hub or an external repo's.
func (p *puller) putRPM(r hub.Value) error { return p.putRPMAs(r, nil, nil) }

// putRPMAs is putRPM for rows of a call that does not tell all: for the reason why.
func (p *puller) putRPMAs(r hub.Value, assume map[string][]byte, why error) error {
	rel := relation.Get("rpminfo")
	row, fault, err := p.tryConvert("rpminfo", r, assume)
	if err != nil {
		return err
	}
	if fault != nil {
		return p.leaveRow(rel, row, fault)
	}
	if assume != nil {
		p.goWithout(rel, row, []snapshot.Lack{{Column: "extra", Why: why}})
	}
	if row[rel.Index("build_id")] == nil {
		row[rel.Index("draft")] = nil // an external rpm is of no build; Koji 1.34's migration made it so
	}
	repo, _ := r.Field("external_repo_id").Int()
	if repo != 0 {
		if err := p.addNamed("external_repo", repo, r.Field("external_repo_name")); err != nil {
			return err
		}
	}
	if build, ok := r.Field("build_id").Int(); ok {
		draft, _ := r.Field("draft").Bool()
		p.drafts.rpm(build, draft)
	}
	return p.addRow("rpminfo", row, false)
}

// querySignatures reads the signatures of all rpms so far.
func (p *puller) querySignatures(ctx context.Context) error {
	ids := p.builder.IDs("rpminfo")
	return p.inStage(ctx, "signatures", func(p *puller) error { return p.askSignatures(ctx, ids) })
}

func (p *puller) askSignatures(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "rpmsigs", ids, func(of *idset.Set, rows int64) error {
		_, err := p.pages(ctx, hub.Call{Method: "queryRPMSigs"}, "rpm_id,sigkey", prices["rpmsigs"].page, rows, pick{ids: of, member: "rpm_id", take: putInto("rpmsigs")})
		return err
	})
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("signatures", int64(len(ids)))
	defer bar.End()
	f := &failing{}
	err = p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "queryRPMSigs", Args: []any{id}}
		}
		bad := make([]bool, len(ids))
		err := p.each(ctx, calls, func(_ int, r hub.Row) error { return p.put("rpmsigs", r.Value) }, func(i int, err error) error {
			bad[i] = true
			p.leave(snapfile.LeftOut{Relation: "rpmsigs", Row: fmt.Sprint("rpm ", ids[i]), Reason: err.Error(), Column: "rpm_id", ID: ids[i]})
			return f.failed(ids[i], fmt.Errorf("signatures of rpm %d: %w", ids[i], err))
		})
		f.passed(bad)
		return err
	})
	if err != nil {
		return err
	}
	return f.end()
}

// drafts remembers which builds and rpms are drafts, to find those that do not agree.
type drafts struct {
	mu           sync.Mutex
	builds, rpms [2]idset.Set // ids of builds: that are no drafts, or whose rpms are none; that are, or whose are
}

func (d *drafts) build(id int64, draft bool) { d.note(&d.builds, id, draft) }

func (d *drafts) rpm(build int64, draft bool) { d.note(&d.rpms, build, draft) }

func (d *drafts) note(in *[2]idset.Set, id int64, draft bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in[btoi(draft)].Add(id)
	in[1-btoi(draft)].Remove(id)
}

func (d *drafts) differ() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []int64
	for draft := range 2 {
		for id := range d.builds[draft].All() {
			if d.rpms[1-draft].Has(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// suspects collects builds. Its methods may be called concurrently.
type suspects struct {
	mu  sync.Mutex
	ids idset.Set
}

func (s *suspects) add(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids.Add(id)
}

func (s *suspects) sorted() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids.List()
}
