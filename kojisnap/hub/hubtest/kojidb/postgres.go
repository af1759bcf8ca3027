package kojidb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Database is a PostgreSQL database with Koji's tables. Each request sees what was committed when it began. A
// table is read whole when a call first needs it, and again after it changed, so its rows have to fit into
// memory.
type Database struct {
	pool *pgxpool.Pool

	mu    sync.Mutex
	cache map[string]*cachedTable
}

type cachedTable struct {
	mu       sync.Mutex
	table    *Table
	snapshot string // of the last transaction that saw the table in this state
	print    string // fingerprint of the rows
}

// PostgreSQL connects to a database; it needs no right but SELECT.
func PostgreSQL(ctx context.Context, dsn string) (*Database, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns = max(config.MaxConns, 16)
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["datestyle"] = "ISO"
	config.ConnConfig.RuntimeParams["application_name"] = "hubtest"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &Database{pool: pool, cache: map[string]*cachedTable{}}, nil
}

// Close closes the connections, when the calls that use them are done.
func (d *Database) Close() { d.pool.Close() }

// View implements Source with a read-only REPEATABLE READ transaction.
func (d *Database) View(ctx context.Context) (View, error) {
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	v := &databaseView{ctx: ctx, db: d, tx: tx}
	// Two transactions with the same snapshot see the same rows.
	if err := tx.QueryRow(ctx, "SELECT txid_current_snapshot()::text").Scan(&v.snapshot); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

type databaseView struct {
	ctx      context.Context
	db       *Database
	tx       pgx.Tx
	snapshot string
}

func (v *databaseView) Close() { v.tx.Rollback(context.WithoutCancel(v.ctx)) }

func (v *databaseView) Table(name string) (*Table, error) {
	v.db.mu.Lock()
	c := v.db.cache[name]
	if c == nil {
		c = &cachedTable{}
		v.db.cache[name] = c
	}
	v.db.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && c.snapshot == v.snapshot {
		return c.table, nil
	}
	columns, order, err := v.columns(name)
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", name, err)
	}
	print, err := v.fingerprint(name, columns)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	if c.table == nil || c.print != print {
		table, err := v.load(name, columns, order)
		if err != nil {
			return nil, err
		}
		c.table, c.print = table, print
	}
	c.snapshot = v.snapshot
	return c.table, nil
}

// columns returns a table's columns and those of its primary key; none if there
// is no such table.
func (v *databaseView) columns(name string) (columns, key []string, err error) {
	rows, err := v.tx.Query(v.ctx, `
		SELECT a.attname, coalesce(array_position(i.indkey::int2[], a.attnum), -1)
		FROM pg_attribute a
		LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey)
		WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY a.attnum`, pgx.Identifier{name}.Sanitize())
	if err != nil {
		return nil, nil, err
	}
	places := map[int]string{}
	var column string
	var place int
	_, err = pgx.ForEachRow(rows, []any{&column, &place}, func() error {
		columns = append(columns, column)
		if place >= 0 {
			places[place] = column
		}
		return nil
	})
	for i := 0; i < len(places); i++ { // indkey counts from 0
		key = append(key, places[i])
	}
	return columns, key, err
}

// fingerprint changes whenever a committed transaction has changed a row: an insert or an update leaves rows
// with the transaction's number, which no earlier row had; a transaction that only deletes leaves fewer rows.
func (v *databaseView) fingerprint(name string, columns []string) (string, error) {
	if len(columns) == 0 {
		return "", nil
	}
	var print string
	err := v.tx.QueryRow(v.ctx, fmt.Sprintf(
		"SELECT count(*)::text || ' ' || coalesce(sum(hashint8(xmin::text::bigint)::bigint), 0)::text || ' ' || coalesce(max(xmin::text::bigint), 0)::text FROM %s",
		pgx.Identifier{name}.Sanitize())).Scan(&print)
	return strings.Join(columns, " ") + " " + print, err
}

// load reads a table in the order of its primary key.
func (v *databaseView) load(name string, columns, order []string) (*Table, error) {
	if len(columns) == 0 {
		return newTable(name, nil, nil), nil
	}
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s%s) TO STDOUT", quoted(columns), pgx.Identifier{name}.Sanitize(), orderBy(order))
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := v.tx.Conn().PgConn().CopyTo(v.ctx, w, sql)
		w.CloseWithError(err)
		done <- err
	}()
	table, err := readCopy(name, io.MultiReader(strings.NewReader(strings.Join(columns, "\t")+"\n"), r))
	r.Close()
	if copyErr := <-done; copyErr != nil && !errors.Is(copyErr, io.ErrClosedPipe) {
		return nil, fmt.Errorf("read table %s: %w", name, copyErr)
	}
	return table, err
}

func quoted(columns []string) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(names, ", ")
}

func orderBy(columns []string) string {
	if len(columns) == 0 {
		return ""
	}
	return " ORDER BY " + quoted(columns)
}
