package kojisnap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"kojisnap/dbsync/book"
	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/verify"
	"kojisnap/volumes/clone"
)

// SyncOptions are the options of the steps that Sync runs. Sync itself sets what follows from an earlier step,
// such as the snapshot.
type SyncOptions struct {
	Hub *hub.Client // production's
	// Production, if not nil, is pulled from in the place of the hub, which only names it.
	Production Production
	Pull       pull.Options
	Copy       CopyOptions
	Load       LoadOptions
	Clone      CloneOptions
	Verify     verify.Options
	Only       Half
	Scope      repository.Scope // with OnlyApply: of which the latest snapshot is applied
	// AfterPull, if not nil, is called after the pull.
	AfterPull func()
	// StepBegins and StepEnds, if not nil, are called around each step, with what the sync has done so far.
	StepBegins func(name string)
	StepEnds   func(step SyncStep, r *SyncResult)
	// NoVerify leaves out the last step, for hosts that cannot reach staging's hub.
	NoVerify bool
}

// Production is production by another way than its hub: its database, or a dump of that.
type Production interface {
	// Pull writes a snapshot, as pull.Pull does.
	Pull(ctx context.Context, s store.Store, o pull.Options) (*pull.Result, error)
	// Check finds out whether a pull could begin, and says what there is to pull from.
	Check(ctx context.Context, o pull.Options) (string, error)
}

// SyncResult is what the steps did, nil for a step that was not reached or was left out.
type SyncResult struct {
	Only     Half             `json:"only,omitempty"`
	Snapshot string           `json:"snapshot,omitempty"` // that was pulled or, with OnlyApply, applied
	Event    int64            `json:"event,omitempty"`    // of the snapshot
	Import   *book.LoadReport `json:"import,omitempty"`   // of a full import that had been broken off
	Pull     *pull.Result     `json:"pull,omitempty"`
	Copy     *CopyResult      `json:"copy,omitempty"`
	Load     *book.LoadReport `json:"load,omitempty"`
	Remove   *CopyResult      `json:"remove,omitempty"`
	Repair   *CopyResult      `json:"repair,omitempty"` // of files that verify found missing or damaged
	Verify   *verify.Result   `json:"verify,omitempty"`
	Clone    *clone.Cloned    `json:"clone,omitempty"`   // of production's tree
	Discard  *clone.Discarded `json:"discard,omitempty"` // clones that are no longer needed
	Steps    []SyncStep       `json:"steps"`             // those that were reached

	begins func(string)
	ends   func(SyncStep, *SyncResult)
}

// Sync runs pull, clone (if clones are made), copy of what is new, load, removal of what can go, verify, discard of old clones,
// in this order: the hub never names a file that is not there. A load leads builds that no compose needs any longer back to production's
// volume at once; their copies stay for Copy.KeepFor, for composes that run. Copies that verify finds missing
// or damaged are made again, and verified once more.
//
// A host that does only half of it (SyncOptions.Only) needs nothing that the other half needs. OnlyApply applies the
// latest snapshot in the store, also if the database holds that already: then it is cheap, and still verifies.
//
// If a full import of this production was broken off, Sync first goes on with it, by a load of the snapshot that it began
// with (see Unfinished).
//
// Sync first refuses what a late step would refuse. It stops at the first error; another run continues.
// Single files, builds and directories that a copy keeps back do not stop it: their builds stay on the
// read-only volume, the result is complete, and the error is a *hardlink.LeftOutError, which Incomplete tells.
func Sync(ctx context.Context, s store.Store, o SyncOptions) (*SyncResult, error) {
	r := &SyncResult{Only: o.Only, begins: o.StepBegins, ends: o.StepEnds}
	if err := o.Preflight(ctx, s); err != nil {
		return r, err
	}
	if o.Only == OnlyApply { // such a host may not write the store
		notes := &storeNotes{log: o.Load.Log}
		o.Copy.notes, o.Load.notes = notes, notes
	}
	if o.Only != OnlyPull {
		if err := r.finishImport(ctx, s, o); err != nil {
			return r, err
		}
	}
	snap, err := o.snapshot(ctx, s, r)
	if err != nil {
		return r, err
	}
	r.Snapshot, r.Event = snap.ID, snap.Manifest.Event
	if o.Only == OnlyPull {
		return r, nil
	}
	return r, r.apply(ctx, s, snap, o)
}

// pull runs pull as a step.
func (r *SyncResult) pull(ctx context.Context, s store.Store, o SyncOptions) error {
	err := r.step("pull", func() (err error) {
		if o.Production != nil {
			r.Pull, err = o.Production.Pull(ctx, s, o.Pull)
			return err
		}
		r.Pull, err = pull.Pull(ctx, o.Hub, s, o.Pull)
		return err
	})
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if o.AfterPull != nil {
		o.AfterPull()
	}
	return nil
}

// apply runs the steps that change staging, and verify. Where clones are made, the first step makes one, and the last
// one discards old ones.
func (r *SyncResult) apply(ctx context.Context, s store.Store, snap *snapfile.Snapshot, o SyncOptions) error {
	if err := o.checkSnapshot(ctx, snap); err != nil {
		return err
	}
	o.Copy.Leave, o.Copy.Repair, o.Copy.Database = true, true, &StagingDatabase{DSN: o.Load.DSN}
	if err := r.clone(ctx, snap, s, o); err != nil {
		return err
	}
	err := r.files(ctx, s, snap, o)
	if err != nil && !Incomplete(err) {
		return err
	}
	return cmp.Or(r.discard(ctx, o), err)
}

