package kojisnap

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Unfinished returns the snapshot of a full import that was broken off in staging's database and with which this sync goes
// on, nil if the database is whole. If the sync does not go on with it, the error is a *book.ImportingError: another load is
// at work on it, this sync is not one of everything, or the snapshot is of another production or no longer in the store.
func (o SyncOptions) Unfinished(ctx context.Context, s store.Store) (*snapfile.Snapshot, error) {
	conn, err := dbconn.Connect(ctx, o.Load.DSN)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return o.unfinished(ctx, conn, s)
}

// unfinished is Unfinished by a connection that is open.
func (o SyncOptions) unfinished(ctx context.Context, conn *pgx.Conn, s store.Store) (*snapfile.Snapshot, error) {
	if o.Load.Import != "" && o.Load.Import != dbsync.ImportAuto {
		return nil, nil // the load decides
	}
	refused := status.CheckWhole(ctx, conn)
	if errors.Is(refused, book.ErrNotStaging) {
		return nil, nil // no import was begun there, and what needs the mark refuses
	}
	var importing *book.ImportingError
	if !errors.As(refused, &importing) || s == nil {
		return nil, refused
	}
	if busy, err := dbconn.Busy(ctx, conn); err != nil {
		return nil, err
	} else if busy {
		return nil, refused
	}
	hub, everything, err := o.production(ctx, s)
	if err != nil {
		return nil, err
	}
	if !everything || len(o.Load.Tags) > 0 {
		return nil, fmt.Errorf("%w; a sync goes on only if it is of everything, without tag in [load]", refused)
	}
	snap, err := repository.Open(ctx, s, importing.Importing.Snapshot)
	switch {
	case errors.Is(err, repository.ErrNoSnapshot):
		return nil, fmt.Errorf("%w; store %s no longer has that snapshot: begin anew with another one of everything, by kojisnap load --import restart", refused, s)
	case err != nil:
		return nil, err
	case !snapfile.SameHub(snap.Manifest.Hub, hub):
		return nil, fmt.Errorf("%w; it is one of %s", refused, snap.Manifest.Hub)
	}
	return snap, nil
}

// production returns the hub of what a sync applies, and whether that is everything.
func (o SyncOptions) production(ctx context.Context, s store.Store) (hub string, everything bool, err error) {
	if o.Only != OnlyApply {
		return o.Hub.URL(), o.Pull.Everything, nil
	}
	latest, err := repository.Latest(ctx, s, o.Scope)
	if err != nil {
		return "", false, err
	}
	return latest.Manifest.Hub, latest.Manifest.Scope.Everything, nil
}

// finishImport goes on, as a step, with a full import that was broken off. It comes before the pull, so that staging's database
// is whole also if production does not answer; then the sync goes on as ever.
func (r *SyncResult) finishImport(ctx context.Context, s store.Store, o SyncOptions) error {
	snap, err := o.Unfinished(ctx, s)
	if err != nil || snap == nil {
		return err
	}
	err = r.step("import", func() (err error) {
		r.Import, err = Load(ctx, snap, s, o.Load)
		return err
	})
	if err != nil {
		return fmt.Errorf("load, to go on with the import: %w", err)
	}
	return nil
}
