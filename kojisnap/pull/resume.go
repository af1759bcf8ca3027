package pull

import (
	"context"
	"errors"
	"strings"

	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// settle finds what to pull and the base. If an interrupted pull can be resumed, these are its own.
func (r *run) settle(ctx context.Context) error {
	if r.store == nil || r.opt.DryRun {
		found, err := r.find(ctx, r.opt.Event, nil)
		if err != nil {
			return err
		}
		return r.aim(found)
	}
	r.journal = checkpoint.Open(r.store, r.hub.URL(), r.opt.Asked(), r.log)
	if !r.opt.Full {
		was, err := r.journal.Interrupted(ctx, r.opt.Now())
		if err != nil {
			return err
		}
		if was != nil && (r.opt.Event == 0 || r.opt.Event == was.Event) {
			if resumed, err := r.resume(ctx, was); err != nil || resumed {
				return err
			}
		}
	}
	found, err := r.find(ctx, r.opt.Event, nil)
	if err != nil {
		return err
	}
	if err := r.aim(found); err != nil || r.opt.Full {
		return err
	}
	return r.journal.Begin(ctx, r.state(found))
}

// aim sets what the pull is about, and begins the snapshot with the rows that this needs.
func (r *run) aim(found target) error {
	r.target = found
	if r.base != nil {
		var keeper snapshot.Keeper
		if r.inc != nil {
			keeper = r.inc
		}
		r.builder.SetBase(r.base, keeper, r.Start > 0)
	}
	t := task{run: r}
	for id, ts := range r.Times {
		r.builder.Refer("events", id)
		if err := t.addEvent(id, ts); err != nil {
			return err
		}
	}
	for _, tag := range r.Scope.All {
		if err := t.addName("tag", tag.ID, tag.Name); err != nil {
			return err
		}
	}
	for id := range r.Named.All() {
		r.builder.Refer("build", id)
	}
	return nil
}

// find finds what a pull of an event is about; 0: the last event before the margin. content is what an
// interrupted pull found about content tags.
func (r *run) find(ctx context.Context, event int64, content []snapfile.Content) (target, error) {
	f := scope.New(r.hub, r.pager, r.version, r.log, scope.Options{
		Tags: r.tags, Asked: r.opt.Tags, Builds: r.opt.Builds, Event: event, Margin: r.opt.Margin,
		Since: r.opt.Since, SinceTime: r.opt.SinceTime, NoContentTags: r.opt.NoContentTags, Content: content,
	})
	found := target{Found: &f.Found}
	steps := []func(context.Context) error{f.FindEvent, f.FindStart, f.FindAsked}
	if r.opt.Everything {
		steps = steps[:2]
		f.Scope.Everything = true // which identifies the base
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return found, err
		}
	}
	if r.store != nil && !r.opt.Full {
		var err error
		if found.base, found.outdated, err = r.chooseBase(ctx, r.log, found.Found, event != 0); err != nil {
			return found, err
		}
		if found.base != nil {
			if found.inc, err = r.findIncremental(ctx, f, found.base); err != nil {
				return found, err
			}
			f.UseBase(found.base, found.inc.covered(), found.inc.sameStart())
		}
	}
	if r.opt.Everything {
		return found, r.findEverything(ctx, f, &found)
	}
	if err := f.FindBuilds(ctx, r.store); err != nil {
		return found, err
	}
	if err := f.FindTags(ctx); err != nil {
		return found, err
	}
	if err := f.FindPast(ctx); err != nil {
		return found, err
	}
	return found, r.findSince(ctx, &found)
}

// findEverything is the rest of find where everything is asked for: which tags are deleted depends on the base.
func (r *run) findEverything(ctx context.Context, f *scope.Finder, found *target) error {
	if err := r.findSince(ctx, found); err != nil {
		return err
	}
	if err := f.FindEverything(ctx, found.since); err != nil {
		return err
	}
	for _, x := range f.Unnamed {
		r.builder.Skip(x)
	}
	return nil
}

// findSince finds the event since which revoked rows are wanted.
func (r *run) findSince(ctx context.Context, found *target) (err error) {
	found.since = found.Event
	if found.Start > 0 {
		found.since = found.Start
	}
	switch {
	case r.store == nil:
	case found.base != nil:
		found.since = min(found.since, found.base.Manifest.Event)
	default:
		found.since, err = RevokedSince(ctx, r.store, r.hub.URL(), found.Event, found.since)
	}
	if found.inc != nil {
		found.inc.since = found.since
	}
	return err
}

// RevokedSince is the event since which a pull of an event without a base wants revoked rows, and never later than
// since: that of the newest snapshots of the same hub, of whatever scope. A staging that holds one of them learns
// when and by whom its rows were revoked. A forged event can only make the pull read more.
func RevokedSince(ctx context.Context, s store.Store, hub string, event, since int64) (int64, error) {
	all, err := repository.SnapshotsFunc(ctx, repository.WithoutSignatures(s), func(error) error { return nil })
	if err != nil {
		return since, err
	}
	seen := map[string]bool{}
	for _, snap := range all {
		m := snap.Manifest
		asked := strings.Join(m.Scope.AskedFor(), "\x00")
		if m.Hub == hub && m.Event <= event && !seen[asked] {
			seen[asked] = true
			since = min(since, m.Event)
		}
	}
	return since, nil
}

// state returns a pull's state for the journal.
func (r *run) state(found target) checkpoint.State {
	s := checkpoint.State{Hub: r.hub.URL(), Koji: r.version.String(), Scope: found.Scope,
		Event: found.Event, EventTime: found.EventTime, Since: found.since, Begun: r.opt.Now().UTC()}
	if found.base != nil {
		s.Base = found.base.ID
	}
	if c := found.inc; c != nil {
		s.Incremental = &checkpoint.Incremental{After: c.after, Overlap: r.opt.Overlap, Sweep: r.opt.Sweep, Slice: c.slice}
	}
	return s
}

// resume turns the pull into the interrupted one, and reports whether it could. If not, it says why: the hub
// or the store have changed, or the state is useless.
func (r *run) resume(ctx context.Context, was *checkpoint.State) (bool, error) {
	found, err := r.find(ctx, was.Event, was.Scope.Content)
	if found.inc != nil && was.Incremental != nil {
		found.inc.slice = was.Incremental.Slice // another hour may select another slice
	}
	var why string
	var noEvent *scope.NoEventError
	var noTag *scope.UnknownTagError
	var noTags *scope.NoTagsError
	switch {
	case errors.As(err, &noEvent), errors.As(err, &noTag), errors.As(err, &noTags):
		why = err.Error()
	case err != nil:
		return false, err
	case !was.Same(r.state(found)):
		why = "hub, scope or base are not what they were"
	case r.opt.Event == 0 && found.outdated:
		why = "there is a snapshot of a later event"
	default:
		r.log.InfoContext(ctx, "going on with a pull that was cut off", "event", was.Event, "begun", was.Begun)
		r.journal.Resume(*was)
		return true, r.aim(found)
	}
	r.log.InfoContext(ctx, "not going on with a pull that was cut off", "event", was.Event, "begun", was.Begun, "why", why)
	return false, nil
}
