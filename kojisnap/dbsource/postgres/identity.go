package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"kojisnap/dbsync/dbconn"
)

// proofTime is how long Is waits for the other database.
const proofTime = 10 * time.Second

// Is reports whether a DSN leads to the very database that is read, by whichever name, address, socket or pooler. It
// takes an advisory lock in its own transaction and tries to take the same one over the DSN: such locks are of one
// database of one running server. That needs no privilege, and tells a copy from its original, unlike the identifier
// of the system: a staging that was made of a physical copy of production has production's. A standby is not its primary.
func (s *Source) Is(ctx context.Context, dsn string) (same bool, err error) {
	within, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	conn, err := dbconn.Connect(within, dsn)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const try = `SELECT pg_catalog.pg_try_advisory_xact_lock($1)`
	err = s.with(ctx, func(one *session) error {
		// What goes wrong here must not end the transaction that the scans are in; the lock ends with this one.
		inner, err := one.tx.Begin(ctx)
		if err != nil {
			return err
		}
		defer inner.Rollback(context.WithoutCancel(ctx))
		for {
			key, mine, theirs := rand.Int64(), false, false
			if err := inner.QueryRow(ctx, try, key).Scan(&mine); err != nil {
				return err
			}
			if !mine { // somebody else has it
				continue
			}
			if err := conn.QueryRow(within, try, key).Scan(&theirs); err != nil {
				return fmt.Errorf("database %q: %w", conn.Config().Database, err)
			}
			same = !theirs
			return nil
		}
	})
	return same, err
}
