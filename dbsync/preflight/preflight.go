// Package preflight finds out whether a database can be loaded into, and with which snapshot, before anything
// is written.
package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/kojisnap/tagglob"
)

// Options is what is known of a load before there is a snapshot.
type Options struct {
	Env      string   // the environment that is meant; empty: any
	Hub      string   // production's; empty: not known
	HubMoved string   // LoadOptions.HubMoved
	Event    int64    // to be loaded; 0: a new one, or one that goes back
	Tags     []string // to be loaded, names and patterns as package tagglob has them
	Overlay  bool     // there is one
	Replace  bool     // staging's changes are to give way
}

// CheckDatabase returns the error with which Load would refuse the database, whatever the snapshot: it is not
// Koji's, or of too old a release; it is not marked as staging, or as another environment
// (book.ErrNotStaging); rows would not go in as they are; the role lacks privileges; it holds the production
// of another hub, which was not moved (ErrOtherHub), or a tag at a later event than Event (ErrOlder).
func CheckDatabase(ctx context.Context, conn *pgx.Conn, p Options) error {
	return dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		db, err := Check(ctx, tx, p.Env)
		if err != nil {
			return err
		}
		if err := checkPrivileges(ctx, tx, db.Schema, p); err != nil || p.Hub == "" {
			return err
		}
		was, err := book.HeldHub(ctx, tx, db.Mark)
		if err != nil {
			return err
		}
		if _, err := otherHub(was, p.Hub, p.HubMoved); err != nil || p.Event == 0 {
			return err
		}
		return checkOlder(ctx, tx, p)
	})
}

// checkOlder refuses an event before that of a tag which is to be loaded.
func checkOlder(ctx context.Context, tx pgx.Tx, p Options) error {
	set, err := tagglob.Parse(p.Tags)
	if err != nil {
		return err
	}
	var tag string
	var at int64
	rows, err := tx.Query(ctx, "SELECT name, event FROM kojisnap.tag WHERE event > $1 ORDER BY event DESC, name", p.Event)
	if err != nil {
		return err
	}
	var older error
	_, err = pgx.ForEachRow(rows, []any{&tag, &at}, func() error {
		if older == nil && set.Has(tag) {
			older = olderError(tag, at, p.Event)
		}
		return nil
	})
	return cmp.Or(err, older)
}

// olderError is ErrOlder with what to do.
func olderError(tag string, at, event int64) error {
	return fmt.Errorf("tag %q stands at event %d, the snapshot at %d: %w; --rollback goes back", tag, at, event, ErrOlder)
}

// ErrOtherHub says that a snapshot is of another production than what the database holds.
var ErrOtherHub = errors.New("another production")

// ErrOlder says that a snapshot is older than what the database holds.
var ErrOlder = errors.New("the snapshot is older than what the database holds")
