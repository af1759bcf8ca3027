package status

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
)

// Pin is the event to pin calls at, see Status.
type Pin struct {
	Mark      book.Mark
	Event     int64 // 0: nothing was loaded yet
	EventTime time.Time
}

// ReadPin reads only that, and writes nothing. A database that is not marked is book.ErrNotStaging.
func ReadPin(ctx context.Context, conn *pgx.Conn) (p Pin, err error) {
	err = dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		mark, err := book.ReadMark(ctx, tx)
		if err != nil {
			return err
		}
		s := &Status{Mark: *mark}
		if err := s.readRuns(ctx, tx); err != nil {
			return err
		}
		err = s.readTags(ctx, tx)
		p = Pin{s.Mark, s.Event, s.EventTime}
		return err
	})
	if err != nil {
		return p, fmt.Errorf("read the event to pin: %w", err)
	}
	return p, nil
}
