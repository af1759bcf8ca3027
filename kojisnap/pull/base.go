package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// chooseBase finds the snapshot to go on from: the latest of the same hub and scope not after E
// that is whole, and of the history that the hub has. One that will not do is warned of and
// passed over: a pull under cron costs more then, but goes on to make good snapshots.
func (p *puller) chooseBase(ctx context.Context, s store.Store) error {
	var bad repository.UntrustedSnapshots
	all, err := repository.SnapshotsFunc(ctx, s, func(err error) error {
		if !bad.Add(err) {
			p.passOver(ctx, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer func() {
		// Those of before there were keys are no news once there are later ones.
		var at int64
		if p.base != nil {
			at = p.base.Manifest.Event
		}
		if err := bad.LaterThan(at); err != nil {
			p.passOver(ctx, err)
		}
	}()
	for _, snap := range all {
		m := snap.Manifest
		if m.Hub != p.hub.URL() || !m.Scope.SameAsked(p.scope) {
			continue
		}
		if m.Event > p.event {
			p.outdated = true
			if p.opt.Event == 0 {
				p.passOver(ctx, fmt.Errorf("snapshot %s is of event %d, later than %d, the hub's last one before the margin: "+
					"was its clock set back, production restored, or the margin made longer?", snap.ID, m.Event, p.event))
			}
			continue
		}
		if !m.Current() { // of what it lacks all rows have to be asked for, and not only those that changed since
			p.log.InfoContext(ctx, "not going on from a snapshot of an earlier format, which lacks relations or columns: asking for everything", "snapshot", snap.ID)
			continue
		}
		err := p.sameHistory(ctx, m)
		if err == nil {
			err = whole(ctx, snap, p.start > 0)
		}
		var damaged *snapfile.DamagedError
		switch {
		case err == nil:
			p.base = snap
			return nil
		case errors.As(err, &damaged), errors.Is(err, fs.ErrNotExist), errors.Is(err, errOtherHistory), errors.Is(err, errForeign):
			p.passOver(ctx, fmt.Errorf("snapshot %s: %w", snap.ID, err))
		default:
			return err
		}
	}
	return nil
}

func (p *puller) passOver(ctx context.Context, why error) {
	p.log.WarnContext(ctx, "not going on from a snapshot", "err", why)
}

// errOtherHistory says that events do not mean what they meant when a snapshot was made.
var errOtherHistory = errors.New("production was restored from a backup, it seems")

// sameHistory makes sure that the event of an earlier snapshot is still the one that it was: a
// database restored from a backup gives the ids after its last event again, to other events.
func (p *puller) sameHistory(ctx context.Context, m *snapfile.Manifest) error {
	at := p.eventTime
	if m.Event != p.event {
		v, err := p.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{m.Event}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric || err == nil && v.Kind() == hub.Nil {
			return fmt.Errorf("the hub has no event %d any more: %w", m.Event, errOtherHistory)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", m.Event, err)
		}
		ts, ok := v.Field("ts").Float()
		if !ok {
			return fmt.Errorf("hub %s: %.200s is not an event", p.hub.URL(), v)
		}
		if at, err = unixTime(ts); err != nil {
			return fmt.Errorf("event %d: %w", m.Event, err)
		}
	}
	if !at.Equal(m.EventTime) {
		return fmt.Errorf("event %d was of %s, the hub has it at %s: %w", m.Event, m.EventTime, at, errOtherHistory)
	}
	return nil
}

// errForeign says that a row is none that a pull takes.
var errForeign = errors.New("no pull writes such a row now: it is forged, or of an earlier kojisnap")

// takes refuses a row, of a store, that this pull would not have taken from the hub.
func takes(rel *relation.Relation, row [][]byte) error {
	if column, err := climbs(rel, row); err != nil {
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

// lastSnapshot is the one that this pull goes on from or, if it shall pay no regard to it, would go on
// from; nil if there is none that can be read.
func (p *puller) lastSnapshot(ctx context.Context) (*snapfile.Snapshot, error) {
	if p.base != nil || p.before.sought || p.store == nil {
		return cmp.Or(p.base, p.before.snap), nil
	}
	p.before.sought = true
	q := *p
	q.log = slog.New(slog.DiscardHandler) // what is no base was told, or is not asked for
	if err := q.chooseBase(ctx, p.store); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		p.log.WarnContext(ctx, "what production cannot give cannot be looked for in earlier snapshots", "err", err)
		return nil, nil
	}
	p.before.snap = q.base
	return q.base, nil
}

// fillSkipped takes what the hub could not give from the snapshot before, as far as that has it.
func (p *puller) fillSkipped(ctx context.Context) error { return p.builder.Fill(ctx, p.lastSnapshot) }
