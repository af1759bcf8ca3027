package preflight

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/kojisnap/snapfile"
)

// Database is what Check finds out about a database that snapshots can be loaded into.
type Database struct {
	// Tx is the transaction that Check was given. It also watches that no trigger of the site swallows rows.
	Tx         pgx.Tx
	Mark       *book.Mark
	Schema     *kojidb.Schema
	IDs        []kojidb.IDColumn // what gives out ids
	NoIdentity map[string]bool   // tables without a replica identity
	Notes      []string
}

// Check refuses a database that no snapshot can be loaded into. If env is not empty, the database must be
// marked as that environment.
func Check(ctx context.Context, tx pgx.Tx, env string) (*Database, error) {
	db := &Database{Tx: tx}
	here, err := book.Identity(ctx, tx)
	if err != nil {
		return nil, err
	}
	if db.Schema, err = kojidb.ReadSchema(ctx, tx); err != nil {
		return nil, err
	}
	if err := db.Schema.CheckKoji(here.Database); err != nil {
		return nil, err
	}
	if db.Schema.LocalTimes() {
		// The hub reads such times in the database's own time zone.
		if _, err := tx.Exec(ctx, "SET LOCAL TimeZone TO DEFAULT"); err != nil {
			return nil, err
		}
	}
	if db.Mark, err = book.ReadAnyMark(ctx, tx); err != nil {
		return nil, err
	}
	if err := db.Mark.CheckEnv(env); err != nil {
		return nil, err
	}
	if err := db.checkSurroundings(ctx); err != nil {
		return nil, err
	}
	if db.Tx, err = kojidb.WatchTriggers(ctx, tx, db.Schema.Namespace); err != nil {
		return nil, err
	}
	if db.Notes, err = db.Schema.CheckFits(); err != nil {
		return nil, err
	}
	if db.IDs, err = kojidb.IDColumns(ctx, db.Tx); err != nil {
		return nil, err
	}
	return db, kojidb.CheckSequences(ctx, db.Tx, db.IDs, db.Mark.Floor)
}

// Verdict is what CheckSnapshot finds out about a snapshot that may be loaded.
type Verdict struct {
	Rollback  bool     // some tag stands at a later event
	MovedFrom string   // the hub's URL of what the database holds, if that is another now
	Notes     []string // for the report
}

// CheckSnapshot refuses a snapshot that cannot be loaded here: ErrOtherHub, unless hubMoved names its hub and
// its rows show that it is the same production; ErrOlder, unless rollback is true.
func (db *Database) CheckSnapshot(ctx context.Context, snap *snapfile.Snapshot, hubMoved string, rollback bool) (*Verdict, error) {
	man := snap.Manifest
	if man.Event >= db.Mark.Floor {
		return nil, fmt.Errorf("event %d is at or above the floor %d, where staging's ids begin", man.Event, db.Mark.Floor)
	}
	v := &Verdict{}
	h := &hubCheck{db.Tx, db.Mark, snap, v}
	if err := h.check(ctx, hubMoved); err != nil {
		return nil, err
	}
	var tag string
	var event int64
	err := db.Tx.QueryRow(ctx, `SELECT name, event FROM kojisnap.tag WHERE tag_id = ANY($1) AND event > $2 ORDER BY event DESC, name LIMIT 1`,
		book.TagIDs(man), man.Event).Scan(&tag, &event)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return v, nil
	case err != nil:
		return nil, err
	case !rollback:
		return nil, olderError(tag, event, man.Event)
	}
	v.Rollback = true
	return v, nil
}
