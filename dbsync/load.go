package dbsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/overlay/apply"
	"kojisnap/kojisnap/snapfile"
)

// Load merges a snapshot into the staging database. Everything is one transaction: on any error nothing has
// changed, and the load can be repeated. Errors to tell apart: book.ErrNotStaging, preflight.ErrOtherHub,
// preflight.ErrOlder, lockfile.ErrLocked, *ConflictError, *retry.TemporaryError, *overlay.Error, and those of
// the snapshot (*snapfile.DamagedError).
//
// Nothing else may use the connection meanwhile. It comes from dbconn.Connect; package dbconn says how queries
// must run on one that does not.
func Load(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) (*book.LoadReport, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	started := time.Now()
	if opt.Overlay != nil {
		err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
			m := newMerger(tx, snap, opt)
			if err := m.check(ctx); err != nil {
				return err
			}
			return apply.Check(ctx, m.Load, opt.Overlay)
		})
		if err != nil {
			recordFailure(ctx, conn, book.NewRun(snap, opt.Version), opt, started, err)
			return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
		}
	}
	var m *merger
	load := func(tx pgx.Tx, metConstraint bool) (bool, error) {
		m = newMerger(tx, snap, opt)
		m.metConstraint, m.record.started = metConstraint, started
		if err := moreTempBuffers(ctx, tx); err != nil {
			return false, err
		}
		return !opt.DryRun, m.run(ctx)
	}
	err := dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	if errors.Is(err, errNeedAllRows) {
		opt.Base = nil
		err = dbconn.Transact(ctx, conn, pgx.RepeatableRead, load)
	}
	if err != nil {
		run := book.NewRun(snap, opt.Version)
		if m != nil {
			run.Mode = m.record.mode()
		}
		recordFailure(ctx, conn, run, opt, started, err)
		return nil, fmt.Errorf("load snapshot %s: %w", snap.ID, err)
	}
	opt.Log.InfoContext(ctx, "snapshot loaded", "snapshot", snap.ID, "dry_run", opt.DryRun, "changed", m.Report.Changed(),
		"touched", len(m.Report.Touched), "conflicts", len(m.Report.Conflicts))
	if !opt.DryRun {
		if m.staging.gap != "" {
			opt.Log.WarnContext(ctx, m.staging.gap)
		}
		m.record.analyze(ctx, conn)
	}
	return m.Report, nil
}

// CheckLoad says why Load would refuse a snapshot before it writes anything.
func CheckLoad(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) error {
	if err := opt.complete(); err != nil {
		return err
	}
	err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		m := newMerger(tx, snap, opt)
		return m.check(ctx)
	})
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", snap.ID, err)
	}
	return nil
}

// moreTempBuffers gives temporary tables more memory for this transaction. PostgreSQL allows that only before
// the session first uses temporary tables, so a failure is no error.
func moreTempBuffers(ctx context.Context, tx pgx.Tx) error {
	try, err := tx.Begin(ctx) // a savepoint
	if err != nil {
		return err
	}
	if _, err := try.Exec(ctx, "SET LOCAL temp_buffers = '64MB'"); err != nil {
		return try.Rollback(ctx)
	}
	return try.Commit(ctx)
}
