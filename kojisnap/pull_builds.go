package kojisnap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/snapfile"
)

// batchCalls is how many calls go into one multicall at first: a reply stays below some
// megabytes. The number follows the hub's answers, within bounds.
const (
	batchCalls    = 500
	minBatchCalls = 20
	maxBatchCalls = 1000

	quickAnswer = time.Second
	slowAnswer  = 10 * time.Second
)

// batchSize is how many ids the next multicall is for.
type batchSize struct{ atomic.Int64 }

// answered takes how long a batch of n took: half as many after a slow answer, twice as many after
// a quick one to a full batch.
func (b *batchSize) answered(n int, took time.Duration) {
	size := b.Load()
	switch {
	case took > slowAnswer:
		b.CompareAndSwap(size, max(minBatchCalls, min(size, int64(n))/2))
	case took < quickAnswer && int64(n) == size:
		b.CompareAndSwap(size, min(maxBatchCalls, 2*size))
	}
}

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
			return fmt.Errorf("build %d: it is a draft, but its rpms are not, or the other way round", promoted[0])
		}
		if err := p.getBuilds(ctx, "", promoted, false); err != nil {
			return err
		}
		had := setOf(p.tables["rpminfo"].all())
		if err := p.listRPMs(ctx, "", promoted); err != nil {
			return err
		}
		if err := p.askSignatures(ctx, setOf(p.tables["rpminfo"].all()).without(had)); err != nil {
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
		tagged := p.tables["build"].wantedSet()
		ids = slices.Collect(tagged.each())
		steps = append(steps, func(ctx context.Context) error { return p.getBuilds(ctx, "builds", ids, false) })
	}
	steps = append(steps, func(ctx context.Context) error {
		if err := p.listRPMs(ctx, "rpms", ids); err != nil {
			return err
		}
		return p.querySignatures(ctx)
	}, func(ctx context.Context) error { return p.listArchives(ctx, ids) })
	return together(ctx, steps...)
}

// together runs steps that do not need each other, so that the hub has work while one of them
// comes to its end. They share the slots.
func together(ctx context.Context, steps ...func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		g.Go(func() error { return step(gctx) })
	}
	return g.Wait()
}

// takeSlot waits until one of the requests that may be under way is free to be made. What takes a
// slot calls nothing that takes one.
func (p *puller) takeSlot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *puller) freeSlot() { <-p.slots }

// buildsToAsk reads the rows of builds that may have changed since the base, and returns those
// of which the rest is to be asked for too.
func (p *puller) buildsToAsk(ctx context.Context) ([]int64, error) {
	if err := p.chooseBuilds(ctx); err != nil {
		return nil, err
	}
	if err := p.getBuilds(ctx, "builds", slices.Collect(p.carry.ask.each()), true); err != nil {
		return nil, err
	}
	tagged, err := p.recheckTagging(ctx, p.suspects.sorted())
	if err != nil {
		return nil, err
	}
	if err := p.getBuilds(ctx, "tagged-builds", tagged, false); err != nil {
		return nil, err
	}
	return slices.Collect(p.carry.ask.each()), nil
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
	return p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, 0, 2*len(ids))
		for _, id := range ids {
			calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id}}, hub.Call{Method: "getBuildType", Args: []any{id}})
		}
		found, skip := make([]bool, len(ids)), make([]bool, len(ids))
		err := p.each(ctx, calls, func(i int, r hub.Row) error {
			id := ids[i/2]
			if i%2 == 1 {
				if skip[i/2] || !found[i/2] {
					return nil
				}
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
			return p.putBuild(id, r.Value)
		}, mustNot("build", ids, 2))
		if err != nil {
			return err
		}
		if i := slices.Index(found, false); i >= 0 {
			return fmt.Errorf("build %d: tagged in the scope, but the hub has no such build", ids[i])
		}
		return nil
	})
}

