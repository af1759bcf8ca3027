package book

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/lockfile"
)

// importTables are for full imports (package fullimport). They have rows only while one is under way or was
// broken off: the tables of Koji then lack rows, indexes and foreign keys.
const importTables = `
CREATE TABLE kojisnap.import (one boolean PRIMARY KEY DEFAULT true CHECK (one), snapshot text NOT NULL, event integer NOT NULL,
	started timestamptz NOT NULL DEFAULT clock_timestamp(), who text NOT NULL, session text NOT NULL, dropped boolean NOT NULL DEFAULT false, counts jsonb NOT NULL);
COMMENT ON TABLE kojisnap.import IS 'the full import that is under way; session is the one that works on it';
CREATE TABLE kojisnap.import_table (relation text PRIMARY KEY, rows bigint NOT NULL, kept boolean NOT NULL);
COMMENT ON TABLE kojisnap.import_table IS 'tables that it has copied; kept: what kojisnap keeps of their rows is there, too';
CREATE TABLE kojisnap.import_object (id integer PRIMARY KEY, kind text NOT NULL, tab text NOT NULL, name text NOT NULL, definition text NOT NULL,
	validated boolean NOT NULL, comment text, index_comment text, done boolean NOT NULL DEFAULT false);
COMMENT ON TABLE kojisnap.import_object IS 'indexes and constraints that it drops and makes again';
`

// ImportFormat is the first format with these tables.
const ImportFormat = 9

// Importing is a full import that has not ended.
type Importing struct {
	Snapshot string    `json:"snapshot"`
	Event    int64     `json:"event"`
	Started  time.Time `json:"started"` // by the database's clock
	Who      string    `json:"who"`     // user@host that began it
	// Tables and Objects are how many tables it has copied, and how many indexes and constraints are there again, of
	// those that it dropped.
	Tables  int64 `json:"tables"`
	Objects int64 `json:"objects"`
	Of      int64 `json:"objects_in_all"`
}

// ImportingError says that a database cannot be used, as a full import fills it or was broken off. It is a kind of
// lockfile.ErrLocked.
type ImportingError struct {
	Database  string
	Importing Importing
}

func (e *ImportingError) Error() string {
	return fmt.Sprintf("database %q is not whole: a full import of snapshot %s fills it, since %s by %s; if that was broken off, go on with kojisnap load --snapshot %[2]s",
		e.Database, e.Importing.Snapshot, e.Importing.Started.Format(time.RFC3339), e.Importing.Who)
}

// Is implements errors.Is.
func (e *ImportingError) Is(target error) bool { return target == lockfile.ErrLocked }

// ReadImporting returns the full import that the database is in, nil if it is in none.
func ReadImporting(ctx context.Context, q dbconn.Querier, mark *Mark) (*Importing, error) {
	if mark.Format < ImportFormat {
		return nil, nil
	}
	var i Importing
	err := q.QueryRow(ctx, `SELECT snapshot, event, started, who, (SELECT count(*) FROM kojisnap.import_table), (SELECT count(*) FROM kojisnap.import_object WHERE done),
		(SELECT count(*) FROM kojisnap.import_object) FROM kojisnap.import`).Scan(&i.Snapshot, &i.Event, &i.Started, &i.Who, &i.Tables, &i.Objects, &i.Of)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	i.Started = i.Started.UTC()
	return &i, err
}

// CheckWhole returns *ImportingError while a full import fills the database.
func CheckWhole(ctx context.Context, q dbconn.Querier) error {
	here, err := Identity(ctx, q)
	if err != nil {
		return err
	}
	m, err := FoundMark(ctx, q, here)
	if err != nil {
		return err
	}
	i, err := ReadImporting(ctx, q, m)
	if err == nil && i != nil {
		return &ImportingError{Database: here.Database, Importing: *i}
	}
	return err
}
