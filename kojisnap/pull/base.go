package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/convert"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// chooseBase finds the base of the pull; see BaseChoice. It reports whether there is a later one.
func (r *run) chooseBase(ctx context.Context, log *slog.Logger, found *scope.Found, pinned bool) (base *snapfile.Snapshot, outdated bool, err error) {
	c := BaseChoice{
		Store: r.store, Hub: r.hub.URL(), Event: found.Event, Scope: found.Scope, History: found.Start > 0, Pinned: pinned, Log: log,
		SameHistory: func(ctx context.Context, m *snapfile.Manifest) error { return r.sameHistory(ctx, found, m) },
	}
	return c.Find(ctx)
}

// BaseChoice says which snapshot of a store may be the base of a pull.
type BaseChoice struct {
	Store   store.Store
	Hub     string // URL of the production that the pull is of
	Event   int64  // E of the pull
	Scope   snapfile.Scope
	History bool // whether the revoked rows of the base are to be kept, too
	Pinned  bool // whether E was asked for: then it is no news that there are later snapshots
	// SameHistory makes sure that the event of an earlier snapshot is still the one that it was. Its error is
	// ErrOtherHistory if not.
	SameHistory func(ctx context.Context, m *snapfile.Manifest) error
	Log         *slog.Logger
}

// Find finds the base: the latest snapshot of the same hub and scope not after E that is whole, and of the history
// that production has. It reports whether there is a later one. A snapshot that will not do is warned of and
// passed over: a pull under cron costs more then, but goes on to make good snapshots.
func (c *BaseChoice) Find(ctx context.Context) (base *snapfile.Snapshot, outdated bool, err error) {
	passOver := func(why error) { c.Log.WarnContext(ctx, "not going on from a snapshot", "err", why) }
	var bad repository.UntrustedSnapshots
	all, err := repository.SnapshotsFunc(ctx, c.Store, func(err error) error {
		if !bad.Add(err) {
			passOver(err)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	defer func() {
		// Snapshots of before there were keys are no news once there are later ones.
		var at int64
		if base != nil {
			at = base.Manifest.Event
		}
		if err := bad.LaterThan(at); err != nil {
			passOver(err)
		}
	}()
	for _, snap := range all {
		m := snap.Manifest
		if m.Hub != c.Hub || !m.Scope.SameAsked(c.Scope) {
			continue
		}
		if m.Event > c.Event {
			outdated = true
			if !c.Pinned {
				passOver(fmt.Errorf("snapshot %s is of event %d, later than %d, the hub's last one before the margin: "+
					"was its clock set back, production restored, or the margin made longer?", snap.ID, m.Event, c.Event))
			}
			continue
		}
		if !m.Current() { // all rows of what it lacks have to be asked for, and not only those that changed since
			c.Log.InfoContext(ctx, "not going on from a snapshot of an earlier format, which lacks relations or columns: asking for everything", "snapshot", snap.ID)
			continue
		}
		err := c.SameHistory(ctx, m)
		if err == nil {
			err = whole(ctx, snap, c.History)
		}
		var damaged *snapfile.DamagedError
		switch {
		case err == nil:
			return snap, outdated, nil
		case errors.As(err, &damaged), errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrOtherHistory), errors.Is(err, errForeign):
			passOver(fmt.Errorf("snapshot %s: %w", snap.ID, err))
		default:
			return nil, outdated, err
		}
	}
	return nil, outdated, nil
}

// ErrOtherHistory says that events do not mean what they meant when a snapshot was made.
var ErrOtherHistory = errors.New("production was restored from a backup, it seems")

// sameHistory makes sure that the event of an earlier snapshot is still the one that it was: a
// database restored from a backup gives the ids after its last event again, to other events.
func (r *run) sameHistory(ctx context.Context, found *scope.Found, m *snapfile.Manifest) error {
	at := found.EventTime
	if m.Event != found.Event {
		v, err := r.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{m.Event}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric || err == nil && v.Kind() == hub.Nil {
			return fmt.Errorf("the hub has no event %d any more: %w", m.Event, ErrOtherHistory)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", m.Event, err)
		}
		ts, ok := v.Field("ts").Float()
		if !ok {
			return fmt.Errorf("hub %s: %.200s is not an event", r.hub.URL(), v)
		}
		if at, err = convert.EventTime(ts); err != nil {
			return fmt.Errorf("event %d: %w", m.Event, err)
		}
	}
	if !at.Equal(m.EventTime) {
		return fmt.Errorf("event %d was of %s, the hub has it at %s: %w", m.Event, m.EventTime, at, ErrOtherHistory)
	}
	return nil
}

// errForeign says that a row is none that a pull takes.
var errForeign = errors.New("no pull writes such a row now: it is forged, or of an earlier kojisnap")

// takes refuses a row, of a store, that this pull would not have taken from the hub.
func takes(rel *relation.Relation, row [][]byte) error {
	if column, err := convert.Climbs(rel, row); err != nil {
		return fmt.Errorf("%s.%s: %w: %w", rel.Name, column, err, errForeign)
	}
	return nil
}

// whole reads all that a later snapshot may take over, and compares the digests.
func whole(ctx context.Context, s *snapfile.Snapshot, history bool) error {
	for _, rel := range relation.All() {
		take := func(row [][]byte) error { return takes(rel, row) }
		if err := snapshot.EachRow(ctx, s, rel, take); err != nil {
			return err
		}
		if history && rel.Versioned {
			if err := snapshot.EachRevoked(ctx, s, rel, take); err != nil {
				return err
			}
		}
	}
	return nil
}

// earlier is the snapshot before, once it was looked for; nil if there is none.
type earlier struct {
	snap   *snapfile.Snapshot
	sought bool
}

// lastSnapshot is the base or, if the pull has none because it asks for everything, what would be the
// base; nil if there is none that can be read.
func (r *run) lastSnapshot(ctx context.Context) (*snapfile.Snapshot, error) {
	if r.base != nil || r.before.sought || r.store == nil {
		return cmp.Or(r.base, r.before.snap), nil
	}
	r.before.sought = true
	// What is no base was told, or is not asked for.
	snap, _, err := r.chooseBase(ctx, slog.New(slog.DiscardHandler), r.Found, true)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.log.WarnContext(ctx, "what production cannot give cannot be looked for in earlier snapshots", "err", err)
		return nil, nil
	}
	r.before.snap = snap
	return snap, nil
}
