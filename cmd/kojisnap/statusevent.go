package main

import (
	"context"
	"errors"
	"fmt"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
)

// tellEvent prints the event to pin, for scripts: no more of the database is read, and no store.
func (o *statusFlags) tellEvent(ctx context.Context, a *app) error {
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	pin, err := status.ReadPin(ctx, conn)
	if err != nil {
		return err
	}
	if err := a.checkEnv(pin.Mark); err != nil {
		return err
	}
	if pin.Event == 0 {
		return notReadyError{errors.New("nothing was loaded yet, so there is no event to pin: run kojisnap sync, or load")}
	}
	_, err = fmt.Fprintln(a.stdout, pin.Event)
	return err
}
