package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
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
	Pull   *PullResult        `json:"pull"`
	Copy   *CopyResult        `json:"copy,omitempty"`
	Load   *dbsync.LoadReport `json:"load,omitempty"`
	Remove *CopyResult        `json:"remove,omitempty"`
	Verify *VerifyResult      `json:"verify,omitempty"`
}

// Sync runs pull, copy of what is new, load, removal of what can go, verify, in this order:
// the hub never names a file that is not there. It stops at the first error; run again, it
// continues.
func Sync(ctx context.Context, s store.Store, o SyncOptions) (*SyncResult, error) {
	r := &SyncResult{}
	if o.Load.Overlay != "" { // a bad one is told before the hub is asked
		if _, err := dbsync.ReadOverlay(o.Load.Overlay); err != nil {
			return r, err
		}
	}
	var err error
	if r.Pull, err = Pull(ctx, o.Hub, s, o.Pull); err != nil {
		return r, fmt.Errorf("pull: %w", err)
	}
	if o.AfterPull != nil {
		o.AfterPull()
	}
	snap, err := OpenSnapshot(ctx, s, r.Pull.Snapshot)
	if err != nil {
		return r, err
	}
	if r.Copy, err = Copy(ctx, snap, s, o.Copy); err != nil {
		return r, fmt.Errorf("copy: %w", err)
	}
	remove := o.Copy
	remove.Remove = true
	if o.Load.Leaving, err = Leaving(ctx, snap, s, o.Copy); err != nil {
		return r, fmt.Errorf("copy, removal: %w", err)
	}
	if r.Load, err = Load(ctx, snap, s, o.Load); err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	if r.Remove, err = Copy(ctx, snap, s, remove); err != nil {
		return r, fmt.Errorf("copy, removal: %w", err)
	}
	if o.NoVerify {
		return r, nil
	}
	o.Verify.Snapshot = snap
	if o.Verify.Conflicts, err = ReadConflicts(ctx, o.Load.DSN, snap); err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	if r.Verify, err = Verify(ctx, o.Verify); err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	return r, nil
}

// Changed reports whether a step changed the database or a file.
func (r *SyncResult) Changed() bool {
	files := func(c *CopyResult) bool { return c != nil && c.Actions.Pending() }
	return files(r.Copy) || files(r.Remove) || r.Load != nil && r.Load.Changed()
}

// Leaving returns the builds whose copies a Copy with Remove would take away: the database must
// not name them any longer before that.
func Leaving(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions) ([]volumes.Build, error) {
	o.Remove, o.DryRun = true, true
	r, err := Copy(ctx, snap, s, o)
	if err != nil {
		return nil, err
	}
	var builds []volumes.Build
	for _, a := range r.Actions.Remove {
		builds = append(builds, a.Build)
	}
	return builds, nil
}
