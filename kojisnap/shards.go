package kojisnap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/ledger"
	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/shardplan"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// ShardsResult is what a copy of all builds did, or has done so far.
type ShardsResult struct {
	Snapshot string `json:"snapshot"`
	Part     string `json:"part,omitempty"` // I/N, if these are the shards of one worker
	// Everything: the snapshot has all builds of production. Otherwise all builds of the snapshot were meant.
	Everything bool           `json:"everything"`
	Builds     int            `json:"builds"`
	Plan       ShardsSum      `json:"plan"`
	Have       ShardsSum      `json:"have"`
	Make       shard.Work     `json:"make,omitzero"`    // what is to be made, of a dry run
	Done       int            `json:"done"`             // shards that are whole
	Locked     []string       `json:"locked,omitempty"` // shards that other processes work on
	Left       []string       `json:"left,omitempty"`   // shards that are not whole
	Shards     []shard.Result `json:"shards"`
	// Held is what was kept back, each thing once. All else was done.
	Held []hardlink.HeldError `json:"held,omitempty"`
}

// ShardsSum adds up shards.
type ShardsSum struct {
	Shards int   `json:"shards"`
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`
}

// NotDoneError says that shards are not whole, by their ledgers.
type NotDoneError struct {
	Left []string
	Of   int
}

func (e *NotDoneError) Error() string {
	const most = 20
	names := e.Left[:min(len(e.Left), most)]
	more := ""
	if n := len(e.Left) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%d of %d shards are not whole: by their ledgers not all of their files are in place: %s%s; copy --status tells what is left, and the next copy makes it",
		len(e.Left), e.Of, strings.Join(names, " "), more)
}

// NotDone says which shards are not whole although no other process works on them, nil if there are none.
func (r *ShardsResult) NotDone() *NotDoneError {
	left := slices.DeleteFunc(slices.Clone(r.Left), func(id string) bool { return slices.Contains(r.Locked, id) })
	if len(left) == 0 {
		return nil
	}
	return &NotDoneError{left, len(r.Shards)}
}

// shardManifest is what a plan of the snapshot's shards is made of.
func (o CopyOptions) shardManifest(ctx context.Context, snap *snapfile.Snapshot) (shard.Manifest, error) {
	names, err := shardplan.Volumes(ctx, shardplan.Of(snap))
	if err != nil {
		return shard.Manifest{}, err
	}
	slices.Sort(names)
	w := shard.Want{CopyVolume: o.CopyVolume, Volume: o.Volume, Rules: o.Rules, Volumes: names}
	if w.CopyVolume == "" {
		w.CopyVolume = volumes.CopyVolume
	}
	for _, key := range o.SigKeys {
		if key = strings.ToLower(key); key != "" {
			w.SigKeys = append(w.SigKeys, key)
		}
	}
	slices.Sort(w.SigKeys)
	w.SigKeys = slices.Compact(w.SigKeys)
	return shard.Manifest{Snapshot: snap.ID, Event: snap.Manifest.Event, Made: time.Now().Truncate(time.Second), Want: w}, nil
}

// PlanShards returns the plan of a copy of all builds of a snapshot. It makes the plan below topdir if it is not there; a DryRun
// makes it in a temporary directory, which Plan.Remove removes.
func PlanShards(ctx context.Context, snap *snapfile.Snapshot, o CopyOptions) (plan *shard.Plan, temporary bool, err error) {
	m, err := o.shardManifest(ctx, snap)
	if err != nil {
		return nil, false, err
	}
	fill := func(ctx context.Context, s *shard.Spool) error {
		keys, err := shardplan.Fill(ctx, shardplan.Of(snap), s)
		if err != nil {
			return err
		}
		return compose.CheckKeys(m.Want.SigKeys, keys)
	}
	if o.DryRun {
		if plan, err = shard.Open(o.Topdir, m); !errors.Is(err, shard.ErrNoPlan) {
			return plan, false, err
		}
		plan, err = shard.Spooling(ctx, m, o.maxShard, fill)
		return plan, true, err
	}
	readOnly, err := o.readOnly()
	if err != nil {
		return nil, false, err
	}
	top, err := topdir.Open(o.Topdir, readOnly)
	if err != nil {
		return nil, false, err
	}
	defer top.Close()
	top.SetAttributes(o.Attributes)
	plan, err = shard.Make(ctx, top, m, o.maxShard, fill)
	return plan, false, err
}

// ShardCopier copies shards of one plan, one after the other or several at a time.
type ShardCopier struct {
	plan *shard.Plan
	o    CopyOptions
	opts shard.Options
	s    store.Store
}

// NewShardCopier prepares topdir for the shards of a plan. If s is not nil, each shard's ledger is put there after its copy.
func NewShardCopier(ctx context.Context, plan *shard.Plan, s store.Store, o CopyOptions) (*ShardCopier, error) {
	saved := o.saved(s)
	if !o.NewTopdir {
		if err := checkTopdir(ctx, o.Topdir, o.Env, o.CopyVolume, s, o.Database); err != nil {
			return nil, err
		}
	} else if anew, err := isNewTopdir(o.Topdir); err != nil {
		return nil, err
	} else if anew {
		saved = nil // nothing of what the saved ledgers name is there
	}
	c := &ShardCopier{plan: plan, o: o, s: s}
	var err error
	if c.opts.Engine, err = o.engineOptions(ctx, saved); err != nil {
		return nil, err
	}
	if saved != nil {
		c.opts.Saved = func(ctx context.Context, id string) (*ledger.Ledger, error) { return o.savedLedger(ctx, s, id) }
	}
	c.opts.DryRun = o.DryRun
	if c.opts.Decided, err = o.decided(ctx, s); err != nil {
		return nil, err
	}
	return c, plan.Prepare(ctx, c.opts)
}

// Copy copies one shard; see shard.Plan.Copy.
func (c *ShardCopier) Copy(ctx context.Context, id string) (shard.Result, error) {
	r, err := c.plan.Copy(ctx, id, c.opts)
	if c.s != nil && !c.o.DryRun && !r.Skipped && !errors.Is(err, lockfile.ErrLocked) {
		// Also after an error: the builds that could be made are there.
		if perr := putShardLedger(context.WithoutCancel(ctx), c.s, c.o.Env, c.o.Topdir, id); perr != nil && !c.o.notes.failed(ctx, perr) {
			err = errors.Join(err, perr)
		}
	}
	return r, err
}

// CopyShards copies all builds of a snapshot, or the shards of one part: those of PlanShards, the largest first. A shard that another
// process works on is passed over. Files of a build that are lost or damaged in production hold back nothing else; all that is
// kept back is in a *hardlink.LeftOutError, see Incomplete. If all else is done, and shards are not whole by their ledgers, the error
// is a *NotDoneError, alone or joined with it.
func CopyShards(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions, part shard.Part) (*ShardsResult, error) {
	plan, temporary, err := PlanShards(ctx, snap, o)
	if err != nil {
		return nil, err
	}
	if temporary {
		defer plan.Remove()
	}
	r := newShardsResult(plan, part)
	c, err := NewShardCopier(ctx, plan, s, o)
	if err != nil {
		return r, err
	}
	var left []error
	for _, info := range plan.Of(part) {
		one, err := c.Copy(ctx, info.ID)
		if errors.As(err, new(*ledger.ShardLockedError)) {
			r.Locked = append(r.Locked, info.ID)
			if one, err = plan.Status(info.ID, c.opts.Decided, o.Topdir); err != nil {
				return r, err
			}
		}
		if o.OnShard != nil {
			o.OnShard(one, err)
		}
		one.Actions = hardlink.Actions{} // they may be large
		r.add(one)
		var out *hardlink.LeftOutError
		switch {
		case err == nil:
		case Incomplete(err) && errors.As(err, &out):
			left = append(left, out.Errs...)
		default:
			return r, err
		}
	}
	return r, r.verdict(left, o.DryRun)
}

// CopyWithShards is Copy for a sync: if all builds are wanted, it copies them by shards first. That shards are not whole is no error here, as
// staging is ready for composes without them; the result says it.
func CopyWithShards(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions) (*CopyResult, error) {
	if o.Builds != compose.BuildsAll {
		return Copy(ctx, snap, s, o)
	}
	shards, err := CopyShards(ctx, snap, s, o, shard.Part{})
	var left, more *hardlink.LeftOutError
	if err != nil && !errors.As(err, new(*NotDoneError)) && !Incomplete(err) {
		return nil, err
	}
	errors.As(err, &left)
	r, err := Copy(ctx, snap, s, o)
	if r == nil || err != nil && !errors.As(err, &more) {
		return r, err
	}
	r.Shards = shards
	if left == nil {
		return r, err
	}
	if more != nil {
		left = &hardlink.LeftOutError{Errs: slices.Concat(left.Errs, more.Errs)}
	}
	r.Held = left.Held()
	return r, left
}

// ShardsStatus says what is done of the shards of a part, by their ledgers. The error is a *NotDoneError if some are not whole.
func ShardsStatus(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions, part shard.Part) (*ShardsResult, error) {
	m, err := o.shardManifest(ctx, snap)
	if err != nil {
		return nil, err
	}
	plan, err := shard.Open(o.Topdir, m)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w; copy --builds all makes it", snap.ID, err)
	}
	decided, err := o.decided(ctx, s)
	if err != nil {
		return nil, err
	}
	r := newShardsResult(plan, part)
	for _, info := range plan.Of(part) {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		one, err := plan.Status(info.ID, decided, o.Topdir)
		if err != nil {
			return r, err
		}
		r.add(one)
	}
	return r, r.verdict(nil, false)
}

func newShardsResult(plan *shard.Plan, part shard.Part) *ShardsResult {
	r := &ShardsResult{Snapshot: plan.Snapshot, Everything: plan.Everything, Shards: []shard.Result{}}
	if part.N > 0 {
		r.Part = part.String()
	}
	for _, info := range plan.Of(part) {
		r.Builds += info.Builds
		r.Plan.add(info.Total)
	}
	return r
}

func (s *ShardsSum) add(sum shard.Total) {
	s.Shards++
	s.Files += sum.Files
	s.Bytes += sum.Bytes
}

func (r *ShardsResult) add(one shard.Result) {
	r.Shards = append(r.Shards, one)
	r.Have.add(one.Have)
	r.Make.Files += one.Make.Files
	r.Make.Bytes += one.Make.Bytes
	if one.Done {
		r.Done++
	} else {
		r.Left = append(r.Left, one.Shard)
	}
}

// verdict returns what is left as an error.
func (r *ShardsResult) verdict(left []error, dryRun bool) error {
	var err error
	if len(left) > 0 {
		out := &hardlink.LeftOutError{Errs: left}
		r.Held = out.Held()
		err = out
	}
	if len(r.Left) > 0 && !dryRun {
		notDone := &NotDoneError{r.Left, len(r.Shards)}
		if err == nil {
			return notDone
		}
		return &shardsError{err, notDone}
	}
	return err
}

// shardsError is what was kept back, and the shards that are not whole.
type shardsError struct {
	left    error
	notDone *NotDoneError
}

func (e *shardsError) Error() string { return e.left.Error() + "\n" + e.notDone.Error() }

func (e *shardsError) Unwrap() []error { return []error{e.left, e.notDone} }

// putShardLedger puts a shard's ledger into the store.
func putShardLedger(ctx context.Context, s store.Store, env, topdir, id string) error {
	object, err := repository.ShardLedgerObject(env, id)
	if err != nil {
		return err
	}
	state, err := ledger.StateOf(topdir, ledger.ShardFile(id))
	if err != nil || state == "" {
		return err
	}
	l, err := ledger.ReadFile(topdir, ledger.ShardFile(id))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := l.WriteTo(&b); err != nil {
		return err
	}
	return s.Put(ctx, object, bytes.NewReader(b.Bytes()))
}

// savedLedger reads the store's copy of a shard's ledger, nil if there is none or it is damaged.
func (o CopyOptions) savedLedger(ctx context.Context, s store.Store, id string) (*ledger.Ledger, error) {
	object, err := repository.ShardLedgerObject(o.Env, id)
	if err != nil {
		return nil, err
	}
	l, err := storedLedger(ctx, s, object)
	if errors.Is(err, ledger.ErrDamaged) {
		o.warn(ctx, "a shard's ledger in the store is of no use", err)
		return nil, nil
	}
	return l, err
}