// files runs the steps from copy to verify.
func (r *SyncResult) files(ctx context.Context, s store.Store, snap *snapfile.Snapshot, o SyncOptions) error {
	var keptBack error // a *hardlink.LeftOutError
	if err := r.copy(ctx, snap, s, o.Copy, copyStep{"copy", "copy", CopyWithShards, &r.Copy}, &keptBack); err != nil {
		return err
	}
	o.Load.Leaving = r.Copy.Actions.Leaving
	var lock *waiting // composes must not begin before what they could miss is removed
	defer func() { lock.release() }()
	err := r.step("load", func() (err error) {
		r.Load, lock, err = load(ctx, snap, s, o.Load)
		return err
	})
	r.noteWait(lock)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	err = r.copy(ctx, snap, s, o.Copy, copyStep{"remove", "copy, removal", Remove, &r.Remove}, &keptBack)
	lock.release()
	if err != nil || o.NoVerify {
		return cmp.Or(err, keptBack)
	}
	o.Verify.Snapshot = snap
	if err := r.verify(ctx, o); err != nil {
		return err
	}
	if len(r.Verify.Suspects()) == 0 {
		return keptBack
	}
	o.Copy.Suspects = r.Verify.Suspects()
	o.Copy.Log = nil // what it could log beside its result the first copy has logged
	if err := r.copy(ctx, snap, s, o.Copy, copyStep{"repair", "copy, repair", CopyWithShards, &r.Repair}, &keptBack); err != nil {
		return err
	}
	if len(r.Repair.Actions.Builds) > 0 || r.Repair.Shards != nil {
		err = r.verify(ctx, o)
	}
	return cmp.Or(err, keptBack)
}

// copyStep is what differs between the copies of a sync.
type copyStep struct {
	name   string // of the step
	prefix string // of its errors
	run    func(context.Context, *snapfile.Snapshot, store.Store, CopyOptions) (*CopyResult, error)
	result **CopyResult // where its result goes
}

// copy runs a copy as a step. What it keeps back is no error: it is added to keptBack, and what the first copy
// kept back, too, is left out of the result.
func (r *SyncResult) copy(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions, step copyStep, keptBack *error) error {
	var told []hardlink.HeldError
	if r.Copy != nil {
		told = r.Copy.Held
	}
	err := r.step(step.name, func() (err error) {
		*step.result, err = step.run(ctx, snap, s, o)
		return err
	})
	if Incomplete(err) {
		*keptBack = both(*keptBack, err)
		(*step.result).Held = without((*step.result).Held, told)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", step.prefix, err)
	}
	return nil
}

// verify runs verify as a step. Its result replaces an earlier one.
func (r *SyncResult) verify(ctx context.Context, o SyncOptions) error {
	return r.step("verify", func() (err error) {
		if o.Verify.Snapshot, err = narrow.ForComposes(ctx, o.Verify.Snapshot, o.Verify.Tags); err == nil {
			o.Verify.Record, err = ReadRecord(ctx, o.Load.DSN, o.Verify.Snapshot)
		}
		if err == nil {
			r.Verify, err = verify.Verify(ctx, o.Verify)
		}
		if err != nil {
			err = fmt.Errorf("verify: %w", err)
		}
		return err
	})
}

// without removes from what a copy kept back what an earlier one has reported.
func without(held, told []hardlink.HeldError) []hardlink.HeldError {
	return slices.DeleteFunc(held, func(h hardlink.HeldError) bool {
		return slices.ContainsFunc(told, func(o hardlink.HeldError) bool { return o.Same(&h) })
	})
}

// both joins two *hardlink.LeftOutErrors, the first of which may be nil. What is in both comes once.
func both(first, second error) error {
	var a, b *hardlink.LeftOutError
	errors.As(first, &a)
	if !errors.As(second, &b) || a == nil {
		return second
	}
	errs, told := slices.Clone(a.Errs), a.Held()
	for i, h := range b.Held() {
		if !slices.ContainsFunc(told, func(o hardlink.HeldError) bool { return o.Same(&h) }) {
			errs = append(errs, b.Errs[i])
		}
	}
	return &hardlink.LeftOutError{Errs: errs}
}

// Shards is what became of the shards in a sync that copies all builds, nil in others.
func (r *SyncResult) Shards() *ShardsResult {
	if r.Repair != nil && r.Repair.Shards != nil {
		return r.Repair.Shards
	}
	if r.Copy != nil {
		return r.Copy.Shards
	}
	return nil
}

// Changed reports whether a step changed the database or a file, or would in a dry run.
func (r *SyncResult) Changed() bool {
	files := func(c *CopyResult) bool { return c != nil && c.Actions.Pending() }
	rows := func(l *book.LoadReport) bool { return l != nil && l.Changed() }
	if shards := r.Shards(); shards != nil && shards.Make.Files > 0 {
		return true
	}
	return files(r.Copy) || files(r.Remove) || files(r.Repair) || rows(r.Import) || rows(r.Load)
}
