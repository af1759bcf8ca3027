package status

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
)

// ReadSyncs returns the last syncs that the database remembers, the latest first, limit at most. Their reports
// come without what verify found, except for the last sync that verified: its report is whole, and checked is its
// index, -1 if there is none.
func ReadSyncs(ctx context.Context, conn *pgx.Conn, limit int) (syncs []book.SyncRun, checked int, err error) {
	checked = -1
	err = dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		syncs, checked = nil, -1
		mark, err := book.ReadAnyMark(ctx, tx)
		if err != nil || mark.Format < book.SyncFormat {
			return err
		}
		// The record of an earlier kojisnap has no passed, but the counts of the step.
		rows, err := tx.Query(ctx, `WITH last AS (SELECT * FROM kojisnap.sync ORDER BY id DESC LIMIT $1),
				checked AS (SELECT max(id) AS id FROM last WHERE report ? 'passed' OR EXISTS (
					SELECT FROM jsonb_array_elements(CASE jsonb_typeof(report -> 'steps') WHEN 'array' THEN report -> 'steps' ELSE '[]' END) s
					WHERE s ->> 'name' = 'verify' AND s ? 'counts'))
			SELECT s.id, started, finished, exit, error, snapshot, event, run, version, who, s.id = c.id,
				CASE WHEN s.id = c.id THEN report ELSE report - 'checks' - 'passed' - 'lists' END
			FROM last s CROSS JOIN checked c ORDER BY s.id DESC`, limit)
		if err != nil {
			return err
		}
		var r book.SyncRun
		var whole *bool
		var report []byte
		_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Started, &r.Finished, &r.Exit, &r.Error, &r.Snapshot, &r.Event, &r.LastLoad, &r.Version, &r.Who, &whole, &report}, func() error {
			r.Started, r.Finished, r.Report = r.Started.UTC(), r.Finished.UTC(), append([]byte(nil), report...)
			if whole != nil && *whole {
				checked = len(syncs)
			}
			syncs = append(syncs, r)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, -1, fmt.Errorf("syncs: %w", err)
	}
	return syncs, checked, nil
}
