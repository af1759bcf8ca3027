/*
Package scope finds what a pull is about: the event E, where its history begins, and the tags and builds
that belong to the scope. It only asks the hub, and reads earlier snapshots; it adds no rows.

A Finder is asked in this order: FindEvent, FindStart, FindAsked; then its user chooses the snapshot that
the pull goes on from, if there is one (UseBase); then FindBuilds, FindTags, FindPast. Where everything is asked for,
FindEverything takes the place of all after FindStart.
*/
package scope

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/convert"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// Options say what to look for.
type Options struct {
	Tags   tagglob.Set // the tags asked for
	Asked  []string    // Tags as text, sorted
	Builds []string    // builds besides the tags, by NVR or id
	Event  int64       // E; 0: the last event before the hub's clock less Margin
	Margin time.Duration
	// Since is S, the event where the history begins. If it is 0, S is the last event before SinceTime. With
	// neither, no history is asked for.
	Since         int64
	SinceTime     time.Time
	NoContentTags bool
	// Content is what an interrupted pull found about content tags.
	Content []snapfile.Content
}

// Found has what a Finder has found so far.
type Found struct {
	Event      int64
	EventTime  time.Time
	Start      int64 // S; 0: no history
	Scope      snapfile.Scope
	InScope    map[int64]bool    // tags of Scope.All by id
	Named      idset.Set         // builds of the scope
	Incomplete []IncompleteBuild // those of Named that are not complete
	Unmatched  []string          // patterns that match no tag
	// Of everything: Deleted are the tags of Scope.All that do not exist at E, Unnamed those whose names no hub can send.
	Deleted idset.Set
	Unnamed []snapfile.LeftOut
	Times   map[int64]float64 // of E and S, in seconds since 1970, as the hub sends them
}

// Finder finds the scope of a pull. It is for one goroutine.
type Finder struct {
	Found

	hub     *hub.Client
	pager   *pager.Pager
	version hub.Version
	log     *slog.Logger
	opt     Options

	asked   map[int64]string      // names of the tags that Options.Tags selects, by id
	modules []snapfile.NamedBuild // the module builds among those asked for by name
	base    *snapfile.Snapshot    // nil: none
	// sameHistory: the history of base begins with S for all of its tags. base has everything that changed
	// up to the event after.
	sameHistory bool
	after       int64
}

// New returns a Finder.
func New(h *hub.Client, p *pager.Pager, version hub.Version, log *slog.Logger, o Options) *Finder {
	return &Finder{hub: h, pager: p, version: version, log: log, opt: o, Found: Found{InScope: map[int64]bool{}, Times: map[int64]float64{}}}
}

// UseBase sets the snapshot that the pull continues. It has everything that changed up to the event after.
// sameHistory says whether its history begins with S for all of its tags.
func (f *Finder) UseBase(base *snapfile.Snapshot, after int64, sameHistory bool) {
	f.base, f.after, f.sameHistory = base, after, sameHistory
}

// UnknownTagError says that the hub has no such tag at the event of the pull.
type UnknownTagError struct {
	Hub   string
	Tag   string
	Event int64
}

func (e *UnknownTagError) Error() string {
	return fmt.Sprintf("hub %s has no tag %q at event %d", e.Hub, e.Tag, e.Event)
}

// NoEventError says that the hub has no such event.
type NoEventError struct {
	Hub   string
	Event int64
}

func (e *NoEventError) Error() string {
	return fmt.Sprintf("hub %s has no event %d (yet)", e.Hub, e.Event)
}

// FindEvent finds E and its time.
func (f *Finder) FindEvent(ctx context.Context) error {
	if f.opt.Event < 0 {
		return fmt.Errorf("event %d: events count from 1", f.opt.Event)
	}
	if f.opt.Event > 0 {
		v, err := f.hub.Call(ctx, hub.Call{Method: "getEvent", Args: []any{f.opt.Event}})
		var fault *hub.Fault
		if errors.As(err, &fault) && fault.Code == hub.FaultGeneric {
			return &NoEventError{f.hub.URL(), f.opt.Event}
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", f.opt.Event, err)
		}
		return f.setEvent(v)
	}
	now, err := f.hub.Clock(ctx)
	if err != nil {
		return fmt.Errorf("hub %s: %w", f.hub.URL(), err)
	}
	before := now.Add(-max(f.opt.Margin, 0))
	v, there, err := f.LastEvent(ctx, before)
	if err == nil && !there {
		return fmt.Errorf("hub %s has no event older than %s (the margin of %s before its clock)",
			f.hub.URL(), before.UTC().Format(time.RFC3339), f.opt.Margin)
	}
	if err != nil {
		return fmt.Errorf("last event before %s: %w", before.UTC().Format(time.RFC3339), err)
	}
	return f.setEvent(v)
}

// LastEvent asks for the last event before a time, and reports whether there is one.
func (f *Finder) LastEvent(ctx context.Context, before time.Time) (v hub.Value, there bool, err error) {
	v, err = f.hub.Call(ctx, hub.Call{Method: "getLastEvent", Kwargs: map[string]any{"before": float64(before.UnixMicro()) / 1e6}})
	var fault *hub.Fault
	if errors.As(err, &fault) && fault.Code == hub.FaultGeneric {
		return v, false, nil
	}
	return v, err == nil && v.Kind() != hub.Nil, err
}

func (f *Finder) setEvent(v hub.Value) error {
	id, ok := v.Field("id").Int()
	ts, isTime := v.Field("ts").Float()
	if !ok || !isTime || id <= 0 {
		return fmt.Errorf("hub %s: %.200s is not an event", f.hub.URL(), v)
	}
	t, err := convert.EventTime(ts)
	if err != nil {
		return err
	}
	f.Event, f.EventTime, f.Times[id] = id, t, ts
	return nil
}
