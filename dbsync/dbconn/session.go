package dbconn

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// settings are the first statements of every transaction here, and reads outside of one do not happen:
// what a role, a database or a DSN sets changes what a session reads and writes, and behind a pooler
// each transaction may have another session of PostgreSQL's.
//
// Those about text forms make the hashes of rows the same everywhere, and hand over bytes as UTF-8,
// whatever PostgreSQL stores. Koji's schema is searched first, as a role may have a schema of its own
// name before it: that of the role "kojisnap" is our books, which have a table "tag" too.
//
// PostgreSQL looks for a deadlock when someone has waited for deadlock_timeout, and ends the one
// that looks. That must not be the hub, so we never wait that long; and as the hub may wait for us
// already when we begin to wait for it, we wait for no more than a twentieth of it. Little is lost:
// at REPEATABLE READ a row that the hub changed meanwhile makes us begin again anyway.
//
// A load of what changed finds few rows in large tables, most of which are cached: with the default
// random_page_cost PostgreSQL reads those tables whole, in several times the time.
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

// Begin starts a transaction with our settings.
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

// End undoes a transaction that wrote nothing.
func End(ctx context.Context, tx pgx.Tx) { _ = tx.Rollback(context.WithoutCancel(ctx)) }

// Read runs fn in a transaction that sees one state of the database and cannot change it. Its errors are
// classified.
func Read(ctx context.Context, conn *pgx.Conn, fn func(tx pgx.Tx) error) error {
	tx, err := Begin(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err == nil {
		defer End(ctx, tx)
		err = fn(tx)
	}
	return classify(err)
}

// Querier is what pgx connections and transactions have in common here.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
