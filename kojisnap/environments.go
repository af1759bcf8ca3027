package kojisnap

import (
	"context"
	"slices"
	"time"

	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// EnvironmentStatus is what a store knows of a staging environment, and what its database lacks.
type EnvironmentStatus struct {
	repository.Environment
	Store string `json:"store"`
	// Newest is the newest snapshot in the store of the scope that the environment loads; empty: there is none any
	// more. Behind and BehindSeconds say how far the database is behind it, in production's events and their time.
	Newest        string `json:"newest,omitempty"`
	NewestEvent   int64  `json:"newest_event,omitempty"`
	Behind        int64  `json:"behind"`
	BehindSeconds int64  `json:"behind_seconds"`
	// Pulled is how the last pull of that scope ended; nil: the store does not say.
	Pulled *repository.Pulled `json:"pulled,omitempty"`
}

// ReadEnvironments returns the environments of a store, by name. It asks no database. bad, if not nil, is called for
// snapshots that cannot be read, which are left out.
func ReadEnvironments(ctx context.Context, s store.Store, bad func(error)) ([]EnvironmentStatus, error) {
	records, err := repository.Environments(ctx, s)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	snaps, err := repository.SnapshotsFunc(ctx, s, func(err error) error {
		if bad != nil {
			bad(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []EnvironmentStatus
	for _, r := range records {
		e := EnvironmentStatus{Environment: r, Store: s.String()}
		at := slices.IndexFunc(snaps, func(snap *snapfile.Snapshot) bool {
			return repository.Scope{Hub: r.Hub, Tags: r.Tags}.Holds(snap.Manifest)
		})
		if at >= 0 && r.Event > 0 {
			e.compare(snaps[at])
			if e.Pulled, err = repository.ReadPulled(ctx, s, e.Hub, snaps[at].Manifest.Scope.AskedFor()); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// compare says how far the environment is behind a snapshot.
func (e *EnvironmentStatus) compare(newest *snapfile.Snapshot) {
	m := newest.Manifest
	e.Newest, e.NewestEvent, e.Behind = newest.ID, m.Event, m.Event-e.Event
	if !e.EventTime.IsZero() {
		e.BehindSeconds = int64(m.EventTime.Sub(e.EventTime).Seconds())
	}
}

// Succeeded is when all was well with the environment for the last time, as Status.Age has it: its last sync with exit
// code 0 ended or, if it was loaded since the last sync, that load. It is zero if there was neither.
func (e *EnvironmentStatus) Succeeded() time.Time {
	switch {
	case e.Whole():
		return e.Sync.Succeeded
	default:
		return e.Loaded
	}
}

// Whole reports whether the last that happened to the environment was a sync, and no load by itself.
func (e *EnvironmentStatus) Whole() bool { return e.Sync != nil && !e.Loaded.After(e.Sync.Finished) }