func (p *puller) putBuild(id int64, r hub.Value) error {
	if got, _ := r.Field("build_id").Int(); got != id {
		return fmt.Errorf("getBuild of %d answered build %d", id, got)
	}
	event, _ := r.Field("creation_event_id").Int()
	ts, ok := r.Field("creation_ts").Float()
	if !ok {
		return fmt.Errorf("build %d: no creation_ts", id)
	}
	if err := p.addEvent(event, ts); err != nil {
		return err
	}
	pkg, _ := r.Field("package_id").Int()
	name, _ := r.Field("package_name").Str()
	if err := p.addName("package", pkg, name); err != nil {
		return err
	}
	if cg, ok := r.Field("cg_id").Int(); ok {
		name, _ := r.Field("cg_name").Str()
		if err := p.addName("content_generator", cg, name); err != nil {
			return err
		}
	}
	draft, _ := r.Field("draft").Bool()
	p.drafts.build(id, draft)
	return p.put("build", r)
}

// putTypes takes a reply of getBuildType: what each type of the build adds to it.
func (p *puller) putTypes(build int64, r hub.Value) error {
	id := []byte(strconv.FormatInt(build, 10))
	if r.Kind() != hub.Struct {
		return fmt.Errorf("build %d: getBuildType answered %s, not its types", build, r.Kind())
	}
	for name, info := range r.Members() {
		btype, err := p.btype(name)
		if err != nil {
			return fmt.Errorf("build %d: %w", build, err)
		}
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

// listRPMs reads the rpms of builds.
func (p *puller) listRPMs(ctx context.Context, stageName string, ids []int64) error {
	return p.inStage(ctx, stageName, func(p *puller) error { return p.askRPMs(ctx, ids) })
}

func (p *puller) askRPMs(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "rpminfo", ids, func(of *idSet, rows int64) error {
		_, err := p.pages(ctx, hub.Call{Method: "listRPMs"}, "id", prices["rpminfo"].page, rows, pick{ids: of, member: "build_id", take: (*puller).putRPM})
		return err
	})
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("rpms", int64(len(ids)))
	defer bar.End()
	return p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "listRPMs", Args: []any{id}}
		}
		return p.each(ctx, calls, func(_ int, r hub.Row) error { return p.putRPM(r.Value) }, mustNot("rpms of build", ids, 1))
	})
}

// putRPM adds an rpm, of this hub or an external repo's.
func (p *puller) putRPM(r hub.Value) error {
	row, err := p.convert("rpminfo", r)
	if err != nil {
		return err
	}
	rel := p.tables["rpminfo"].rel
	if row[rel.Index("build_id")] == nil {
		row[rel.Index("draft")] = nil // an external rpm is of no build; Koji 1.34's migration made it so
	}
	repo, _ := r.Field("external_repo_id").Int()
	if name, ok := r.Field("external_repo_name").Str(); ok && repo != 0 {
		if err := p.addName("external_repo", repo, name); err != nil {
			return err
		}
	}
	if build, ok := r.Field("build_id").Int(); ok {
		draft, _ := r.Field("draft").Bool()
		p.drafts.rpm(build, draft)
	}
	return p.addRow("rpminfo", row, false)
}

// drafts remembers which builds and rpms are drafts, to find those that do not agree.
type drafts struct {
	mu           sync.Mutex
	builds, rpms [2]idSet // ids of builds: that are no drafts, or whose rpms are none; that are, or whose are
}

func (d *drafts) build(id int64, draft bool) { d.note(&d.builds, id, draft) }

func (d *drafts) rpm(build int64, draft bool) { d.note(&d.rpms, build, draft) }

func (d *drafts) note(in *[2]idSet, id int64, draft bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in[btoi(draft)].add(id)
	in[1-btoi(draft)].remove(id)
}

