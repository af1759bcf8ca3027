package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/verify"
)

// noteHeld notes in the store which snapshot the database holds now.
func (o LoadOptions) noteHeld(ctx context.Context, s store.Store, snap *snapfile.Snapshot, conn *pgx.Conn) error {
	pin, err := status.ReadPin(ctx, conn)
	if err != nil {
		pin.Event = 0
	}
	return errors.Join(
		repository.PutHeld(ctx, s, o.Env, snap), // for the prune of an earlier kojisnap
		repository.UpdateEnvironment(ctx, s, o.Env, func(e *repository.Environment) {
			e.HoldsNow(snap, o.Tags)
			e.Version, e.Pin = o.Version, pin.Event
		}))
}

// noteSync notes in the store how a sync ended.
func (o SyncOptions) noteSync(ctx context.Context, s store.Store, run book.SyncRun, report SyncReport, found *verify.Result) error {
	err := repository.UpdateEnvironment(ctx, s, o.Load.Env, func(e *repository.Environment) {
		now := &repository.EnvironmentSync{Finished: run.Finished, Exit: run.Exit, Error: run.Error, Only: string(o.Only),
			Snapshot: run.Snapshot, Version: run.Version, Who: run.Who}
		if run.Exit == 0 {
			now.Succeeded = run.Finished
		} else if e.Sync != nil {
			now.Succeeded = e.Sync.Succeeded
		}
		if found != nil {
			now.Checks = map[string]int{}
			for _, c := range found.Checks {
				now.Checks[string(c.Status)]++
			}
		}
		if e.Sync = now; report.Pin > 0 {
			e.Pin = report.Pin
		}
	})
	if err != nil {
		return fmt.Errorf("the store does not remember this sync: %w", err)
	}
	return nil
}

// recordPull notes in the store how the pull of a sync ended, if it came to that.
func (o SyncOptions) recordPull(ctx context.Context, s store.Store, r *SyncResult, exit int, err error) error {
	if !slices.ContainsFunc(r.Steps, func(step SyncStep) bool { return step.Name == "pull" }) {
		return nil
	}
	if o.Only == Whole && r.Pull != nil && r.Pull.Snapshot != "" {
		exit, err = 0, nil // what comes after the pull is not its concern
	}
	return RecordPull(ctx, s, o.Hub.URL(), o.Pull, r.Pull, exit, err)
}

// RecordPull notes in the store how a pull ended, for hosts that only apply what it has: with an exit code, and with
// err. r is nil, or without a snapshot, if it has none.
func RecordPull(ctx context.Context, s store.Store, hub string, o pull.Options, r *pull.Result, exit int, err error) error {
	p := repository.Pulled{Hub: hub, Tags: o.Asked(), Finished: time.Now().UTC(), Exit: exit, Version: programVersion(o), Who: book.Who()}
	if r != nil {
		p.Snapshot, p.Event = r.Snapshot, r.Event
	}
	if err != nil {
		p.Error = secret.Hide(shorten(oneline.Of(err).Error()))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := repository.PutPulled(ctx, s, p); err != nil {
		return fmt.Errorf("the store does not remember this pull: %w", err)
	}
	return nil
}

// programVersion is the version of kojisnap in the name of the program that pulls.
func programVersion(o pull.Options) string { return strings.TrimPrefix(o.Program, "kojisnap ") }
