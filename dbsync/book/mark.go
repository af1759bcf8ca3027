// Package book is kojisnap's bookkeeping in the staging database, the schema kojisnap: its tables and
// migrations, the mark that says that a database is staging, and the records of loads and syncs.
package book

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/snapfile"
)

// ErrNotStaging says that a database is not marked as staging, or that its mark is another database's (a
// restored copy).
var ErrNotStaging = errors.New("not a staging database")

// DefaultFloor is where staging's ids begin unless init is told otherwise.
const DefaultFloor = 990_000_000

// User is the user that init makes in every staging database, blocked. It revokes and touches what no user of
// production's did. Production has no user of that name.
const User = "kojisnap"

// Mark says that a database is staging, and which database that was said of.
type Mark struct {
	Environment string    `json:"environment"`
	Database    string    `json:"database"`
	OID         uint32    `json:"oid"`
	System      string    `json:"system_identifier"` // of the server, pg_control_system()
	Floor       int64     `json:"floor"`             // staging's ids begin here
	Adopted     bool      `json:"adopted,omitempty"`
	MarkedAt    time.Time `json:"marked_at"`

	User   int64 `json:"-"` // id of the user kojisnap
	Format int   `json:"-"` // of the tables in the schema kojisnap
}

// Identity returns the database that a connection leads to, as a mark has it.
func Identity(ctx context.Context, q dbconn.Querier) (m Mark, err error) {
	err = q.QueryRow(ctx, `SELECT datname, oid, (SELECT system_identifier FROM pg_control_system())::text
		FROM pg_database WHERE datname = current_database()`).Scan(&m.Database, &m.OID, &m.System)
	return m, err
}

// ReadMark returns the mark of a database that can be used. It returns ErrNotStaging with the reason if there is no
// mark, or another database's; and *ImportingError while a full import fills the database.
func ReadMark(ctx context.Context, q dbconn.Querier) (*Mark, error) {
	m, err := ReadAnyMark(ctx, q)
	if err != nil {
		return nil, err
	}
	importing, err := ReadImporting(ctx, q, m)
	if err == nil && importing != nil {
		err = &ImportingError{Database: m.Database, Importing: *importing}
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// ReadAnyMark is ReadMark for those that can do with a database that a full import fills.
func ReadAnyMark(ctx context.Context, q dbconn.Querier) (*Mark, error) {
	here, err := Identity(ctx, q)
	if err != nil {
		return nil, err
	}
	m, err := FoundMark(ctx, q, here)
	switch {
	case err != nil:
		return nil, err
	case m.Database != here.Database || m.OID != here.OID || m.System != here.System:
		return nil, fmt.Errorf("database %q (oid %d) of server %s carries the mark of database %q (oid %d) of server %s, so it is a copy, or was moved: "+
			"for a move (pg_upgrade, dump and restore, another name) there is init --moved, which keeps all that is on record; for a copy that is to be another staging, init --adopt: %w",
			here.Database, here.OID, here.System, m.Database, m.OID, m.System, ErrNotStaging)
	}
	return m, nil
}

// FoundMark returns the mark that is in the database, even if it is another database's. here is the result of
// Identity.
func FoundMark(ctx context.Context, q dbconn.Querier, here Mark) (*Mark, error) {
	var there bool
	if err := q.QueryRow(ctx, `SELECT to_regclass('kojisnap.mark') IS NOT NULL`).Scan(&there); err != nil {
		return nil, err
	}
	unmarked := fmt.Errorf("database %q is not marked as staging (kojisnap init does that): %w", here.Database, ErrNotStaging)
	if !there {
		return nil, unmarked
	}
	var m Mark
	err := q.QueryRow(ctx, `SELECT format, environment, database, oid, system_identifier, floor, adopted, user_id, marked_at
		FROM kojisnap.mark`).Scan(&m.Format, &m.Environment, &m.Database, &m.OID, &m.System,
		&m.Floor, &m.Adopted, &m.User, &m.MarkedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, unmarked
	case err != nil:
		return nil, err
	case m.Format > Format:
		return nil, fmt.Errorf("database %q was marked by a newer kojisnap (format %d): update kojisnap", here.Database, m.Format)
	}
	m.MarkedAt = m.MarkedAt.UTC()
	return &m, nil
}

// CheckEnv returns ErrNotStaging if env is not empty and the mark has another environment.
func (m *Mark) CheckEnv(env string) error {
	if env == "" || env == m.Environment {
		return nil
	}
	return fmt.Errorf("database %q is marked as environment %q, not %q (give --env %s, or another database): %w", m.Database, m.Environment, env, m.Environment, ErrNotStaging)
}

// TagIDs returns production's ids of the tags in a snapshot's scope, as kojisnap.tag has them.
func TagIDs(man *snapfile.Manifest) []int32 {
	ids := make([]int32, len(man.Scope.All))
	for i, t := range man.Scope.All {
		ids[i] = int32(t.ID)
	}
	return ids
}
