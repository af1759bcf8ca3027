package status

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
)

// statusRuns is how many runs and syncs a status has.
const statusRuns = 10

// readRuns reads the last loads, and the last successful one.
func (s *Status) readRuns(ctx context.Context, tx pgx.Tx) error {
	from := "kojisnap.run"
	if s.Mark.Format < 3 {
		from = "(" + book.RunsOfLoads + ") r"
	}
	columns := "SELECT id, started, finished, snapshot, event, hub, mode, result, error, version, who, report FROM " + from
	rows, err := tx.Query(ctx, columns+" ORDER BY id DESC LIMIT $1", statusRuns)
	if err != nil {
		return err
	}
	if s.Runs, err = pgx.CollectRows(rows, scanRun); err != nil {
		return err
	}
	for i := range s.Runs {
		if s.Runs[i].Result != book.ResultFailed {
			s.LastSuccess = &s.Runs[i]
			return nil
		}
	}
	rows, err = tx.Query(ctx, columns+" WHERE result <> 'failed' ORDER BY id DESC LIMIT 1")
	if err != nil {
		return err
	}
	last, err := pgx.CollectExactlyOneRow(rows, scanRun)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err == nil:
		s.LastSuccess = &last
	}
	return err
}

func scanRun(row pgx.CollectableRow) (r book.Run, err error) {
	var report []byte
	if err = row.Scan(&r.ID, &r.Started, &r.Finished, &r.Snapshot, &r.Event, &r.Hub, &r.Mode, &r.Result, &r.Error, &r.Version, &r.Who, &report); err != nil {
		return r, err
	}
	r.Started, r.Finished = r.Started.UTC(), r.Finished.UTC()
	if report != nil {
		r.Report = new(book.LoadReport)
		err = json.Unmarshal(report, r.Report)
	}
	return r, err
}

// readSyncs reads the last syncs, and the last successful one.
func (s *Status) readSyncs(ctx context.Context, tx pgx.Tx) error {
	s.Syncs = []book.SyncRun{} // for JSON
	if s.Mark.Format < book.SyncFormat {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT id, started, finished, exit, error, snapshot, event, run, version, who, report FROM kojisnap.sync
		WHERE id > (SELECT max(id) FROM kojisnap.sync) - $1 OR id = (SELECT max(id) FROM kojisnap.sync WHERE exit = 0) ORDER BY id DESC`, statusRuns)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r book.SyncRun, err error) {
		var report []byte
		err = row.Scan(&r.ID, &r.Started, &r.Finished, &r.Exit, &r.Error, &r.Snapshot, &r.Event, &r.LastLoad, &r.Version, &r.Who, &report)
		r.Started, r.Finished, r.Report = r.Started.UTC(), r.Finished.UTC(), report
		return r, err
	})
	for i := range all {
		if all[i].Exit == 0 && s.LastGoodSync == nil {
			s.LastGoodSync = &all[i]
		}
		if i < statusRuns {
			s.Syncs = append(s.Syncs, all[i])
		}
	}
	return err
}

// Whole reports whether the database is as the last sync left it: there was one, and no separate load has
// succeeded since.
func (s *Status) Whole() bool {
	return len(s.Syncs) > 0 && (s.LastSuccess == nil || s.LastSuccess.ID <= s.Syncs[0].LastLoad)
}

// readEvents goes through all recorded loads. One that goes back takes the rows of later events back, so those
// do not count any more. Loads of early versions, whose records have no tags, do not count either: at best,
// later loads added what they left out.
func (s *Status) readEvents(ctx context.Context, tx pgx.Tx) error {
	s.Events = []LoadedEvent{} // for JSON
	if s.Mark.Format < 3 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT r.event, e.time, r.snapshot, r.report->'tags', r.finished, coalesce((r.report->>'rollback')::boolean, false)
		FROM kojisnap.run r LEFT JOIN events e ON e.id = r.event WHERE r.result <> 'failed' AND r.report ? 'tags' ORDER BY r.id`)
	if err != nil {
		return err
	}
	var l LoadedEvent
	var at *time.Time
	var tags []byte
	var back bool
	_, err = pgx.ForEachRow(rows, []any{&l.Event, &at, &l.Snapshot, &tags, &l.Loaded, &back}, func() error {
		l.EventTime, l.Tags, l.Loaded = time.Time{}, nil, l.Loaded.UTC()
		if at != nil {
			l.EventTime = at.UTC()
		}
		if err := json.Unmarshal(tags, &l.Tags); err != nil {
			return err
		}
		s.Events = slices.DeleteFunc(s.Events, func(e LoadedEvent) bool {
			return back && e.Event > l.Event || e.Event == l.Event && slices.Equal(e.Tags, l.Tags)
		})
		s.Events = append(s.Events, l)
		return nil
	})
	slices.Reverse(s.Events)
	return err
}
