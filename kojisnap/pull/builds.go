package pull

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapfile"
)

// pullBuilds reads the builds that tagging refers to, with their rpms, signatures, types and
// archives.
func (p *puller) pullBuilds(ctx context.Context) error {
	if err := p.readBuilds(ctx); err != nil {
		return err
	}
	// A draft that is promoted between the two calls is one thing in its build and another in
	// its rpms, which no schema would take: read both again.
	for round := 0; ; round++ {
		promoted := p.drafts.differ()
		if len(promoted) == 0 {
			break
		}
		if round == 3 {
			for _, id := range promoted {
				p.leaveBuild("build", id, errors.New("it is a draft, but its rpms are not, or the other way round"))
			}
			break
		}
		if err := p.getBuilds(ctx, "", promoted, false); err != nil {
			return err
		}
		had := idset.Of(p.builder.IDs("rpminfo"))
		if err := p.listRPMs(ctx, "", promoted); err != nil {
			return err
		}
		if err := p.askSignatures(ctx, idset.Of(p.builder.IDs("rpminfo")).Without(had)); err != nil {
			return err
		}
	}
	return nil
}

// readBuilds reads the tagged builds that are to be asked for, with what belongs to them. Who
// carries rows over knows which builds those are only when their rows are there.
func (p *puller) readBuilds(ctx context.Context) error {
	var ids []int64
	var steps []func(context.Context) error
	if p.carry != nil {
		var err error
		if ids, err = p.buildsToAsk(ctx); err != nil {
			return err
		}
	} else {
		tagged := p.builder.Referred("build")
		ids = tagged.List()
		steps = append(steps, func(ctx context.Context) error { return p.getBuilds(ctx, "builds", ids, false) })
	}
	now := idset.Of(ids)
	if p.carry != nil {
		now = &p.carry.tagged
	}
	left, err := p.leftBuilds(ctx, now)
	if err != nil {
		return err
	}
	steps = append(steps, func(ctx context.Context) error { return p.readLeft(ctx, left) })
	steps = append(steps, func(ctx context.Context) error {
		if err := p.listRPMs(ctx, "rpms", ids); err != nil {
			return err
		}
		return p.querySignatures(ctx)
	}, func(ctx context.Context) error { return p.listArchives(ctx, ids) })
	return together(ctx, steps...)
}

// buildsToAsk reads the rows of builds that may have changed since the base, and returns those
// of which the rest is to be asked for too.
func (p *puller) buildsToAsk(ctx context.Context) ([]int64, error) {
	if err := p.recheckLost(ctx); err != nil {
		return nil, err
	}
	if err := p.chooseBuilds(ctx); err != nil {
		return nil, err
	}
	if err := p.getBuilds(ctx, "builds", p.carry.ask.List(), true); err != nil {
		return nil, err
	}
	tagged, err := p.recheckTagging(ctx, p.suspects.sorted())
	if err != nil {
		return nil, err
	}
	if err := p.getBuilds(ctx, "tagged-builds", tagged, false); err != nil {
		return nil, err
	}
	return p.carry.ask.List(), nil
}

// getBuilds reads builds and their types. With suspicion it leaves out those that are suspect,
// and notes them.
func (p *puller) getBuilds(ctx context.Context, stageName string, ids []int64, suspicion bool) error {
	return p.inStage(ctx, stageName, func(p *puller) error { return p.askBuilds(ctx, ids, suspicion) })
}

