package dbconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/retry"
)

// lockKey is the advisory lock that keeps a second kojisnap out: "kojisnap" in ASCII.
const lockKey = 0x6b6f6a69736e6170

// attempts is how often a transaction is tried that meets locks or changes of the hub.
const attempts = 16

// Transact runs fn in a transaction under kojisnap's lock, and commits it if fn says so. If others are in the
// way it begins again, with pauses: at REPEATABLE READ a row that the hub changed meanwhile is a serialization
// failure. After an attempt that met a constraint, metConstraint is true: fn then finds out whether its own rows are
// wrong.
//
// Another kojisnap at work is lockfile.ErrLocked. A lost database, or locks that stay, are a *retry.TemporaryError.
func Transact(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, fn func(tx pgx.Tx, metConstraint bool) (commit bool, err error)) error {
	metConstraint, met := false, ""
	for try := 1; ; try++ {
		err := once(ctx, conn, level, func(tx pgx.Tx) (bool, error) { return fn(tx, metConstraint) })
		before := met
		met = metKey(err)
		switch code := sqlState(err); {
		// A key that no attempt met before was inserted by somebody in staging meanwhile.
		case IsConstraint(code) && (!metConstraint || retryable(code) && (try < 3 || met != before && try < attempts)):
			metConstraint = true
		case IsConstraint(code):
			return refusal(err)
		case !retryable(code):
			return classify(err)
		case try == attempts:
			return &retry.TemporaryError{Err: fmt.Errorf("after %d attempts: %w", try, refusal(err))}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}

// metKey names the constraint and the key by which PostgreSQL refused a row.
func metKey(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ""
	}
	return pg.ConstraintName + " " + pg.Detail
}

func once(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, fn func(pgx.Tx) (bool, error)) error {
	tx, err := Begin(ctx, conn, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return err
	}
	commit := false
	if err = lock(ctx, tx); err == nil {
		commit, err = fn(tx)
	}
	if err == nil && commit {
		return tx.Commit(ctx)
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if rollback := tx.Rollback(undo); err == nil {
		err = rollback
	}
	return err
}

// Busy reports whether another kojisnap holds the lock.
func Busy(ctx context.Context, conn *pgx.Conn) (busy bool, err error) {
	err = Read(ctx, conn, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT NOT pg_try_advisory_xact_lock($1)", int64(lockKey)).Scan(&busy)
	})
	return busy, err
}

// lock takes kojisnap's lock until the transaction ends, or returns lockfile.ErrLocked. The snapshot of the
// transaction may be older than the last holder's commit. But both take the next id of kojisnap.run or
// kojisnap.sync, so one of them begins again.
func lock(ctx context.Context, tx pgx.Tx) error {
	var got, standby, readOnly bool
	err := tx.QueryRow(ctx, `SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean, pg_try_advisory_xact_lock($1)`, int64(lockKey)).Scan(&standby, &readOnly, &got)
	database := tx.Conn().Config().Database
	switch {
	case err != nil:
		return err
	case standby:
		return fmt.Errorf("database %q is a standby's, which cannot be written: name the primary, or several hosts and target_session_attrs=read-write", database)
	case readOnly:
		return fmt.Errorf("database %q is read-only for us: default_transaction_read_only is on", database)
	case !got:
		return errLocked
	}
	return nil
}
