package kojisnap

import (
	"cmp"
	"context"
	"slices"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// LoadOptions say which database to load, and how. Of dbsync.LoadOptions, Load itself sets Staged, VolumeFor,
// Overlay, Base, Narrow, Between and Importing; all others are used as they are.
type LoadOptions struct {
	dbsync.LoadOptions
	DSN string // of the staging database; empty: libpq's environment variables
	// NewTopdir accepts an empty Topdir although copies are known; see CopyOptions.
	NewTopdir bool
	Topdir    string            // whose ledger says what was copied; empty: the store's copy of the ledger says it
	Rules     map[string]string // staging's names of production's volumes where the default will not do
	Overlay   string            // file; empty: none
	Leaving   []volumes.Build   // copied builds that this load moves off the copy volume, beside those that the ledger marks as unwanted
	WaitFor   string            // a file that running composes hold locked; empty: none. A dry run does not wait
	EventFile EventFile         // is given the event to pin; a dry run does not write it
	// Before, if not nil, is called when nothing is left to wait for; an error ends the load before it has begun.
	// After, if not nil, is called when the load has committed. A dry run calls neither.
	Before func(ctx context.Context, snapshot string, event int64) error
	After  func(ctx context.Context, r *book.LoadReport)

	notes *storeNotes // nil: Load tells itself what the store does not take
}

// Load loads a snapshot into the staging database, in one transaction. If it is to be of fewer tags (o.Tags), snap
// comes from narrow.To. s is the store that has the snapshot.
// Errors are those of package dbsync.
func Load(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o LoadOptions) (*book.LoadReport, error) {
	r, lock, err := load(ctx, snap, s, o)
	lock.release()
	return r, err
}

// load is Load that still holds the lock on WaitFor when it returns, also with an error.
func load(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o LoadOptions) (_ *book.LoadReport, lock *waiting, _ error) {
	started := time.Now()
	opt, err := o.found(ctx, snap, s)
	if err == nil && !opt.DryRun {
		if err = o.EventFile.check(); err == nil {
			lock, err = waitFor(ctx, o.WaitFor, o.Log)
		}
	}
	if lock != nil {
		opt.Waited = lock.waited
	}
	// The database also records failures, as far as it can.
	conn, lost := dbconn.Connect(ctx, o.DSN)
	if lost != nil {
		return nil, lock, cmp.Or(err, lost)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		dbsync.RecordFailure(ctx, conn, snap, opt, started, err)
		return nil, lock, err
	}
	if o.Before != nil && !opt.DryRun {
		if err := o.Before(ctx, snap.ID, snap.Manifest.Event); err != nil {
			dbsync.RecordFailure(ctx, conn, snap, opt, started, err)
			return nil, lock, err
		}
	}
	if opt.Rollback && !opt.DryRun {
		if err := o.EventFile.remove(ctx, conn, opt.Env, snap.Manifest.Event); err != nil {
			return nil, lock, err
		}
	}
	if s != nil {
		opt.Importing = func(ctx context.Context) { o.noteImporting(ctx, s, snap) }
	}
	r, err := dbsync.Load(ctx, conn, snap, opt)
	if opt.DryRun {
		return r, lock, err
	}
	if err == nil && s != nil {
		o.noteDecided(ctx, s, r.Decided)
		if lost := o.noteHeld(ctx, s, snap, conn); lost != nil && !o.notes.failed(ctx, lost) && o.Log != nil {
			// The store may be read-only here. A load that lacks what was pruned says so itself.
			o.Log.InfoContext(ctx, "what the database holds is not noted in the store: a prune may remove what the next load needs", "err", lost)
		}
	}
	lost = o.EventFile.write(ctx, conn, opt.Env) // also after an error: an earlier load may have been killed before it
	if err == nil {
		err = o.EventFile.unwritten(ctx, lost, o.Log)
		if o.After != nil {
			o.After(ctx, r)
		}
	}
	return r, lock, err
}

// noteDecided stores what staging decided, for copies. They can do without it, so a failure is no error.
func (o LoadOptions) noteDecided(ctx context.Context, s store.Store, builds map[int64]string) {
	if err := repository.PutDecided(ctx, s, o.Env, builds); err != nil && !o.notes.failed(ctx, err) && o.Log != nil {
		o.Log.WarnContext(ctx, "what staging decided of builds is not noted in the store: a copy may make their files again", "err", err)
	}
}

// noteImporting keeps prune from the snapshot of a full import: if that is broken off, it can only go on with this one.
func (o LoadOptions) noteImporting(ctx context.Context, s store.Store, snap *snapfile.Snapshot) {
	if err := repository.PutHeld(ctx, s, o.Env, snap); err != nil && !o.notes.failed(ctx, err) && o.Log != nil {
		o.Log.InfoContext(ctx, "the import is not noted in the store: a prune may remove the snapshot that it needs", "err", err)
	}
}

// found completes the options with what they name: the ledger, the overlay.
func (o LoadOptions) found(ctx context.Context, snap *snapfile.Snapshot, s store.Store) (dbsync.LoadOptions, error) {
	opt := o.LoadOptions
	mapping := volumes.Mapping{Prod: opt.Volume, Rules: o.Rules}
	if err := mapping.Validate(nil); err != nil {
		return opt, err
	}
	opt.VolumeFor = mapping.Staging
	if o.Topdir != "" && !o.NewTopdir {
		if err := checkTopdir(ctx, o.Topdir, opt.Env, opt.CopyVolume, s, &StagingDatabase{DSN: o.DSN}); err != nil {
			return opt, err
		}
	}
	copied, known, err := staged(ctx, s, opt.Env, o.Topdir)
	if err != nil {
		return opt, err
	}
	if known {
		leaving := map[kojidb.NVR]bool{}
		for _, b := range o.Leaving {
			leaving[kojidb.NVR{Name: b.Name, Version: b.Version, Release: b.Release}] = true
		}
		// Known, even if there are none.
		opt.Staged = slices.DeleteFunc(copied, func(b kojidb.NVR) bool { return leaving[b] })
	}
	opt.Base = func(ctx context.Context, id string) (*snapfile.Snapshot, error) { return snapfile.Open(ctx, s.Get, id) }
	opt.Between = func(ctx context.Context, after, before int64) ([]*snapfile.Snapshot, error) {
		all, err := repository.SnapshotsBetween(ctx, s, after, before) // if the store has keys, only trusted ones
		for i := range all {
			if snap.Filtered() {
				all[i] = narrow.Revoked(all[i], snap)
			}
		}
		return all, err
	}
	opt.Narrow = narrow.ToIDs
	if o.Overlay != "" {
		opt.Overlay, err = overlay.Read(o.Overlay)
	}
	return opt, err
}
