package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/tagged"
)

// Verify can also look at an event before the snapshot's: it asks production at that event, or uses the history
// in the snapshot. It does not look at files then: copies are made for the snapshot's event, and a compose at
// another event finds other builds on the read-only volume.

// lookback is what is known of an event before the snapshot's.
type lookback struct {
	latest int64           // the snapshot's
	from   map[int64]int64 // the events at which staging's history of tags begins, as far as known
	near   int64           // the last event that the snapshot knows, not after the one that is verified
}

// lookBack prepares a verification of an event that is not the snapshot's. Without production to
// compare with, the snapshot must have what its tags were then.
func (v *verifier) lookBack(ctx context.Context) error {
	if v.Snapshot == nil || v.Event == v.Snapshot.Manifest.Event {
		return nil
	}
	latest := v.Snapshot.Manifest.Event
	if v.Event > latest {
		return fmt.Errorf("event %d: staging has nothing of it, the snapshot %s is of event %d", v.Event, v.Snapshot.ID, latest)
	}
	if v.ComposeDir != "" {
		return fmt.Errorf("event %d: a trial repository is made of what is copied, which is for event %d", v.Event, latest)
	}
	v.back = &lookback{latest: latest, from: v.Record.History}
	all := v.Snapshot
	snap, err := all.At(v.Event)
	if err != nil {
		return err
	}
	err = tagged.Each(ctx, all, "events", func(r tagged.Row) {
		if id := r.Int("id"); id <= v.Event {
			v.back.near = max(v.back.near, id)
		}
	})
	if err != nil {
		return err
	}
	v.Snapshot, v.Topdir, v.topurl = snap, "", nil
	if v.Against != nil {
		return nil
	}
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return err
	}
	for _, name := range v.Want.Tags {
		tag, ok := view.Tags[name]
		if !ok {
			continue // checkExists reports it
		}
		for _, id := range append([]int64{tag}, view.Inheritance(tag)...) {
			// Of a tag that is not in the scope the snapshot has nothing.
			from := all.Manifest.HistoryFrom(id)
			if v.Event >= from {
				continue
			}
			what := "tag " + name
			if id != tag {
				what += ", which inherits tag " + cmp.Or(view.Names[id], fmt.Sprint(id)) + ","
			}
			return fmt.Errorf("event %d: snapshot %s has what %s was only from event %d on: compare with production (--against URL), or kojisnap pull --since %d",
				v.Event, all.ID, what, from, v.Event)
		}
	}
	return nil
}

// checkEvent tells whether composes can name an event before the snapshot's.
func (v *verifier) checkEvent(ctx context.Context) error {
	if v.back == nil {
		return nil
	}
	return v.attempt(ctx, Check{Name: "event"}, func() error {
		_, err := v.Hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{v.Event}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric {
			v.add(Check{Name: "event", Count: 1, Bad: 1, Detail: fmt.Sprintf("staging has no event %d: calls that are pinned at it are answered, but Pungi asks for the event itself; pin event %d, "+
				"the last before it that staging has: nothing of these tags changed in between", v.Event, v.back.near)}, StatusWarning)
			return nil
		}
		if err == nil {
			v.add(Check{Name: "event", Count: 1}, StatusOK)
		}
		return v.staging.failed(err)
	})
}

// hasHistory reports whether staging may have what a tag was at the event. If it is known that it does not,
// that is one failed check, and the tag's other checks would be of no use.
func (v tagChecks) hasHistory(tag string) bool {
	if v.back == nil {
		return true
	}
	for _, t := range v.Snapshot.Manifest.Scope.All {
		if from, known := v.back.from[t.ID]; t.Name == tag && known && v.Event < from {
			v.add(Check{Name: "history", Tag: tag, Count: 1, Bad: 1,
				Detail: fmt.Sprintf("staging has what the tag was only from event %d on: kojisnap pull --since %d, and load that", from, v.Event)}, StatusFailed)
			return false
		}
	}
	return true
}
