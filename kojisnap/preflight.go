package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/snapfile"
)

// checkSnapshot refuses, before anything is copied, a snapshot that load would refuse, or that does not have the
// tags, arches and keys that verify names.
func (o SyncOptions) checkSnapshot(ctx context.Context, snap *snapfile.Snapshot) error {
	if len(o.Copy.Tags) == 0 { // of everything some must be named
		if err := o.Copy.nameTags(ctx, snap); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
	}
	if !o.NoVerify && !o.Verify.Want.SameNames(o.Copy.Want) { // copy checks its own
		of, err := narrow.ForComposes(ctx, snap, o.Verify.Tags)
		if err == nil {
			err = o.Verify.Want.Check(ctx, of)
		}
		if err != nil {
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
