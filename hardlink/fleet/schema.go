package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"kojisnap/dbsync/dbconn"
)

// schema is where River's tables and ours are.
const schema = "kojisnap_queue"

// format is the version of our tables. Workers of other versions refuse the queue; the command that plans
// migrates it.
const format = 1

// ddl makes our tables. fleet_plan has one row for each topdir. The rows of fleet_shard are those of its plan.
// The rows of fleet_made say who made how much when: the rate. fleet_source has what all workers know of a
// source: with failures in a row, it is closed until open_at.
const ddl = `
CREATE TABLE IF NOT EXISTS kojisnap_queue.fleet_format (
	version int NOT NULL);
CREATE TABLE IF NOT EXISTS kojisnap_queue.fleet_plan (
	topdir text PRIMARY KEY,
	env text NOT NULL,
	snapshot text NOT NULL,
	sources text[] NOT NULL,
	planned timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS kojisnap_queue.fleet_shard (
	topdir text NOT NULL REFERENCES kojisnap_queue.fleet_plan,
	shard text NOT NULL,
	digest text NOT NULL,
	files bigint NOT NULL,
	bytes bigint NOT NULL,
	mode text NOT NULL DEFAULT '',
	state text NOT NULL DEFAULT 'left' CHECK (state IN ('left', 'done', 'failed')),
	made_files bigint NOT NULL DEFAULT 0,
	made_bytes bigint NOT NULL DEFAULT 0,
	failures int NOT NULL DEFAULT 0,
	lost int NOT NULL DEFAULT 0,
	error text,
	worker text,
	changed timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (topdir, shard));
CREATE TABLE IF NOT EXISTS kojisnap_queue.fleet_made (
	topdir text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	worker text NOT NULL,
	shard text NOT NULL,
	files bigint NOT NULL,
	bytes bigint NOT NULL);
CREATE INDEX IF NOT EXISTS fleet_made_at ON kojisnap_queue.fleet_made (topdir, at);
CREATE TABLE IF NOT EXISTS kojisnap_queue.fleet_source (
	topdir text NOT NULL REFERENCES kojisnap_queue.fleet_plan,
	source text NOT NULL,
	slots int NOT NULL,
	bytes bigint NOT NULL DEFAULT 0,
	requests double precision NOT NULL DEFAULT 0,
	failures int NOT NULL DEFAULT 0,
	open_at timestamptz,
	error text,
	PRIMARY KEY (topdir, source));
`

// VersionError says that the tables of a queue are those of another version of kojisnap.
type VersionError struct{ Have, Want int }

func (e *VersionError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("the queue was made by a newer kojisnap (format %d, this one knows %d): update this one", e.Have, e.Want)
	}
	return fmt.Sprintf("the queue was made by an earlier kojisnap (format %d, this one has %d): run copy --builds all --queue with this one, after the workers of the earlier one have ended", e.Have, e.Want)
}

// ErrNoQueue says that a database has no queue of kojisnap.
var ErrNoQueue = errors.New("the database has no queue of kojisnap: copy --builds all --queue makes one")

// versions returns the formats of our tables and of River's: what the database has, and what this program has. The
// database's are 0 if there is none.
func versions(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) (ours, rivers, riversWant int, err error) {
	m, err := migrator(pool, log)
	if err != nil {
		return 0, 0, 0, err
	}
	all := m.AllVersions()
	riversWant = all[len(all)-1].Version
	var there bool
	err = pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", schema+".fleet_format").Scan(&there)
	if err != nil || !there {
		return 0, 0, riversWant, dbconn.Classify(err)
	}
	if err = pool.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM kojisnap_queue.fleet_format").Scan(&ours); err == nil {
		err = pool.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM kojisnap_queue.river_migration WHERE line = 'main'").Scan(&rivers)
	}
	return ours, rivers, riversWant, dbconn.Classify(err)
}

func migrator(pool *pgxpool.Pool, log *slog.Logger) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema, Logger: demote(log)})
}

// migrate makes the tables, or those that they lack. It never changes a newer queue.
func (q *Queue) migrate(ctx context.Context) error {
	ours, rivers, riversWant, err := versions(ctx, q.pool, q.log)
	if err != nil {
		return err
	}
	if ours > format {
		return &VersionError{ours, format}
	}
	if rivers > riversWant {
		return &VersionError{rivers, riversWant}
	}
	if ours == format && rivers == riversWant {
		return nil
	}
	if _, err := q.pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
		return refused(err)
	}
	m, err := migrator(q.pool, q.log)
	if err != nil {
		return err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return refused(err)
	}
	return pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, ddl); err != nil {
			return refused(err)
		}
		// Last, so that a queue with a version is whole.
		_, err := tx.Exec(ctx, "DELETE FROM kojisnap_queue.fleet_format")
		if err == nil {
			_, err = tx.Exec(ctx, "INSERT INTO kojisnap_queue.fleet_format VALUES ($1)", format)
		}
		return refused(err)
	})
}

// refused adds to an error of rights what the role needs.
func refused(err error) error {
	if dbconn.SQLState(err) == "42501" {
		return fmt.Errorf("%w: the role must own the database of the queue, or its schema %s (CREATE SCHEMA %s AUTHORIZATION …)", err, schema, schema)
	}
	return dbconn.Classify(err)
}
