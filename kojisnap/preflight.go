package kojisnap

import (
	"context"
	"errors"
	"fmt"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
)

// ErrNotStagingHub says that a hub which was given as staging's is not.
var ErrNotStagingHub = errors.New("not staging's hub")

// checkStagingHub refuses, with ErrNotStagingHub, a hub that is at one of the addresses of production's,
// and one whose database does not have the user that kojisnap init makes. Production's hub in the place
// of staging's would be found ready at once.
func checkStagingHub(ctx context.Context, staging *hub.Client, production ...string) error {
	for _, p := range production {
		if snapfile.SameHub(staging.URL(), p) {
			return fmt.Errorf("hub %s is production's: %w; give the URL of the staging hub", staging.URL(), ErrNotStagingHub)
		}
	}
	user, err := staging.Call(ctx, hub.Call{Method: "getUser", Args: []any{book.User}})
	if err != nil {
		return &askError{staging, "staging's", err}
	}
	if user.IsNil() {
		return fmt.Errorf("hub %s has no user %s, which kojisnap init makes in staging's database: %w; give the URL of the staging hub, or run kojisnap init",
			staging.URL(), book.User, ErrNotStagingHub)
	}
	return nil
}

// checkSnapshot refuses, before anything is copied, a snapshot that load would refuse, or that does not
// know what copy and verify want.
func (o SyncOptions) checkSnapshot(ctx context.Context, snap *snapfile.Snapshot) error {
	if !o.NoVerify && !o.Verify.Want.same(o.Copy.Want) { // copy checks its own
		if err := checkWant(ctx, snap, o.Verify.Want); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	conn, err := dbconn.Connect(ctx, o.Load.DSN)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := dbsync.CheckLoad(ctx, conn, snap, o.Load.LoadOptions); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}
