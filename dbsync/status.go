package dbsync

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"
)

// Status is what a staging database holds.
type Status struct {
	Mark Mark `json:"mark"`
	// Event is the event to pin calls at: the lowest that one of the tags holds, 0 before the
	// first load.
	Event     int64       `json:"event"`
	Tags      []TagStatus `json:"tags"`
	Conflicts []Entry     `json:"conflicts"` // production's rows whose place staging holds
	LeftOut   []Entry     `json:"left_out"`  // what hangs on those, and what the schema cannot hold
	Kept      []Entry     `json:"kept"`      // rows where staging's decision stood against production's
}

// TagStatus says what a tag holds.
type TagStatus struct {
	ID       int64  `json:"id"` // production's
	Name     string `json:"name"`
	Event    int64  `json:"event"`
	Snapshot string `json:"snapshot"`
}

// ReadStatus says what the database holds, from one point in time. A database that is not
// marked is ErrNotStaging.
func ReadStatus(ctx context.Context, conn *pgx.Conn) (*Status, error) {
	s, err := readStatus(ctx, conn)
	return s, classify(err)
}

func readStatus(ctx context.Context, conn *pgx.Conn) (*Status, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	mark, err := readMark(ctx, tx)
	if err != nil {
		return nil, err
	}
	s := &Status{Mark: *mark}
	rows, err := tx.Query(ctx, "SELECT tag_id, name, event, snapshot FROM kojisnap.tag ORDER BY name, tag_id", pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	if s.Tags, err = pgx.CollectRows(rows, pgx.RowToStructByPos[TagStatus]); err != nil {
		return nil, err
	}
	for i, t := range s.Tags {
		if i == 0 || t.Event < s.Event {
			s.Event = t.Event
		}
	}
	for _, l := range []struct {
		into *[]Entry
		from string
	}{
		{&s.Conflicts, "kojisnap.left_out WHERE conflict"},
		{&s.LeftOut, "kojisnap.left_out WHERE NOT conflict"},
		{&s.Kept, "kojisnap.kept"},
	} {
		if *l.into, err = readEntries(ctx, tx, l.from, math.MaxInt32); err != nil {
			return nil, err
		}
	}
	return s, nil
}
