package dbconn

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// settings are the first statements of each transaction. A role, a database or a DSN may have settings that
// change what a session reads and writes, and behind a pooler each transaction may have another session. For
// the same reason nothing is read outside of a transaction.
//
// Text forms are fixed so that hashes of rows are the same everywhere. Koji's schema comes first in the search
// path, as a role may have a schema of its own name before it: for the role "kojisnap" that is the
// bookkeeping, which has a table "tag" too.
//
// PostgreSQL looks for a deadlock when a session has waited for deadlock_timeout, and ends the session that
// looks. That must not be the hub's, so we never wait that long. The hub may already wait for us when we begin
// to wait for it, so we wait only a twentieth of that time. Little is lost: at REPEATABLE READ we must begin
// again anyway if the hub has changed a row meanwhile.
//
// A load of what changed finds few rows in large tables, which are mostly cached. With the default
// random_page_cost PostgreSQL would read the tables whole, which takes several times as long.
const settings = `SET LOCAL client_encoding = 'UTF8'; SET LOCAL standard_conforming_strings = on;
	SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, MDY';
	SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;
	SET LOCAL transform_null_equals = off; SET LOCAL array_nulls = on;
	SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
	SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1; SET LOCAL work_mem = '64MB'; SET LOCAL client_min_messages = warning;
	SELECT set_config('lock_timeout', greatest(least((extract(epoch FROM current_setting('deadlock_timeout')::interval) * 1000 / 20)::integer, 500), 1)::text, true);
	SELECT set_config('search_path', concat_ws(', ', min(quote_ident(n.nspname)), nullif(current_setting('search_path'), '')), true)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = 'rpminfo' AND c.relkind IN ('r', 'p') AND c.oid = coalesce(to_regclass('rpminfo'), c.oid)
		HAVING count(*) = 1`

// Begin starts a transaction with these settings. The caller commits it or calls End.
func Begin(ctx context.Context, conn *pgx.Conn, opt pgx.TxOptions) (pgx.Tx, error) {
	tx, err := conn.BeginTx(ctx, opt)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, settings); err != nil {
		End(ctx, tx)
		return nil, err
	}
	return tx, nil
}

// BeginAt starts a transaction with these settings that only reads, and that sees what the transaction sees that
// exported a snapshot (pg_export_snapshot). Empty: it sees what is committed now, and can export that.
func BeginAt(ctx context.Context, conn *pgx.Conn, snapshot string) (pgx.Tx, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	if snapshot != "" { // before any query
		if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+strings.ReplaceAll(snapshot, "'", "''")+"'"); err != nil {
			End(ctx, tx)
			return nil, err
		}
	}
	if _, err := tx.Exec(ctx, settings); err != nil {
		End(ctx, tx)
		return nil, err
	}
	return tx, nil
}

// End rolls back a transaction that wrote nothing, or is undone.
func End(ctx context.Context, tx pgx.Tx) { _ = tx.Rollback(context.WithoutCancel(ctx)) }

// Read runs fn in a transaction that sees one state of the database and cannot change it. If the database is
// lost, the error is a *retry.TemporaryError.
func Read(ctx context.Context, conn *pgx.Conn, fn func(tx pgx.Tx) error) error {
	tx, err := Begin(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err == nil {
		defer End(ctx, tx)
		err = fn(tx)
	}
	return classify(err)
}

// Querier is a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
