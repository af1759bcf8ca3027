package dbsource

import (
	"context"
	"fmt"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"kojisnap/kojisnap/idset"
)

// NoEventError says that a source has no such event.
type NoEventError struct {
	Kind   string
	Event  int64
	Newest int64
}

func (e *NoEventError) Error() string {
	return fmt.Sprintf("the %s has no event %d; its newest is %d", e.Kind, e.Event, e.Newest)
}

// findEvent finds E and its time.
func (r *run) findEvent(ctx context.Context) error {
	if r.opt.Event < 0 {
		return fmt.Errorf("event %d: events count from 1", r.opt.Event)
	}
	newest, at, err := r.lastEvent(ctx, time.Time{})
	if err != nil {
		return err
	}
	if newest == 0 {
		return fmt.Errorf("the %s has no events: is it a Koji database?", r.kind)
	}
	r.newest = newest
	if r.opt.Event > 0 {
		at, there, err := r.timeOf(ctx, r.opt.Event)
		if err == nil && !there {
			return &NoEventError{r.kind, r.opt.Event, newest}
		}
		r.event, r.eventTime = r.opt.Event, at
		return err
	}
	if r.opt.Margin <= 0 {
		r.event, r.eventTime = newest, at
		return nil
	}
	now, of := at, fmt.Sprintf("its newest, event %d of", newest)
	if s, ok := r.src.(Clock); ok {
		clock, err := s.Clock(ctx)
		if err != nil {
			return err
		}
		if !clock.IsZero() {
			now, of = clock, "its clock,"
		}
	}
	r.event, r.eventTime, err = r.lastEvent(ctx, now.Add(-r.opt.Margin))
	if err == nil && r.event == 0 {
		return fmt.Errorf("the %s has no event older than the margin of %s before %s %s: give a shorter --margin, or --event",
			r.kind, r.opt.Margin, of, now.UTC().Format(time.RFC3339))
	}
	return err
}

// lastEvent returns the event with the highest id before a time, 0 for none.
func (r *reader) lastEvent(ctx context.Context, before time.Time) (id int64, at time.Time, err error) {
	if s, ok := r.src.(LastEvents); ok {
		return s.LastEvent(ctx, before)
	}
	err = r.each(ctx, query{relation: "events"}, func(row [][]byte) error {
		n, t, err := event(row)
		if err == nil && n > id && (before.IsZero() || t.Before(before)) {
			id, at = n, t
		}
		return err
	})
	return id, at, err
}

// timeOf returns when an event happened, and whether there is one.
func (r *reader) timeOf(ctx context.Context, id int64) (at time.Time, there bool, err error) {
	where := &Where{"id", roaring.BitmapOf(uint32(int32(id)))}
	err = r.each(ctx, query{relation: "events", where: where}, func(row [][]byte) (err error) {
		_, at, err = event(row)
		there = true
		return err
	})
	return at, there, err
}

func event(row [][]byte) (id int64, at time.Time, err error) {
	if id, err = idset.Parse(row[0]); err != nil {
		return 0, at, fmt.Errorf("events.id: %w", err)
	}
	if at, err = parseUTC(row[1]); err != nil {
		return 0, at, fmt.Errorf("event %d: its time is %q", id, row[1])
	}
	return id, at, nil
}
