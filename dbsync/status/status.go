// Package status reads what a staging database holds: the loaded events and tags, past runs, and where
// staging's own changes stand against production. It writes nothing.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
)

// Status is what a staging database holds, and how it came to it.
type Status struct {
	Mark book.Mark `json:"mark"`
	Now  time.Time `json:"now"` // by the database's clock, as all times of runs
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

	Conflicts []book.Entry `json:"conflicts"` // production's rows whose place staging holds
	LeftOut   []book.Entry `json:"left_out"`  // what hangs on those, and what the schema cannot hold
	Kept      []book.Entry `json:"kept"`      // rows where staging's decision stood against production's
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

// Hidden is a package of which production tagged a build after staging tagged one, in the same
// tag. On one hub the later one would be the latest. Here it is staging's, for good, because
// the numbers of its events are above production's.
type Hidden struct {
	Tag        string    `json:"tag"`
	Package    string    `json:"package"`
	Staging    string    `json:"staging"` // the build that staging tagged
	Since      time.Time `json:"since"`
	Production string    `json:"production"` // the build that it hides
	Tagged     time.Time `json:"tagged"`
}

// Age is how long ago all was well the last time: a whole sync ended with exit code 0, or, where loads
// are run by themselves, a load that was no failure. Before the first it is how long ago the database
// was marked.
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

// Read says what the database holds, from one point in time, and writes nothing. A
// database that is not marked is ErrNotStaging.
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
	mark, err := book.ReadMark(ctx, tx)
	if err != nil {
		return nil, err
	}
	s := &Status{Mark: *mark}
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

// newestEntries is the FROM of entries, each once: loads of different scopes may each have noted a row
// that both have, and the last one is right.
func newestEntries(from string) string {
	return "(SELECT DISTINCT ON (relation, key) * FROM " + from + " ORDER BY relation, key, load_id DESC) e"
}

// readTags reads the tags, after the runs: the newest scope is that of the last load that was no
// failure. One that had nothing to do left no row of its own in kojisnap.load, but that of the load
// which brought its snapshot.
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

// statusRuns is how many runs a status tells of.
const statusRuns = 10

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

// readEvents goes through all loads on record. One that goes back leaves the later events as they are
// seen no more: rows that came after its own are taken back. Loads of earlier versions, which say no
// tags, do not count: what they left out was put in later at best.
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

// ReadIDs returns staging's ids by production's, of each relation those that differ: of a name that
// staging made first, and where another name held production's id.
func ReadIDs(ctx context.Context, conn *pgx.Conn) (map[string]map[int64]int64, error) {
	ids := map[string]map[int64]int64{}
	var name string
	var production, staging int64
	err := readRows(ctx, conn, []any{&name, &production, &staging}, func() {
		if ids[name] == nil {
			ids[name] = map[int64]int64{}
		}
		ids[name][production] = staging
	}, "SELECT relation, prod_id, staging_id FROM kojisnap.idmap WHERE staging_id <> prod_id")
	if err != nil {
		return nil, fmt.Errorf("ids: %w", err)
	}
	return ids, nil
}

// CompleteBuilds names those of the builds that the database has as complete.
func CompleteBuilds(ctx context.Context, conn *pgx.Conn, ids []int64) (map[int64]kojidb.NVR, error) {
	builds := map[int64]kojidb.NVR{}
	var id int64
	var b kojidb.NVR
	err := readRows(ctx, conn, []any{&id, &b.Name, &b.Version, &b.Release}, func() { builds[id] = b },
		`SELECT b.id, p.name, b.version, b.release FROM build b JOIN package p ON p.id = b.pkg_id WHERE b.state = 1 AND b.id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("builds: %w", err)
	}
	return builds, nil
}

// readRows calls each for the rows of a query, scanned into the variables.
func readRows(ctx context.Context, conn *pgx.Conn, into []any, each func(), sql string, args ...any) error {
	return dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, into, func() error { each(); return nil })
		return err
	})
}

// readHidden compares, by the times of their events, staging's latest tagging of a package in
// a tag with production's. Koji's own order is by the events' numbers, then the builds'.
func (s *Status) readHidden(ctx context.Context, tx pgx.Tx) error {
	name := func(alias string) string {
		return "p.name || '-' || " + alias + ".version || '-' || " + alias + ".release"
	}
	// The primary key of tag_listing begins with create_event: what staging tagged is found at once.
	rows, err := tx.Query(ctx, `
		WITH own AS (SELECT DISTINCT ON (l.tag_id, b.pkg_id) l.tag_id, b.pkg_id, b.version, b.release, e.time
			FROM tag_listing l JOIN build b ON b.id = l.build_id JOIN events e ON e.id = l.create_event
			WHERE l.create_event >= $1 AND l.active AND b.state = 1
			ORDER BY l.tag_id, b.pkg_id, l.create_event DESC, b.id DESC)
		SELECT t.name, p.name, `+name("own")+`, own.time, `+name("prod")+`, prod.time
		FROM own JOIN tag t ON t.id = own.tag_id JOIN package p ON p.id = own.pkg_id CROSS JOIN LATERAL (
			SELECT b.version, b.release, e.time FROM tag_listing l JOIN build b ON b.id = l.build_id JOIN events e ON e.id = l.create_event
			WHERE l.tag_id = own.tag_id AND b.pkg_id = own.pkg_id AND l.create_event < $1 AND l.active AND b.state = 1
			ORDER BY l.create_event DESC, b.id DESC LIMIT 1) prod
		WHERE prod.time > own.time ORDER BY t.name, p.name`, s.Mark.Floor)
	if err != nil {
		return err
	}
	s.Hidden, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Hidden, err error) {
		err = row.Scan(&h.Tag, &h.Package, &h.Staging, &h.Since, &h.Production, &h.Tagged)
		h.Since, h.Tagged = h.Since.UTC(), h.Tagged.UTC()
		return h, err
	})
	return err
}

// readSyncs reads the last syncs, and the last good one.
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

// Whole reports whether the state of staging is that of the last sync: there was one, and no load apart
// from a sync has succeeded since.
func (s *Status) Whole() bool {
	return len(s.Syncs) > 0 && (s.LastSuccess == nil || s.LastSuccess.ID <= s.Syncs[0].LastLoad)
}
