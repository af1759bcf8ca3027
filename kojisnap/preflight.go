package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/snapfile"
)

// checkSnapshot refuses, before anything is copied, a snapshot that load would refuse, or that does not have the
// tags, arches and keys that verify names.
func (o SyncOptions) checkSnapshot(ctx context.Context, snap *snapfile.Snapshot) error {
	if !o.NoVerify && !o.Verify.Want.SameNames(o.Copy.Want) { // copy checks its own
		if err := o.Verify.Want.Check(ctx, snap); err != nil {
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
