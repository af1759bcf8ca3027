// Package postgres reads a Koji database from a PostgreSQL server, production's primary or a standby of it, as a
// dbsource.Source. It only reads: sessions in one read-only transaction each, which share one snapshot, run COPY of
// named columns. It takes no temporary tables, as a standby has none.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/snapfile"
)

// Options say how a database is read.
type Options struct {
	DSN  string // as libpq's programs take it
	Jobs int    // sessions at once; 0: 2
	// LockTimeout is how long a session waits for a lock; 0: 10 s. Only those who change a table's definition hold one
	// that keeps readers out.
	LockTimeout time.Duration
	Log         *slog.Logger
}

// DefaultJobs is how many sessions read at once.
const DefaultJobs = 2

// Source is a database as of the moment when it was opened. It holds back vacuum there until it is closed.
type Source struct {
	name     string
	sessions chan *session
	all      []*session
	desc     *dbsource.Description
	schema   string
	standby  bool
}

type session struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

// MarkedError says that a database bears kojisnap's mark: it is a staging, and no production.
type MarkedError struct{ Database string }

func (e *MarkedError) Error() string {
	return fmt.Sprintf("database %q is marked as staging by kojisnap: production's database is to be read (--from-db)", e.Database)
}

// Open connects to a database and takes the snapshot that all scans see. If the server is not there, or ends the
// connection, the error is a *retry.TemporaryError; a bad DSN is a *dbconn.DSNError, a staging database a *MarkedError,
// and missing privileges are a *PrivilegeError.
func Open(ctx context.Context, o Options) (*Source, error) {
	if o.Jobs < 1 {
		o.Jobs = DefaultJobs
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{sessions: make(chan *session, o.Jobs)}
	if err := s.open(ctx, o); err != nil {
		s.Close()
		return nil, s.explain(err)
	}
	return s, nil
}

func (s *Source) open(ctx context.Context, o Options) error {
	first, err := s.begin(ctx, o, "")
	if err != nil {
		return err
	}
	if err := first.tx.QueryRow(ctx, `SELECT pg_catalog.pg_is_in_recovery()`).Scan(&s.standby); err != nil {
		return err
	}
	if err := s.describe(ctx, first.tx); err != nil {
		return err
	}
	s.desc.Jobs = o.Jobs
	if o.Jobs > 1 {
		var exported string
		if err := first.tx.QueryRow(ctx, `SELECT pg_catalog.pg_export_snapshot()`).Scan(&exported); err != nil {
			return err
		}
		for range o.Jobs - 1 {
			if _, err := s.begin(ctx, o, exported); err != nil {
				return err
			}
		}
	}
	for _, one := range s.all {
		s.sessions <- one
	}
	o.Log.InfoContext(ctx, "reading production's database", "database", s.name, "standby", s.standby, "sessions", o.Jobs)
	return nil
}

// begin opens a session.
func (s *Source) begin(ctx context.Context, o Options, snapshot string) (*session, error) {
	conn, err := dbconn.Connect(ctx, o.DSN)
	if err != nil {
		return nil, err
	}
	s.name = conn.Config().Database
	one := &session{conn: conn}
	s.all = append(s.all, one)
	if one.tx, err = dbconn.BeginAt(ctx, conn, snapshot); err != nil {
		return nil, err
	}
	_, err = one.tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", o.LockTimeout.Milliseconds()))
	return one, err
}

// Describe implements dbsource.Source.
func (s *Source) Describe(context.Context) (*dbsource.Description, error) { return s.desc, nil }

// Close implements dbsource.Source.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, one := range s.all {
		if one.tx != nil {
			dbconn.End(ctx, one.tx)
		}
		one.conn.Close(ctx)
	}
	s.all = nil
	return nil
}

// Clock implements dbsource.Clock: when the transaction began or, on a standby, when the last transaction committed that
// it has replayed. That standby lags; its own clock would say that what is not there yet never happened.
func (s *Source) Clock(ctx context.Context) (now time.Time, err error) {
	err = s.with(ctx, func(one *session) error {
		var at *time.Time
		err := one.tx.QueryRow(ctx, `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xact_replay_timestamp() ELSE now() END`).Scan(&at)
		if at != nil {
			now = *at
		}
		return err
	})
	return now, err
}

// LastEvent implements dbsource.LastEvents, by the primary key.
func (s *Source) LastEvent(ctx context.Context, before time.Time) (id int64, at time.Time, err error) {
	condition, args := "", []any{}
	if !before.IsZero() {
		condition, args = "WHERE time < $1", append(args, before)
	}
	err = s.with(ctx, func(one *session) error {
		var epoch int64
		err := one.tx.QueryRow(ctx, fmt.Sprintf(`SELECT id, (extract(epoch FROM time) * 1000000)::bigint FROM %s.events %s ORDER BY id DESC LIMIT 1`, pgx.Identifier{s.schema}.Sanitize(), condition), args...).Scan(&id, &epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		at = time.UnixMicro(epoch).UTC()
		return err
	})
	return id, at, err
}

// Highest implements dbsource.Highest, by an index.
func (s *Source) Highest(ctx context.Context, table, column string) (id int64, err error) {
	err = s.with(ctx, func(one *session) error {
		sql := fmt.Sprintf(`SELECT coalesce(max(%s), 0)::bigint FROM %s`, pgx.Identifier{column}.Sanitize(), pgx.Identifier{s.schema, table}.Sanitize())
		return one.tx.QueryRow(ctx, sql).Scan(&id)
	})
	return id, wrap(table, err)
}

// with runs fn with a session that no other scan uses.
func (s *Source) with(ctx context.Context, fn func(*session) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case one := <-s.sessions:
		defer func() { s.sessions <- one }()
		return s.explain(fn(one))
	}
}

// explain says what an error of the server means for who reads, and which of them pass.
func (s *Source) explain(err error) error {
	code := dbconn.SQLState(err)
	switch {
	case err == nil:
		return nil
	case code == "40001", code == "40P01" && strings.Contains(err.Error(), "recovery"), code == "57P04":
		return &retry.TemporaryError{Err: fmt.Errorf("database %q: %w: %s", s.name, err, conflict)}
	case code == "55P03":
		return &retry.TemporaryError{Err: fmt.Errorf("database %q: a table is locked, by an upgrade of Koji or a maintenance command: %w; pull again after it", s.name, err)}
	case code == "42501":
		return fmt.Errorf("database %q: %w: scripts/grants-source.sql has what the role needs", s.name, err)
	case code == "72000":
		return &retry.TemporaryError{Err: fmt.Errorf("database %q: %w: the server gave up old rows (old_snapshot_threshold); pull again", s.name, err)}
	}
	err = dbconn.Classify(err)
	if lost := (*retry.TemporaryError)(nil); errors.As(err, &lost) && s.standby {
		return &retry.TemporaryError{Err: fmt.Errorf("database %q: the standby ended the connection: %w: it was restarted, or %s", s.name, lost.Err, conflict)}
	}
	return err
}

// conflict says what a recovery conflict is, and what to do.
const conflict = "the changes of its primary removed what the pull still had to read; pull again, or set hot_standby_feedback = on, or a longer max_standby_streaming_delay, on the standby"

// kind is what manifests call such a source.
const kind = snapfile.SourceDatabase