func (d *drafts) differ() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []int64
	for draft := range 2 {
		for id := range d.builds[draft].each() {
			if d.rpms[1-draft].has(id) {
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
	ids idSet
}

func (s *suspects) add(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids.add(id)
}

func (s *suspects) sorted() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(s.ids.each())
}

// querySignatures reads the signatures of all rpms so far.
func (p *puller) querySignatures(ctx context.Context) error {
	ids := p.tables["rpminfo"].all()
	return p.inStage(ctx, "signatures", func(p *puller) error { return p.askSignatures(ctx, ids) })
}

func (p *puller) askSignatures(ctx context.Context, ids []int64) error {
	done, err := p.table(ctx, "rpmsigs", ids, func(of *idSet, rows int64) error {
		_, err := p.pages(ctx, hub.Call{Method: "queryRPMSigs"}, "rpm_id,sigkey", prices["rpmsigs"].page, rows, pick{ids: of, member: "rpm_id", take: putInto("rpmsigs")})
		return err
	})
	if done || err != nil {
		return err
	}
	ids = p.stage.rest(ids)
	bar := p.opt.Progress.Begin("signatures", int64(len(ids)))
	defer bar.End()
	return p.inBatches(ctx, ids, bar, func(ctx context.Context, p *puller, ids []int64) error {
		calls := make([]hub.Call, len(ids))
		for i, id := range ids {
			calls[i] = hub.Call{Method: "queryRPMSigs", Args: []any{id}}
		}
		return p.each(ctx, calls, func(_ int, r hub.Row) error { return p.put("rpmsigs", r.Value) }, mustNot("signatures of rpm", ids, 1))
	})
}

// inBatches calls fn for slices of ids, some at the same time, with the puller that it is to use.
func (p *puller) inBatches(ctx context.Context, ids []int64, bar progress.Counter, fn func(context.Context, *puller, []int64) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.hub.Jobs())
	var size batchSize
	size.Store(batchCalls)
	for len(ids) > 0 {
		n := min(len(ids), cmp.Or(p.opt.batch, int(size.Load())))
		batch := ids[:n]
		ids = ids[n:]
		g.Go(func() error {
			if err := p.takeSlot(gctx); err != nil {
				return err
			}
			start := time.Now() // not before: to wait for a slot is not the hub's time
			q, end := p.begin()
			err := fn(gctx, q, batch)
			p.freeSlot()
			if err != nil {
				return err
			}
			size.answered(len(batch), time.Since(start))
			if err := end(gctx, batchEnd{IDs: batch}); err != nil {
				return err
			}
			bar.Add(int64(len(batch)))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// each makes calls and gives their rows to fn. A reply that the hub cannot encode, or that is
// ill-formed, is bisected until one call is left, which onBad judges: nil passes it over.
func (p *puller) each(ctx context.Context, calls []hub.Call, fn func(i int, r hub.Row) error, onBad func(i int, err error) error) error {
	for i := range calls {
		calls[i].Again = countedOnce
	}
	return p.eachFrom(ctx, calls, 0, fn, onBad)
}

func (p *puller) eachFrom(ctx context.Context, calls []hub.Call, first int, fn func(i int, r hub.Row) error, onBad func(i int, err error) error) error {
	var ours error
	err := p.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		ours = fn(first+i, r)
		return ours
	})
	switch {
	case err == nil:
		return nil
	case ours != nil || !hub.Splittable(err) || ctx.Err() != nil:
		return err
	case len(calls) == 1:
		if err = p.lasting(ctx, err); hub.Temporary(err) {
			return err
		}
		return onBad(first, err)
	}
	// Rows that came before are added again.
	half := len(calls) / 2
	if err := p.eachFrom(ctx, calls[:half], first, fn, onBad); err != nil {
		return err
	}
	return p.eachFrom(ctx, calls[half:], first+half, fn, onBad)
}

// lasting tells whether a hub that answered HTTP 500 is in trouble, or cannot answer this one
// call: then it answers others, and trying again will not help.
func (p *puller) lasting(ctx context.Context, err error) error {
	if !hub.Temporary(err) {
		return err
	}
	if _, probe := p.hub.Call(ctx, hub.Call{Method: "getAPIVersion"}); probe != nil {
		return err
	}
	return fmt.Errorf("the hub answers others, but not this call: %s", err)
}

// mustNot is an onBad for rows that a snapshot cannot do without: it names what cannot be had.
// per is how many calls belong to each id.
func mustNot(what string, ids []int64, per int) func(int, error) error {
	return func(i int, err error) error { return fmt.Errorf("%s %d: %w", what, ids[i/per], err) }
}

// leftOuts collects the rows that the hub could not give. Its methods may be called concurrently.
type leftOuts struct {
	mu   sync.Mutex
	rows []snapfile.LeftOut
}

func (l *leftOuts) add(relationName, row string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, snapfile.LeftOut{Relation: relationName, Row: row, Reason: err.Error()})
}

func (l *leftOuts) sorted() []snapfile.LeftOut {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.rows, func(a, b snapfile.LeftOut) int {
		return cmp.Or(cmp.Compare(a.Relation, b.Relation), cmp.Compare(a.Row, b.Row))
	})
	return l.rows
}

var errNoBType = errors.New("the hub lists no such build type")
