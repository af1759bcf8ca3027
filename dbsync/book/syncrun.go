package book

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// syncTable has one row for each sync. A load is only one of its steps.
const syncTable = `
CREATE TABLE kojisnap.sync (id integer PRIMARY KEY, started timestamptz NOT NULL, finished timestamptz NOT NULL,
	exit integer NOT NULL, error text NOT NULL, snapshot text NOT NULL, event integer NOT NULL, run integer NOT NULL,
	version text NOT NULL, who text NOT NULL, report jsonb NOT NULL);
COMMENT ON TABLE kojisnap.sync IS 'the last syncs, verify included';
COMMENT ON COLUMN kojisnap.sync.run IS 'the newest load at its end';
`

// SyncRun is one sync, as the database remembers it. Dry runs leave no trace. Neither do wrong command lines,
// nor syncs that were refused because another kojisnap was at work.
type SyncRun struct {
	ID       int64           `json:"id"`
	Started  time.Time       `json:"started"` // by the database's clock
	Finished time.Time       `json:"finished"`
	Exit     int             `json:"exit"`               // the process's exit code
	Error    string          `json:"error,omitempty"`    // why that is not 0, in one line
	Snapshot string          `json:"snapshot,omitempty"` // empty if none was pulled
	Event    int64           `json:"event,omitempty"`
	Version  string          `json:"version,omitempty"`   // of kojisnap
	Who      string          `json:"who,omitempty"`       // user@host
	Report   json.RawMessage `json:"report,omitempty"`    // of the steps, as the caller has it
	LastLoad int64           `json:"last_load,omitempty"` // the newest load at its end, its own if it came to one
}

// RecordSync stores a sync that began at started, if the database is marked as environment env. It sets the
// run's id, times and Who. It works for a few seconds after ctx has ended, so that an interrupted sync is
// recorded, too.
func RecordSync(ctx context.Context, conn *pgx.Conn, env string, started time.Time, run *SyncRun) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	run.Error, run.Who = cutLine(run.Error), Who()
	return note(ctx, conn, env, func(tx pgx.Tx) error { return run.insert(ctx, tx, started) })
}

// insert stores the sync and deletes old ones, except for the last successful one.
func (r *SyncRun) insert(ctx context.Context, tx pgx.Tx, started time.Time) error {
	report := r.Report
	if report == nil {
		report = json.RawMessage("{}")
	}
	err := tx.QueryRow(ctx, `INSERT INTO kojisnap.sync (id, started, finished, exit, error, snapshot, event, run, version, who, report)
		SELECT (SELECT coalesce(max(id), 0) + 1 FROM kojisnap.sync), now - $1 * interval '1 microsecond', now, $2, $3, $4, $5,
			(SELECT coalesce(max(id), 0) FROM kojisnap.run), $6, $7, $8
		FROM clock_timestamp() now RETURNING id, started, finished, run`,
		time.Since(started).Microseconds(), r.Exit, r.Error, r.Snapshot, r.Event, r.Version, r.Who, string(report)).
		Scan(&r.ID, &r.Started, &r.Finished, &r.LastLoad)
	if err != nil {
		return err
	}
	r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
	// What grows with tags and packages stays for the last sync that verified.
	if _, err := tx.Exec(ctx, `UPDATE kojisnap.sync SET report = report - 'passed' - 'lists'
		WHERE id < $1 AND report ? 'passed' AND (SELECT report ? 'passed' FROM kojisnap.sync WHERE id = $1)`, r.ID); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM kojisnap.sync WHERE id <= $1
		AND id <> coalesce((SELECT max(id) FROM kojisnap.sync WHERE exit = 0), 0)`, r.ID-keepRuns)
	return err
}