func (p *puller) askBuilds(ctx context.Context, ids []int64, suspicion bool) error {
	way, err := p.choose(ctx, "build", len(p.stage.rest(ids)))
	if err != nil {
		return err
	}
	if way.By == byTable && p.version.AtLeast(1, 27) {
		rest, err := p.buildsByType(ctx, ids, suspicion)
		switch {
		case errors.Is(err, errUnpaged):
			p.log.WarnContext(ctx, "asking one by one", "relation", "build", "err", err)
		case err != nil:
			return err
		default:
			ids = rest
		}
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("builds", int64(len(ids)))
	defer bar.End()
	f := p.newFailing()
	err = p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, 0, 2*len(ids))
		for _, id := range ids {
			calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id}}, hub.Call{Method: "getBuildType", Args: []any{id}})
		}
		found, skip, typed := make([]bool, len(ids)), make([]bool, len(ids)), make([]bool, len(ids))
		bad := func(i int, err error) error {
			id, of := ids[i/2], "build"
			if i%2 == 1 {
				if skip[i/2] || !found[i/2] {
					return nil
				}
				of, typed[i/2] = "build_types", true
			} else {
				skip[i/2] = true
			}
			p.leaveBuild(of, id, err)
			return f.failed(id, fmt.Errorf("build %d: %w", id, err))
		}
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			id := ids[i/2]
			if i%2 == 1 {
				if skip[i/2] || !found[i/2] {
					return nil
				}
				typed[i/2] = true
				return p.putTypes(id, r.Value)
			}
			if r.IsNil() {
				return nil
			}
			found[i/2] = true
			if suspicion && p.suspect(id, r.Value) {
				skip[i/2] = true
				p.doubt(id)
				return nil
			}
			return p.putBuild(id, r.Value, false)
		}, bad)
		var late []hub.Call // builds that were found only when they were asked for once more
		var of []int
		for i := range ids {
			switch {
			case err != nil:
			case !found[i] && !skip[i]:
				err = bad(2*i, p.noBuild(ids[i]))
			case found[i]:
				f.succeeded()
				if !skip[i] && !typed[i] {
					late, of = append(late, calls[2*i+1]), append(of, i)
				}
			}
		}
		if err != nil {
			return err
		}
		return p.each(ctx, late, func(i int, r hub.Row) error { return p.putTypes(ids[of[i]], r.Value) }, func(i int, err error) error { return bad(2*of[i]+1, err) })
	})
	if err != nil {
		return err
	}
	return f.end()
}

// leaveBuild notes that the hub cannot give a build's row, or all of its rows in another relation. What
// belongs to a build of which the row is missing is asked for all the same: the snapshot before may
// have the row.
func (p *puller) leaveBuild(relationName string, id int64, why error) {
	x := snapfile.LeftOut{Relation: relationName, Row: fmt.Sprint("build ", id), Reason: why.Error(), Column: "build_id", ID: id, Builds: []int64{id}}
	if relationName == "build" {
		x.Column = "id"
	}
	p.leave(x)
}

// newFailing judges a stage of calls for builds, of which some may have failed before.
func (p *puller) newFailing() *failing {
	f := &failing{}
	if p.carry != nil {
		f.known = &p.carry.again
	}
	return f
}

func (p *puller) putBuild(id int64, r hub.Value, left bool) error {
	if got, _ := r.Field("build_id").Int(); got != id {
		return fmt.Errorf("getBuild of %d answered build %d", id, got)
	}
	event, _ := r.Field("creation_event_id").Int()
	ts, ok := r.Field("creation_ts").Float()
	if !ok {
		return fmt.Errorf("build %d: no creation_ts", id)
	}
	row, fault, err := p.tryConvert("build", r, nil)
	if err != nil {
		return err
	}
	if fault != nil && left {
		return nil // it stays what it was
	}
	if fault != nil { // as one that the hub cannot send, and with its id, whatever else is wrong
		p.leaveBuild("build", id, fault)
		return nil
	}
	if err := p.addEvent(event, ts); err != nil {
		return err
	}
	pkg, _ := r.Field("package_id").Int()
	if err := p.addNamed("package", pkg, r.Field("package_name")); err != nil {
		return err
	}
	if cg, ok := r.Field("cg_id").Int(); ok {
		if err := p.addNamed("content_generator", cg, r.Field("cg_name")); err != nil {
			return err
		}
	}
	if !left {
		draft, _ := r.Field("draft").Bool()
		p.drafts.build(id, draft)
	}
	return p.addRow("build", row, left)
}

// putTypes takes a reply of getBuildType: what each type of the build adds to it.
func (p *puller) putTypes(build int64, r hub.Value) error {
	id := []byte(strconv.FormatInt(build, 10))
	if r.Kind() != hub.Struct {
		return fmt.Errorf("build %d: getBuildType answered %s, not its types", build, r.Kind())
	}
	for name, info := range r.Members() {
		if why := info.Bad(); why != nil {
			p.leaveBuild("build_types", build, fmt.Errorf("a type: %w", why))
			continue
		}
		btype, ok := p.btypes[name]
		if !ok {
			p.leaveBuild("build_types", build, fmt.Errorf("build type %q: %w", name, errNoBType))
			continue
		}
		var err error
		if err := p.addRow("build_types", [][]byte{id, btype}, false); err != nil {
			return err
		}
		switch {
		case name == "image":
			err = p.addRow("image_builds", [][]byte{id}, false)
		case name == "maven" || name == "win":
			err = p.put(name+"_builds", info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
