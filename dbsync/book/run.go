package book

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
)

// keepRuns is how many loads and syncs the database remembers: three weeks, with one each half-hour.
const keepRuns = 1000

// Result is what a load came to.
type Result string

// The results.
const (
	ResultChanged   Result = "changed"
	ResultUnchanged Result = "unchanged" // it is done, and there was nothing to do
	ResultFailed    Result = "failed"
)

// Run is one load, as the database remembers it. Dry runs leave no trace. Neither do loads that were refused
// because the database is not the one that was meant, or because another kojisnap was at work on it.
type Run struct {
	ID       int64     `json:"id"`
	Started  time.Time `json:"started"` // by the database's clock
	Finished time.Time `json:"finished"`
	Snapshot string    `json:"snapshot"`
	Event    int64     `json:"event"`
	Hub      string    `json:"hub,omitempty"`  // production's
	Mode     string    `json:"mode,omitempty"` // as in LoadReport; empty if it failed before that was clear
	Result   Result    `json:"result"`
	Error    string    `json:"error,omitempty"`   // why it failed, in one line
	Version  string    `json:"version,omitempty"` // of kojisnap
	Who      string    `json:"who,omitempty"`     // user@host
	// Report is the load's, its lists cut to a few entries; nil if it failed.
	Report *LoadReport `json:"report,omitempty"`
}

// Fail records a failed load, if the database can be written and is marked as environment env, or env is
// empty. If it cannot, that is only logged. It does nothing if cause is ErrNotStaging or lockfile.ErrLocked.
func (r *Run) Fail(ctx context.Context, conn *pgx.Conn, env string, log *slog.Logger, started time.Time, cause error) {
	if errors.Is(cause, ErrNotStaging) || errors.Is(cause, lockfile.ErrLocked) {
		return
	}
	r.Result, r.Error = ResultFailed, errorLine(cause)
	// It may have been cancelled.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := r.insertFailure(ctx, conn, env, started); err != nil && log != nil {
		log.InfoContext(ctx, "the database does not remember that this load failed", "err", err)
	}
}

func (r *Run) insertFailure(ctx context.Context, conn *pgx.Conn, env string, started time.Time) error {
	return note(ctx, conn, env, func(tx pgx.Tx) error { return r.Insert(ctx, tx, started) })
}

// note writes into the schema kojisnap of a database that is marked, as env if that is not empty. If the
// connection was lost, it connects again.
func note(ctx context.Context, conn *pgx.Conn, env string, write func(pgx.Tx) error) error {
	if conn.IsClosed() {
		again, err := pgx.ConnectConfig(ctx, conn.Config())
		if err != nil {
			return err
		}
		defer again.Close(context.WithoutCancel(ctx))
		conn = again
	}
	for {
		err := dbconn.Transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx, _ bool) (bool, error) {
			mark, err := ReadAnyMark(ctx, tx)
			if err == nil {
				err = mark.CheckEnv(env)
			}
			if err != nil {
				return false, err
			}
			if err := Upgrade(ctx, tx, mark); err != nil {
				return false, err
			}
			return true, write(tx)
		})
		if !errors.Is(err, lockfile.ErrLocked) {
			return err
		}
		// A connection that was cut off lets go of its lock once the server has noticed.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// NewRun makes the record of a load. version is kojisnap's.
func NewRun(snap *snapfile.Snapshot, version string) *Run {
	return &Run{Snapshot: snap.ID, Event: snap.Manifest.Event, Hub: snap.Manifest.Hub, Version: version, Who: Who()}
}

// Insert stores the run, sets its id and times, and deletes old runs. The last successful run stays, however
// old it is.
func (r *Run) Insert(ctx context.Context, tx pgx.Tx, started time.Time) error {
	var report *string
	if r.Report != nil {
		body, err := json.Marshal(r.Report)
		if err != nil {
			return err
		}
		text := secret.Hide(string(body))
		report = &text
	}
	err := tx.QueryRow(ctx, `INSERT INTO kojisnap.run (id, started, finished, snapshot, event, hub, mode, result, error, version, who, report)
		SELECT (SELECT coalesce(max(id), 0) + 1 FROM kojisnap.run), now - $1 * interval '1 microsecond', now, $2, $3, $4, $5, $6, $7, $8, $9, $10
		FROM clock_timestamp() now RETURNING id, started, finished`,
		time.Since(started).Microseconds(), r.Snapshot, r.Event, r.Hub, r.Mode, r.Result, r.Error, r.Version, r.Who, report).
		Scan(&r.ID, &r.Started, &r.Finished)
	if err != nil {
		return err
	}
	r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
	_, err = tx.Exec(ctx, `DELETE FROM kojisnap.run WHERE id <= $1
		AND id <> coalesce((SELECT max(id) FROM kojisnap.run WHERE result <> 'failed'), 0)`, r.ID-keepRuns)
	return err
}

// errorLine is an error in one line, without secrets.
func errorLine(err error) string { return cutLine(secret.Hide(err.Error())) }

// cutLine makes a text one line of limited length.
func cutLine(s string) string {
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if runes := []rune(line); len(runes) > 1000 {
		return string(runes[:1000]) + "…"
	}
	return line
}

// Who returns user@host of this process.
func Who() string {
	name, host := "", ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// runFormat is the first format with the table of loads that tells the hub.
const runFormat = 3

// HeldHub returns the hub's URL of the last successful load; empty if none is on record.
func HeldHub(ctx context.Context, tx pgx.Tx, mark *Mark) (hub string, err error) {
	if mark.Format < runFormat {
		return "", nil
	}
	err = tx.QueryRow(ctx, "SELECT hub FROM kojisnap.run WHERE result <> 'failed' AND hub <> '' ORDER BY id DESC LIMIT 1").Scan(&hub)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return hub, err
}
