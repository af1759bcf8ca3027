package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// isNewTopdir reports whether a topdir has neither a ledger nor packages. The empty directory on which topdir
// is usually mounted looks the same.
func isNewTopdir(topdir string) (bool, error) {
	if _, err := os.Stat(topdir); err != nil {
		return false, fmt.Errorf("topdir: %w", err)
	}
	state, err := ledger.State(topdir)
	if err != nil || state != "" {
		return false, err
	}
	if _, err = os.Lstat(filepath.Join(topdir, "packages")); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// checkTopdir refuses a new topdir if the store or the database knows of copies: most likely it is not mounted,
// and all copies would be made again on the disk below the mount point.
func checkTopdir(ctx context.Context, topdir, env, copyVolume string, s store.Store, db *StagingDatabase) error {
	if anew, err := isNewTopdir(topdir); err != nil || !anew {
		return err
	}
	refuse := func(who string, builds int) error {
		return fmt.Errorf("topdir %s has neither packages nor a ledger of copies, but by %s %d builds were copied there: is it mounted? "+
			"If it is a new one, run kojisnap copy or sync with --new-topdir once", topdir, who, builds)
	}
	if s != nil {
		copied, err := readLedger(ctx, s, env, "")
		if err != nil && !errors.Is(err, ledger.ErrDamaged) {
			return err
		}
		if err != nil {
			return fmt.Errorf("topdir %s has neither packages nor a ledger of copies, and the store's ledger cannot be read: is it mounted? "+
				"If it is a new one, run kojisnap copy or sync with --new-topdir once: %w", topdir, err)
		}
		if copied != nil && len(copied.Staged()) > 0 {
			return refuse("the ledger in store "+s.String(), len(copied.Staged()))
		}
		builds := 0
		err = eachShardLedger(ctx, s, env, "", func(_ string, l *ledger.Ledger) error { builds += len(l.Staged()); return nil })
		if err != nil && !errors.Is(err, ledger.ErrDamaged) {
			return err
		}
		if builds > 0 {
			return refuse("the shards' ledgers in store "+s.String(), builds)
		}
	}
	if db == nil {
		return nil
	}
	n, err := db.copied(ctx, copyVolume)
	if err != nil && !(db.Optional && ctx.Err() == nil) {
		return err
	}
	if n > 0 {
		return refuse("the database", n)
	}
	return nil
}

// copied returns how many of production's builds the database has on the copy volume.
func (d *StagingDatabase) copied(ctx context.Context, volume string) (int, error) {
	if volume == "" {
		volume = volumes.CopyVolume
	}
	conn, err := dbconn.Connect(ctx, d.DSN)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return status.CopiedBuilds(ctx, conn, volume)
}
