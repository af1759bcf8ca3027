package dbsync

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockKey is the advisory lock that keeps a second kojisnap out: "kojisnap" in ASCII.
const lockKey = 0x6b6f6a69736e6170

// attempts is how often a transaction is tried that meets locks of the hub.
const attempts = 16

// settings make text forms of values, and so the hashes of rows, the same in every session,
// and keep the hub from waiting behind a lock that we wait for.
//
// PostgreSQL looks for a deadlock when someone has waited for deadlock_timeout, and ends the one
// that looks. That must not be the hub, so we never wait that long; and as the hub may wait for us
// already when we begin to wait for it, we wait for no more than a twentieth of it. Little is lost:
// at REPEATABLE READ a row that the hub changed meanwhile makes us begin again anyway.
//
// A load of what changed finds few rows in large tables, most of which are cached: with the default
// random_page_cost PostgreSQL reads those tables whole, in several times the time.
const settings = `SELECT set_config('lock_timeout', greatest(least(setting::integer / 20, 500), 1)::text, true) FROM pg_settings WHERE name = 'deadlock_timeout';
	SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, MDY';
	SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
	SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
	SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1; SET LOCAL work_mem = '64MB'; SET LOCAL client_min_messages = warning`

// transact runs fn in a transaction while it holds kojisnap's lock, again if others were in
// its way: at REPEATABLE READ, a row that the hub changed after we looked is a serialization
// failure. It commits only if fn says so. After an attempt that met a constraint, doubt is set:
// fn then finds out whether its own rows were at fault.
func transact(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, fn func(tx pgx.Tx, doubt bool) (commit bool, err error)) error {
	var got, standby, readOnly bool
	err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean, pg_try_advisory_lock($1)`,
		pgx.QueryExecModeExec, int64(lockKey)).Scan(&standby, &readOnly, &got)
	switch {
	case err != nil:
		return classify(err)
	case standby:
		return fmt.Errorf("database %q is a standby's, which cannot be written: name the primary, or several hosts and target_session_attrs=read-write", conn.Config().Database)
	case readOnly:
		return fmt.Errorf("database %q is read-only for us: default_transaction_read_only is on", conn.Config().Database)
	}
	if !got {
		return ErrLocked
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// A connection that is gone has let go of the lock.
		_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", pgx.QueryExecModeExec, int64(lockKey))
	}()
	doubt := false
	for try := 1; ; try++ {
		err := once(ctx, conn, level, func(tx pgx.Tx) (bool, error) { return fn(tx, doubt) })
		switch code := sqlState(err); {
		case constraint(code) && (!doubt || retryable(code) && try < 3):
			doubt = true
		case constraint(code):
			return refusal(err)
		case !retryable(code):
			return classify(err)
		case try == attempts:
			return &TemporaryError{fmt.Errorf("after %d attempts: %w", try, refusal(err))}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}

func once(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, fn func(pgx.Tx) (bool, error)) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return err
	}
	commit := false
	if _, err = tx.Exec(ctx, settings); err == nil {
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
