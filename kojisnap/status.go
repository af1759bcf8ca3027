package kojisnap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/narrow"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
)

// StagingStatus is what a staging database holds, and what it lacks.
type StagingStatus struct {
	*status.Status
	Drift *Drift `json:"drift,omitempty"` // nil without a store
	// Pulled is how the last pull of the newest snapshot's scope ended; nil: the store does not say.
	Pulled *repository.Pulled `json:"pulled,omitempty"`
	// Verdict is Judge's, and AgeSeconds is Age's, once both are found out.
	Verdict    *Verdict `json:"verdict,omitempty"`
	AgeSeconds int64    `json:"age"`
}

// Drift says what a database lacks of the newest snapshot that a store has of the same hub.
type Drift struct {
	Error string `json:"error,omitempty"` // why it could not be found out; then all else is empty

	Snapshot string `json:"snapshot,omitempty"` // the newest
	Event    int64  `json:"event,omitempty"`
	Loaded   bool   `json:"loaded"`
	// Events and Seconds say how far the tag that is furthest behind is behind the snapshot, in production's
	// events and in their time; below zero it is ahead. They do not count Missing, the tags that the database
	// never had.
	Events  int64    `json:"events"`
	Seconds int64    `json:"seconds"`
	Missing []string `json:"missing,omitempty"`
	// Relations say how the newest snapshot differs from the one that the tag was loaded from, if that was
	// asked for; RelationsError says why this could not be found out.
	Relations      []repository.RelationDiff `json:"relations,omitempty"`
	RelationsError string                    `json:"relations_error,omitempty"`
}

// ReadPulled returns what the store says of the last pull of a snapshot's scope; nil: nothing.
func ReadPulled(ctx context.Context, s store.Store, id string) (*repository.Pulled, error) {
	snap, err := repository.Open(ctx, s, id)
	if err != nil {
		return nil, err
	}
	return repository.ReadPulled(ctx, s, snap.Manifest.Hub, snap.Manifest.Scope.AskedFor())
}

// AppliesOnly reports whether the last sync took its snapshot from the store, so that the age of its success says
// nothing of that of the last pull.
func (s *StagingStatus) AppliesOnly() bool {
	if len(s.Syncs) == 0 {
		return false
	}
	report, err := ReadSyncReport(s.Syncs[0])
	return err == nil && report.Only == OnlyApply
}

// ReadDrift compares what a database holds with the newest snapshot of a scope in a store; with rows, also row
// by row. If the database says from which hub it was loaded, that counts, and not the scope's. If the store has
// no such snapshot, or cannot be read, that is an error.
func ReadDrift(ctx context.Context, s store.Store, scope repository.Scope, have *status.Status, rows bool) (*Drift, error) {
	scope.Any = true
	if have.LastSuccess != nil && have.LastSuccess.Hub != "" {
		scope.Hub = have.LastSuccess.Hub
	}
	newest, err := repository.Latest(ctx, s, scope)
	if err != nil {
		return nil, err
	}
	if last := have.LastSuccess; last != nil && last.Report != nil {
		if newest, err = narrow.To(ctx, newest, last.Report.LoadTags); err != nil {
			return nil, err
		}
	}
	d := &Drift{Snapshot: newest.ID, Event: newest.Manifest.Event}
	var last *status.TagStatus
	for _, tag := range newest.Manifest.Scope.All {
		at := slices.IndexFunc(have.Tags, func(t status.TagStatus) bool { return t.ID == tag.ID })
		if at < 0 {
			d.Missing = append(d.Missing, tag.Name)
		} else if t := &have.Tags[at]; last == nil || t.Event < last.Event {
			last = t
		}
	}
	// A load always leaves out a tag whose name staging has taken: it is not missing.
	if have.LastSuccess != nil && have.LastSuccess.Snapshot == newest.ID {
		return &Drift{Snapshot: d.Snapshot, Event: d.Event, Loaded: true}, nil
	}
	if last == nil {
		return d, nil
	}
	d.Loaded = len(d.Missing) == 0 && last.Snapshot == newest.ID
	d.Events = newest.Manifest.Event - last.Event
	if !last.EventTime.IsZero() {
		d.Seconds = int64(newest.Manifest.EventTime.Sub(last.EventTime).Seconds())
	}
	if rows && !d.Loaded {
		if d.Relations, err = driftRows(ctx, s, last.Snapshot, newest.ID); err != nil {
			d.RelationsError = oneline.Of(err).Error()
		}
	}
	return d, nil
}

func driftRows(ctx context.Context, s store.Store, from, to string) ([]repository.RelationDiff, error) {
	a, err := repository.Open(ctx, s, from)
	if errors.Is(err, repository.ErrNoSnapshot) {
		return nil, fmt.Errorf("%s, which the database holds, is not in the store any longer", from)
	}
	if err != nil {
		return nil, err
	}
	b, err := repository.Open(ctx, s, to)
	if err != nil {
		return nil, err
	}
	r, err := repository.Diff(ctx, a, b, nil)
	if err != nil {
		return nil, err
	}
	return r.Relations, nil
}
