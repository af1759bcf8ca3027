package kojisnap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// LoadOptions say which database to load, and how. Env, Volume, CopyVolume and what else
// dbsync.LoadOptions has are used as they are; Staged, VolumeFor and Overlay are found here.
type LoadOptions struct {
	dbsync.LoadOptions
	DSN     string            // of the staging database; empty: libpq's environment variables
	Topdir  string            // where the ledger says what was copied; empty: the store's copy of it
	Rules   map[string]string // staging's names of production's volumes, where the default will not do
	Overlay string            // file; empty: none
	WaitFor string            // a file that running composes hold locked; empty: none
}

// Load loads a snapshot into the staging database. Errors are those of package dbsync.
func Load(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o LoadOptions) (*dbsync.LoadReport, error) {
	started := time.Now()
	opt, err := o.found(ctx, s)
	if err == nil && o.WaitFor != "" {
		var unlock func()
		if unlock, err = waitFor(ctx, o.WaitFor); err == nil {
			defer unlock()
		}
	}
	// The database remembers failures too, as far as it can.
	conn, lost := Connect(ctx, o.DSN)
	if lost != nil {
		return nil, cmp.Or(err, lost)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		dbsync.RecordFailure(ctx, conn, snap, opt, started, err)
		return nil, err
	}
	return dbsync.Load(ctx, conn, snap, opt)
}

// found adds what the options name: the ledger, the overlay.
func (o LoadOptions) found(ctx context.Context, s store.Store) (dbsync.LoadOptions, error) {
	opt := o.LoadOptions
	mapping := volumes.Mapping{Prod: opt.Volume, Rules: o.Rules}
	if err := mapping.Validate(nil); err != nil {
		return opt, err
	}
	opt.VolumeFor = mapping.Staging
	ledger, err := readLedger(ctx, s, opt.Env, o.Topdir)
	if err != nil {
		return opt, err
	}
	if ledger != nil {
		opt.Staged = []dbsync.NVR{} // known, if only that there is none
		for _, b := range ledger.Staged() {
			opt.Staged = append(opt.Staged, dbsync.NVR{Name: b.Build.Name, Version: b.Build.Version, Release: b.Build.Release})
		}
	}
	opt.Base = func(ctx context.Context, id string) (*snapfile.Snapshot, error) { return snapfile.Open(ctx, s.Get, id) }
	if o.Overlay != "" {
		opt.Overlay, err = dbsync.ReadOverlay(o.Overlay)
	}
	return opt, err
}

// Connect opens a connection to the staging database. That a server is not there, or not yet,
// is a *dbsync.TemporaryError. Messages never hold the password.
func Connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "kojisnap"
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		return conn, nil
	}
	err = fmt.Errorf("database %s on %s: %w", config.Database, config.Host, oneLine{err})
	var pg *pgconn.PgError
	// 57P03 is a server that starts up or shuts down; other answers of a server are final.
	if ctx.Err() != nil || errors.As(err, &pg) && pg.Code != "57P03" {
		return nil, err
	}
	return nil, &dbsync.TemporaryError{Err: err}
}

// oneLine shows an error of several lines, as pgconn has for several addresses, in one.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// waitFor waits until nobody holds path locked (flock), and holds it until unlock: composes
// that lock it shared while they run do not meet a load.
func waitFor(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	if err := flock(ctx, f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("wait for %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
