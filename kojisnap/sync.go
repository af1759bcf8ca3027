package kojisnap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"kojisnap/dbsync"
	"kojisnap/hardlink"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/store"
)

// SyncOptions are the options of the steps that Sync runs. It fills in what follows from the
// step before: the snapshot, and the plan of files.
type SyncOptions struct {
	Hub    *hub.Client // production's
	Pull   PullOptions
	Copy   CopyOptions
	Load   LoadOptions
	Verify VerifyOptions
	// AfterPull, if set, is called once the hub has been read.
	AfterPull func()
	// NoVerify leaves the last step out, for hosts that do not reach staging's hub.
	NoVerify bool
}

// SyncResult is what the steps did, nil for one that was not reached or left out.
type SyncResult struct {
	Pull   *PullResult        `json:"pull,omitempty"`
	Copy   *CopyResult        `json:"copy,omitempty"`
	Load   *dbsync.LoadReport `json:"load,omitempty"`
	Remove *CopyResult        `json:"remove,omitempty"`
	Repair *CopyResult        `json:"repair,omitempty"` // of files that verify found missing or damaged
	Verify *VerifyResult      `json:"verify,omitempty"`
	Steps  []SyncStep         `json:"steps"` // those that were reached
}

// Sync runs pull, copy of what is new, load, removal of what can go, verify, in this order:
// the hub never names a file that is not there. A build that no compose needs any longer is led
// back to production's volume at once; its copy stays for Copy.KeepFor, for composes that run.
// Copies that verify finds missing or damaged are made again, and verified once more.
//
// What a late step would refuse is refused before the first. It stops at the first error; run again, it
// continues. Builds of which production has lost or
// damaged files are no reason to stop: they stay on the read-only volume, all else is done, and
// the error is a *hardlink.LeftOutError. The result is complete then. So it
// is with all else that package hardlink keeps back by itself.
func Sync(ctx context.Context, s store.Store, o SyncOptions) (*SyncResult, error) {
	r := &SyncResult{}
	if err := o.Preflight(ctx, s); err != nil {
		return r, err
	}
	err := r.step("pull", func() (err error) {
		r.Pull, err = Pull(ctx, o.Hub, s, o.Pull)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("pull: %w", err)
	}
	if o.AfterPull != nil {
		o.AfterPull()
	}
	snap, err := OpenSnapshot(ctx, s, r.Pull.Snapshot)
	if err != nil {
		return r, err
	}
	if err := o.checkSnapshot(ctx, snap); err != nil {
		return r, err
	}
	o.Copy.Leave, o.Copy.Repair, o.Copy.Database = true, true, &StagingDatabase{DSN: o.Load.DSN}
	var incomplete error
	err = r.step("copy", func() (err error) {
		r.Copy, err = Copy(ctx, snap, s, o.Copy)
		return err
	})
	if Incomplete(err) {
		incomplete = err
	} else if err != nil {
		return r, fmt.Errorf("copy: %w", err)
	}
	o.Load.Leaving = r.Copy.Actions.Leaving
	var lock *waiting // composes do not begin before what they could miss is removed
	defer func() { lock.release() }()
	err = r.step("load", func() (err error) {
		r.Load, lock, err = load(ctx, snap, s, o.Load)
		return err
	})
	r.noteWait(lock)
	if err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	err = r.step("remove", func() (err error) {
		r.Remove, err = Remove(ctx, snap, s, o.Copy)
		return err
	})
	lock.release()
	if Incomplete(err) {
		incomplete = both(incomplete, err)
		r.Remove.Held = without(r.Remove.Held, r.Copy.Held)
	} else if err != nil {
		return r, fmt.Errorf("copy, removal: %w", err)
	}
	if o.NoVerify {
		return r, incomplete
	}
	o.Verify.Snapshot = snap
	if err := r.verify(ctx, o); err != nil {
		return r, err
	}
	if len(r.Verify.Suspects()) == 0 {
		return r, incomplete
	}
	o.Copy.Suspects = r.Verify.Suspects()
	o.Copy.Log = nil // what it could tell beside the result was told by the first copy
	err = r.step("repair", func() (err error) {
		r.Repair, err = Copy(ctx, snap, s, o.Copy)
		return err
	})
	if Incomplete(err) {
		incomplete = both(incomplete, err)
		r.Repair.Held = without(r.Repair.Held, r.Copy.Held)
	} else if err != nil {
		return r, fmt.Errorf("copy, repair: %w", err)
	}
	if len(r.Repair.Actions.Builds) > 0 {
		err = r.verify(ctx, o)
	}
	return r, cmp.Or(err, incomplete)
}

// verify verifies, and puts the result in the place of an earlier one.
func (r *SyncResult) verify(ctx context.Context, o SyncOptions) error {
	return r.step("verify", func() (err error) {
		if o.Verify.Record, err = ReadRecord(ctx, o.Load.DSN, o.Verify.Snapshot); err == nil {
			r.Verify, err = Verify(ctx, o.Verify)
		}
		if err != nil {
			err = fmt.Errorf("verify: %w", err)
		}
		return err
	})
}

// without is what is kept back, less what was told before.
func without(held, told []hardlink.HeldError) []hardlink.HeldError {
	return slices.DeleteFunc(held, func(h hardlink.HeldError) bool {
		return slices.ContainsFunc(told, func(o hardlink.HeldError) bool { return o.Same(&h) })
	})
}

// both is one *hardlink.LeftOutError of two, of which the first may be nil. What both have is in it once.
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

// Changed reports whether a step changed the database or a file.
func (r *SyncResult) Changed() bool {
	files := func(c *CopyResult) bool { return c != nil && c.Actions.Pending() }
	return files(r.Copy) || files(r.Remove) || files(r.Repair) || r.Load != nil && r.Load.Changed()
}
