package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/convert"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// chooseBase chooses the base of the pull; see BaseChoice. It reports whether there is a later snapshot.
func (r *run) chooseBase(ctx context.Context, log *slog.Logger, found *scope.Found, pinned bool) (base *snapfile.Snapshot, outdated bool, err error) {
	return r.baseChoice(log, found, pinned).Find(ctx)
}

func (r *run) baseChoice(log *slog.Logger, found *scope.Found, pinned bool) *BaseChoice {
	return &BaseChoice{
		Store: r.store, Hub: r.hub.URL(), Event: found.Event, Scope: found.Scope, History: found.Start > 0, Pinned: pinned, Log: log,
		SameHistory: func(ctx context.Context, m *snapfile.Manifest) error { return r.sameHistory(ctx, found, m) },
	}
}

// BaseChoice says which snapshot of a store may be the base of a pull.
type BaseChoice struct {
	Store   store.Store
	Hub     string // URL of the production that the pull is of
	Event   int64  // E of the pull
	Scope   snapfile.Scope
	History bool // the revoked rows of the base are kept, too
	Pinned  bool // E was asked for: then later snapshots need no warning
	// SameHistory checks that the event of an earlier snapshot is still the same. If not, it returns
	// ErrOtherHistory.
	SameHistory func(ctx context.Context, m *snapfile.Manifest) error
	Log         *slog.Logger
}

// Find finds the base: the latest snapshot not after E of the same hub and scope that is whole and belongs to
// production's history. It reports whether there is a later one. It warns about a snapshot that cannot be used,
// and skips it: a pull from cron then takes longer, but still makes good snapshots.
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
		// Unsigned snapshots from before there were keys need no warning once there are later ones.
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
		if !m.Current() { // it lacks relations or columns, whose rows must all be asked for
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

// LeftBuilds returns what snapshot.LeftBuilds does for the last snapshot. Where there is none because something else was
// asked for until now, it looks at the latest snapshot of each other scope; a damaged one is passed over. now are the builds
// of the pull.
func (c *BaseChoice) LeftBuilds(ctx context.Context, last *snapfile.Snapshot, inScope func(tag int64) bool, now *idset.Set) (*idset.Set, error) {
	if last != nil {
		return snapshot.LeftBuilds(ctx, last, inScope, now)
	}
	others, err := c.others(ctx)
	if err != nil {
		return nil, err
	}
	all := new(idset.Set)
	for _, snap := range others {
		left, err := snapshot.LeftBuilds(ctx, snap, inScope, now)
		if errors.As(err, new(*snapfile.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
			c.Log.WarnContext(ctx, "builds that left the scope cannot be looked for in an earlier snapshot", "snapshot", snap.ID, "err", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		for id := range left.All() {
			all.Add(id)
		}
	}
	return all, nil
}

// others returns the latest snapshot, not after E, of each other scope that was asked for of the same hub.
func (c *BaseChoice) others(ctx context.Context) (others []*snapfile.Snapshot, err error) {
	all, err := repository.SnapshotsFunc(ctx, c.Store, func(error) error { return nil }) // Find has told of them
	for _, snap := range all {
		m := snap.Manifest
		if m.Hub != c.Hub || m.Event > c.Event || !m.Current() || m.Scope.SameAsked(c.Scope) ||
			slices.ContainsFunc(others, func(o *snapfile.Snapshot) bool { return m.Scope.SameAsked(o.Manifest.Scope) }) {
			continue
		}
		switch err := c.SameHistory(ctx, m); {
		case err == nil:
			others = append(others, snap)
		case !errors.Is(err, ErrOtherHistory):
			return nil, err
		}
	}
	return others, err
}

// ErrOtherHistory says that events have changed since a snapshot was made.
var ErrOtherHistory = errors.New("production was restored from a backup, it seems")

// sameHistory checks that the event of an earlier snapshot is still the same: a database that was restored
// from a backup gives the ids after its last event to other events.
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

// errForeign says that no pull would write this row.
var errForeign = errors.New("no pull writes such a row now: it is forged, or of an earlier kojisnap")

// takes refuses a row from a store that this pull would not have accepted from the hub.
func takes(rel *relation.Relation, row [][]byte) error {
	if column, err := convert.Climbs(rel, row); err != nil {
		return fmt.Errorf("%s.%s: %w: %w", rel.Name, column, err, errForeign)
	}
	return nil
}

// whole reads everything that a later snapshot may take over, and checks the digests.
func whole(ctx context.Context, s *snapfile.Snapshot, history bool) error {
	for _, has := range s.Manifest.Relations {
		rel := relation.Get(has.Name)
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

// earlier is the previous snapshot, once it was looked for; nil if there is none.
type earlier struct {
	snap   *snapfile.Snapshot
	sought bool
	err    error // why it is not known
}

// lastSnapshot returns the base. If the pull has none because it asks for everything, it returns the snapshot
// that would be the base, or nil if none can be read.
func (r *run) lastSnapshot(ctx context.Context) (*snapfile.Snapshot, error) {
	if r.base != nil || r.before.sought || r.store == nil {
		return cmp.Or(r.base, r.before.snap), nil
	}
	r.before.sought = true
	// Snapshots that cannot be used have been reported, or do not matter.
	snap, _, err := r.chooseBase(ctx, slog.New(slog.DiscardHandler), r.Found, true)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.before.err = err
		r.log.WarnContext(ctx, "what production cannot give cannot be looked for in earlier snapshots", "err", err)
		return nil, nil
	}
	r.before.snap = snap
	return snap, nil
}
