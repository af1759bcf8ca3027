// Package status reads what a staging database holds: the loaded events and tags, past runs, and where
// staging's own changes stand against production. It writes nothing.
package status

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
)

// Status is what a staging database holds, and how it got there.
type Status struct {
	Mark book.Mark `json:"mark"`
	// Importing is the full import that fills the database; all else is then what was before it.
	Importing *book.Importing `json:"importing,omitempty"`
	Now       time.Time       `json:"now"` // by the database's clock, as all times of runs
	// Event is the event to pin calls at: the lowest that one of the tags of the newest scope holds, 0
	// before the first load. EventTime is production's.
	Event     int64     `json:"event"`
	EventTime time.Time `json:"event_time,omitzero"`
	// History is the event from which on all calls that are pinned answer as production does, up to
	// Event, for the tags of the newest scope: the highest of theirs. 0 before the first load.
	History int64       `json:"history"`
	Tags    []TagStatus `json:"tags"`
	// Events are those that were loaded, the latest load first: calls pinned at them answer as
	// production did, for the tags of the load and what those inherit. So they do at events from History on.
	Events []LoadedEvent `json:"events"`
	// Runs are the last ten loads, the latest first. LastSuccess is the last that was no
	// failure, nil before the first.
	Runs        []book.Run `json:"runs"`
	LastSuccess *book.Run  `json:"last_success"`

	// Syncs are the last ten syncs, the latest first; none if only single steps were run.
	// LastGoodSync is the last with exit code 0.
	Syncs        []book.SyncRun `json:"syncs"`
	LastGoodSync *book.SyncRun  `json:"last_good_sync"`

	Conflicts []book.Entry `json:"conflicts"` // production's rows whose place staging has
	LeftOut   []book.Entry `json:"left_out"`  // what refers to those, and what the schema cannot hold
	Kept      []book.Entry `json:"kept"`      // rows where staging's decision stays
	Hidden    []Hidden     `json:"hidden"`
	// Decisions are where staging's own changes overrule production's rows, as of now.
	Decisions []Decision `json:"decisions"`
}

// TagStatus says what a tag holds. One that is not in the scope of the last load is not kept up any
// longer: it stays as it is.
type TagStatus struct {
	ID        int64     `json:"id"` // production's
	Name      string    `json:"name"`
	Event     int64     `json:"event"`
	EventTime time.Time `json:"event_time,omitzero"`
	Snapshot  string    `json:"snapshot"`
	// History is the event from which on, up to Event, calls about the tag and what it inherits answer as
	// production's do, at each event.
	History    int64 `json:"history"`
	OutOfScope bool  `json:"out_of_scope,omitempty"`
}

// LoadedEvent is an event of production that was loaded, and that no load went back behind since.
type LoadedEvent struct {
	Event     int64     `json:"event"`
	EventTime time.Time `json:"event_time,omitzero"`
	Snapshot  string    `json:"snapshot"`
	Tags      []string  `json:"tags"`   // that the snapshot was asked for
	Loaded    time.Time `json:"loaded"` // the last time
}

// Age returns how long ago all was well: the last sync with exit code 0 ended or, where loads run by
// themselves, the last successful load. Before the first it is how long ago the database was marked.
func (s *Status) Age() time.Duration {
	last := s.Mark.MarkedAt
	switch {
	case s.Whole() && s.LastGoodSync != nil:
		last = s.LastGoodSync.Finished
	case !s.Whole() && s.LastSuccess != nil:
		last = s.LastSuccess.Finished
	}
	return max(0, s.Now.Sub(last))
}

// CheckWhole returns *book.ImportingError if a full import fills the database.
func (s *Status) CheckWhole() error {
	if s.Importing == nil {
		return nil
	}
	return &book.ImportingError{Database: s.Mark.Database, Importing: *s.Importing}
}

// Read returns what the database holds, at one point in time, and writes nothing. A database that is not
// marked is book.ErrNotStaging, a lost one a *retry.TemporaryError.
func Read(ctx context.Context, conn *pgx.Conn) (*Status, error) {
	var s *Status
	err := dbconn.Read(ctx, conn, func(tx pgx.Tx) (err error) {
		s, err = readStatus(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	return s, nil
}

func readStatus(ctx context.Context, tx pgx.Tx) (*Status, error) {
	mark, err := book.ReadAnyMark(ctx, tx)
	if err != nil {
		return nil, err
	}
	s := &Status{Mark: *mark}
	if s.Importing, err = book.ReadImporting(ctx, tx, mark); err != nil {
		return nil, err
	}
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&s.Now); err != nil {
		return nil, err
	}
	s.Now = s.Now.UTC()
	for _, read := range []func(context.Context, pgx.Tx) error{s.readRuns, s.readSyncs, s.readEvents, s.readTags, s.readHistory, s.readHidden} {
		if err := read(ctx, tx); err != nil {
			return nil, err
		}
	}
	if s.Decisions, err = readDecisions(ctx, tx, mark); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		into *[]book.Entry
		from string
	}{
		{&s.Conflicts, newestEntries("kojisnap.left_out WHERE conflict")},
		{&s.LeftOut, newestEntries("kojisnap.left_out WHERE NOT conflict")},
		{&s.Kept, newestEntries("kojisnap.kept")},
	} {
		if *l.into, err = book.ReadEntries(ctx, tx, l.from, math.MaxInt32); err != nil {
			return nil, err
		}
		if *l.into == nil {
			*l.into = []book.Entry{} // for JSON
		}
	}
	return s, nil
}

// newestEntries is the FROM of entries, each once. Loads of different scopes may have noted the same row; the
// last one counts.
func newestEntries(from string) string {
	return "(SELECT DISTINCT ON (relation, key) * FROM " + from + " ORDER BY relation, key, load_id DESC) e"
}

// readTags reads the tags, after the runs. The newest scope is that of the last successful load. A load that
// had nothing to do has no row in kojisnap.load, so the row of its snapshot counts.
func (s *Status) readTags(ctx context.Context, tx pgx.Tx) error {
	var newest *string
	if s.LastSuccess != nil {
		newest = &s.LastSuccess.Snapshot
	}
	rows, err := tx.Query(ctx, `SELECT t.tag_id, t.name, t.event, e.time, t.snapshot, NOT coalesce(t.tag_id = ANY (
			SELECT unnest(tags) FROM kojisnap.load WHERE id = (SELECT id FROM kojisnap.load ORDER BY coalesce(snapshot = $1, false) DESC, id DESC LIMIT 1)), false)
		FROM kojisnap.tag t LEFT JOIN events e ON e.id = t.event ORDER BY t.name, t.tag_id`, newest)
	if err != nil {
		return err
	}
	s.Tags, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t TagStatus, err error) {
		var at *time.Time
		err = row.Scan(&t.ID, &t.Name, &t.Event, &at, &t.Snapshot, &t.OutOfScope)
		if at != nil {
			t.EventTime = at.UTC()
		}
		return t, err
	})
	for _, t := range s.Tags {
		if !t.OutOfScope && (s.Event == 0 || t.Event < s.Event) {
			s.Event, s.EventTime = t.Event, t.EventTime
		}
	}
	return err
}
