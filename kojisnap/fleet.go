package kojisnap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kojisnap/hardlink"
	"kojisnap/hardlink/fleet"
	"kojisnap/hardlink/shard"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// allSources stands among the sources of a queue for all together: it has the limit that they share.
const allSources = "all"

// FleetSources are the names of sources as a queue has them.
func (o CopyOptions) FleetSources() []string { return append(slices.Clone(o.Sources), allSources) }

// fleetMode says in a queue what is to be done with a shard beside its copy.
func (o CopyOptions) fleetMode() string {
	switch {
	case o.Repair:
		return "repair"
	case o.Digest:
		return "digest"
	case o.Audit:
		return "audit"
	}
	return ""
}

// EnqueueShards plans a copy of all builds of a snapshot below topdir, and puts its shards, or those of an audit's part, into a
// queue for workers. slots is how many shards at a time are copied by all workers together; each keeps to that part of the
// limits. Errors are those of PlanShards and of fleet.
func EnqueueShards(ctx context.Context, snap *snapfile.Snapshot, s store.Store, q *fleet.Queue, o CopyOptions, slots int, part shard.Part) (fleet.Enqueued, error) {
	plan, _, err := PlanShards(ctx, snap, o)
	if err != nil {
		return fleet.Enqueued{}, err
	}
	// What no worker can do, because of topdir or the sources, shows here.
	if _, err := NewShardCopier(ctx, plan, s, o); err != nil {
		return fleet.Enqueued{}, err
	}
	topdir, err := fleet.TopdirID(o.Topdir, true)
	if err != nil {
		return fleet.Enqueued{}, err
	}
	p := fleet.Plan{Topdir: topdir, Env: o.Env, Snapshot: snap.ID}
	for _, name := range o.FleetSources() {
		limit := fleet.Source{Name: name, Slots: slots, Bytes: o.SourceLimits[name], Requests: o.Requests}
		if name == allSources {
			limit.Bytes, limit.Requests = o.BwLimit, 0
		}
		p.Sources = append(p.Sources, limit)
	}
	looked := map[string]bool{}
	for _, info := range plan.Of(part) {
		looked[info.ID] = true
	}
	want := wantDigest(plan)
	for _, info := range plan.Shards {
		one := fleet.Shard{Name: info.ID, Digest: info.Digest + " " + want, Files: int64(info.Files), Bytes: info.Bytes}
		if looked[info.ID] {
			one.Mode = o.fleetMode()
		}
		p.Shards = append(p.Shards, one)
	}
	return q.Enqueue(ctx, p)
}

// wantDigest identifies how a plan places files.
func wantDigest(p *shard.Plan) string {
	text, _ := json.Marshal(p.Want) // of strings alone
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// FleetWork does the work of shards that a queue gives.
type FleetWork struct {
	o    CopyOptions
	s    store.Store
	open func(ctx context.Context, id string) (*snapfile.Snapshot, error)

	mu      sync.Mutex
	current string // snapshot
	copier  *ShardCopier
}

// NewFleetWork returns the work of a worker. open opens a snapshot in s, whose plan must be below topdir.
func NewFleetWork(s store.Store, o CopyOptions, open func(ctx context.Context, id string) (*snapfile.Snapshot, error)) *FleetWork {
	return &FleetWork{o: o, s: s, open: open}
}

// Prepare opens the plan of a snapshot, and prepares topdir for it. A worker that could do no shard fails here.
func (w *FleetWork) Prepare(ctx context.Context, snapshot string) error {
	_, err := w.prepared(ctx, snapshot)
	return err
}

func (w *FleetWork) prepared(ctx context.Context, snapshot string) (*ShardCopier, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current == snapshot {
		return w.copier, nil
	}
	snap, err := w.open(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	m, err := w.o.shardManifest(ctx, snap)
	if err != nil {
		return nil, err
	}
	plan, err := shard.Open(w.o.Topdir, m)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w: it depends on --sigkey, --volume, --copy-volume and [volumes], which must be those of copy --builds all --queue", snapshot, err)
	}
	c, err := NewShardCopier(ctx, plan, w.s, w.o)
	if err != nil {
		return nil, err
	}
	w.current, w.copier = snapshot, c
	return c, nil
}

// Work is fleet.Work.
func (w *FleetWork) Work(ctx context.Context, job fleet.ShardJob) error {
	c, err := w.prepared(ctx, job.Snapshot)
	if err != nil {
		return err
	}
	info, err := c.plan.Shard(job.Shard.Name)
	if err != nil {
		return err
	}
	if have := info.Digest + " " + wantDigest(c.plan); have != job.Shard.Digest {
		return fmt.Errorf("the plan below topdir has other rows in this shard than the queue's (%.12s, %.12s): run copy --builds all --queue again", have, job.Shard.Digest)
	}
	one := *c
	engine := &one.opts.Engine
	engine.BwLimit, engine.SourceLimits, engine.SourceRequests = job.Limits[allSources].Bytes, map[string]int64{}, map[string]float64{}
	for _, name := range w.o.Sources {
		limit := job.Limits[fleet.SourceKey(name)]
		engine.SourceLimits[name], engine.SourceRequests[name] = limit.Bytes, limit.Requests
	}
	engine.Progress = madeProgress(job.Made)
	switch job.Shard.Mode {
	case "repair":
		engine.Repair = true
		fallthrough
	case "digest":
		engine.Verify = hardlink.VerifyDigest
		fallthrough
	case "audit":
		engine.Audit = true
	}
	r, err := one.Copy(ctx, job.Shard.Name)
	return w.outcome(ctx, r, err)
}

// outcome says what an error of a copy means for the queue.
func (w *FleetWork) outcome(ctx context.Context, r shard.Result, err error) error {
	var left *hardlink.LeftOutError
	switch {
	case ctx.Err() != nil && err != nil:
		return err
	case err == nil && r.Done:
		return nil
	case err == nil:
		return &fleet.IncompleteError{Err: fmt.Errorf("not whole by its ledger: %d of %d files; builds: %s", r.Have.Files, r.Plan.Files, strings.Join(r.Left, " "))}
	case Incomplete(err):
		if errors.As(err, &left) && len(left.Errs) > 1 {
			return &fleet.IncompleteError{Err: fmt.Errorf("%d things were kept back; the first: %w", len(left.Errs), left.Errs[0])}
		}
		return &fleet.IncompleteError{Err: err}
	}
	if name := w.atFault(err); name != "" {
		return &fleet.SourceError{Source: name, Err: err}
	}
	return err
}

// atFault returns the source that is out of order, "" if it is none.
func (w *FleetWork) atFault(err error) string {
	var gone *source.GoneError
	if errors.As(err, &gone) {
		for _, name := range w.o.Sources {
			if fleet.SourceKey(name) == gone.Source() {
				return name
			}
		}
	}
	var left *hardlink.LeftOutError
	if errors.As(err, &left) && errors.As(err, new(*retry.TemporaryError)) {
		if i := slices.IndexFunc(w.o.Sources, func(name string) bool { return strings.Contains(name, "://") }); i >= 0 {
			return w.o.Sources[i]
		}
	}
	return ""
}

// madeProgress tells a queue of the files that a copy makes.
type madeProgress func(files, bytes int64)

func (m madeProgress) Begin(string, int64) progress.Counter { return progress.Discard.Begin("", 0) }

func (m madeProgress) BeginFiles(string, int64, int64) progress.FileCounter { return madeFiles{m} }

type madeFiles struct{ made madeProgress }

func (m madeFiles) AddFile(bytes int64) { m.made(1, bytes) }
func (madeFiles) End()                  {}
