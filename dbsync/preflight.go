package dbsync

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// User is the name of the user that init makes in every staging database, blocked. Production has none.
const User = userName

// Preflight is what is known of a load before there is a snapshot.
type Preflight struct {
	Env      string   // the environment that is meant; empty: any
	Hub      string   // production's; empty: not known
	HubMoved string   // LoadOptions.HubMoved
	Event    int64    // that is loaded; 0: a new one, or one that goes back
	Tags     []string // to be loaded, names and patterns as package tagglob has them
	Overlay  bool     // there is one
	Replace  bool     // staging's changes are to give way
}

// CheckDatabase says why Load would refuse the database, whatever the snapshot: it is not Koji's, or one
// that is too old; it is not marked as staging, or as another environment (ErrNotStaging); rows would not
// go in as they are; the role lacks privileges; it holds the production of another hub, which was not moved
// (ErrOtherHub), or a tag at a later event than Event (ErrOlder).
func CheckDatabase(ctx context.Context, conn *pgx.Conn, p Preflight) error {
	return reading(ctx, conn, func(tx pgx.Tx) error {
		m := &merger{tx: tx, opt: LoadOptions{Env: p.Env}, rep: &LoadReport{}}
		if err := m.checkDatabase(ctx); err != nil {
			return err
		}
		if err := checkPrivileges(ctx, tx, m.schema, p); err != nil || p.Hub == "" {
			return err
		}
		was, err := heldHub(ctx, tx, m.mark)
		if err != nil {
			return err
		}
		if _, err := otherHub(was, p.Hub, p.HubMoved); err != nil || p.Event == 0 {
			return err
		}
		return checkOlder(ctx, tx, p)
	})
}

// checkOlder refuses an event before that of a tag that is to be loaded.
func checkOlder(ctx context.Context, tx pgx.Tx, p Preflight) error {
	set, err := tagglob.Parse(p.Tags)
	if err != nil {
		return err
	}
	var tag string
	var at int64
	rows, err := tx.Query(ctx, "SELECT name, event FROM kojisnap.tag WHERE event > $1 ORDER BY event DESC, name", pgx.QueryExecModeExec, p.Event)
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

// CheckLoad says why Load would refuse a snapshot before it writes anything.
func CheckLoad(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions) error {
	if err := opt.complete(); err != nil {
		return err
	}
	err := reading(ctx, conn, func(tx pgx.Tx) error {
		m := &merger{tx: tx, snap: snap, opt: opt, rep: &LoadReport{}}
		return m.check(ctx)
	})
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", snap.ID, err)
	}
	return nil
}

// CheckEnv refuses another environment than the one that is meant, if one is (ErrNotStaging).
func (m *Mark) CheckEnv(env string) error {
	if env == "" || env == m.Environment {
		return nil
	}
	return fmt.Errorf("database %q is marked as environment %q, not %q (give --env %s, or another database): %w", m.Database, m.Environment, env, m.Environment, ErrNotStaging)
}

// olderError is ErrOlder with what to do.
func olderError(tag string, at, event int64) error {
	return fmt.Errorf("tag %q stands at event %d, the snapshot at %d: %w; --rollback goes back", tag, at, event, ErrOlder)
}
