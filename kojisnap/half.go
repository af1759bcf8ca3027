package kojisnap

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"

	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Half says which steps of a sync a host does. Two hosts may share a sync: one reads production's hub and writes the
// store, the other one reads the store and changes staging.
type Half string

// The halves.
const (
	Whole     Half = ""
	OnlyPull  Half = "pull"  // needs production's hub and the store
	OnlyApply Half = "apply" // copy, load, remove and verify of the latest snapshot in the store; needs no production hub
)

// does reports whether a host that does half h makes a check that is for half of.
func (h Half) does(of Half) bool { return h == Whole || of == Whole || h == of }

// snapshot pulls a snapshot or, where another host does that, opens the latest one of the scope. It has the tags that
// are loaded.
func (o SyncOptions) snapshot(ctx context.Context, s store.Store, r *SyncResult) (*snapfile.Snapshot, error) {
	var snap *snapfile.Snapshot
	var err error
	if o.Only == OnlyApply {
		snap, err = repository.Latest(ctx, s, o.Scope)
	} else if err = r.pull(ctx, s, o); err == nil {
		snap, err = repository.Open(ctx, s, r.Pull.Snapshot)
	}
	if err != nil || o.Only == OnlyPull {
		return snap, err
	}
	return narrow.To(ctx, snap, o.Load.Tags)
}

// storeNotes tells that a store does not take what a sync notes in it for others: the ledger, what staging decided,
// what the environment holds. A host that only applies does without, so this is no error; it is told once.
type storeNotes struct {
	once sync.Once
	log  *slog.Logger
}

// failed tells err, unless n is nil, which it reports: then err is the caller's to handle.
func (n *storeNotes) failed(ctx context.Context, err error) bool {
	if n == nil {
		return false
	}
	n.once.Do(func() {
		if n.log == nil {
			return
		}
		level := slog.LevelWarn
		if readOnly(err) { // somebody means it so
			level = slog.LevelInfo
		}
		n.log.Log(ctx, level, "the store takes no notes from this host: prune does not know what its database holds, other hosts not what was copied, and status --all does not list it", "err", err)
	})
	return true
}

// readOnly reports whether a store refused a write because this host may only read it.
func readOnly(err error) bool {
	var denied interface{ Denied() bool }
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.As(err, &denied) && denied.Denied()
}
