package dbsync

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/snapfile"
)

// User is the name of the user that init makes in every staging database, blocked. Production has none.
const User = userName

// CheckDatabase says why Load would refuse the database, whatever the snapshot: it is not marked as
// staging, or as another environment than env if that is not empty (ErrNotStaging), or holds the production
// of another hub, which was not moved (ErrOtherHub). A load of event, unless that is 0, is ErrOlder if one
// of the tags, given by name, stands at a later one.
func CheckDatabase(ctx context.Context, conn *pgx.Conn, env, hub, moved string, event int64, tags []string) error {
	return reading(ctx, conn, func(tx pgx.Tx) error {
		mark, err := readMark(ctx, tx)
		if err != nil {
			return err
		}
		if err := mark.CheckEnv(env); err != nil {
			return err
		}
		was, err := heldHub(ctx, tx, mark)
		if err != nil {
			return err
		}
		if _, err := otherHub(was, hub, moved); err != nil || event == 0 {
			return err
		}
		var tag string
		var at int64
		err = tx.QueryRow(ctx, "SELECT name, event FROM kojisnap.tag WHERE name = ANY($1) AND event > $2 ORDER BY event DESC, name LIMIT 1",
			pgx.QueryExecModeExec, tags, event).Scan(&tag, &at)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		}
		return olderError(tag, at, event)
	})
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
