package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
)

// renew gives a database that was moved a mark of its own, and keeps all other records: what staging decided,
// what was loaded, which ids are mapped. It refuses a copy of a database that is still there: from then on
// both would be written.
func (i *initer) renew(ctx context.Context, here book.Mark) error {
	mark, err := book.FoundMark(ctx, i.tx, here)
	if err != nil {
		return err
	}
	was := fmt.Sprintf("database %q (oid %d) of server %s", mark.Database, mark.OID, mark.System)
	want := here.Database + "@" + here.System
	switch {
	case mark.Environment != i.opt.Env:
		return fmt.Errorf("%s was environment %q, not %q", was, mark.Environment, i.opt.Env)
	case i.opt.Confirm != want:
		return fmt.Errorf("taking database %q for what %s was needs the confirmation %s, not %q", here.Database, was, want, i.opt.Confirm)
	}
	if mark.System == here.System && mark.OID != here.OID {
		var original string
		err := i.tx.QueryRow(ctx, "SELECT datname FROM pg_database WHERE oid = $1", int64(mark.OID)).Scan(&original)
		switch {
		case err == nil:
			return fmt.Errorf("the original is still there, as database %q of this server, so database %q is a copy: drop the original first, or take the copy for an environment of its own with --adopt: %w", original, here.Database, book.ErrNotStaging)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
	}
	if err := i.lock(ctx); err != nil {
		return err
	}
	if err := book.Upgrade(ctx, i.tx, mark); err != nil {
		return err
	}
	if _, err := i.tx.Exec(ctx, "UPDATE kojisnap.mark SET database = $1, oid = $2, system_identifier = $3",
		here.Database, int64(here.OID), here.System); err != nil {
		return err
	}
	mark.Database, mark.OID, mark.System = here.Database, here.OID, here.System
	i.rep.Mark, i.rep.Renewed = *mark, true
	if i.opt.DryRun {
		return nil
	}
	return kojidb.RaiseSequences(ctx, i.tx, mark.Floor)
}
