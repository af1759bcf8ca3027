package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
)

// ErrUpgraded says that the hub changed to another version of Koji during the pull. The columns of its rows
// depend on the version, so nothing of the pull is kept. Another pull may succeed.
var ErrUpgraded = errors.New("pull again")

// Pull reads the relations of a compose's tags at one event from a hub and writes them to a
// store as a snapshot, which exists from the moment when its manifest does. It only reads the
// hub. Errors of the hub are those of package hub, and ErrUpgraded.
//
// A pull that is cut off, by an error, the end of ctx or that of the process, leaves in the store
// what it has. The next one of the same hub and tags within 12 hours goes on from there, at the
// same event unless o names another: it asks only for the rest.
func Pull(ctx context.Context, h *hub.Client, s store.Store, o Options) (*Result, error) {
	if o.Deadline > 0 {
		var cancel context.CancelFunc
		late := fmt.Errorf("pull: not done within %s: %w", o.Deadline, context.DeadlineExceeded)
		ctx, cancel = context.WithTimeoutCause(ctx, o.Deadline, late)
		defer cancel()
		o.Deadline = 0
		r, err := Pull(ctx, h, s, o)
		if err != nil && context.Cause(ctx) == late && !errors.Is(err, late) {
			err = fmt.Errorf("%w: %w", late, err) // the store's own words do not tell
		}
		return r, err
	}
	before := h.Stats()
	r, err := newRun(ctx, h, o)
	if err != nil {
		return nil, err
	}
	if r.store = s; !o.DryRun {
		// Until it is taken back no prune takes away what the pull counts on.
		release, now, err := repository.WriteLease(ctx, s, r.log)
		if err != nil {
			return nil, err
		}
		defer release()
		if _, err := repository.Clean(ctx, s, now.Add(-repository.PruneAge), true); err != nil {
			r.log.InfoContext(ctx, "what killed writers left half-written stays", "err", err)
		}
	}
	defer r.builder.Discard()
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		return r.plan(ctx)
	}
	if err := r.readAll(ctx); err != nil {
		if errors.Is(err, ErrUpgraded) || errors.Is(err, snapshot.ErrTooMuch) {
			r.dropParts(ctx)
		}
		return nil, err
	}
	result, err := r.write(ctx)
	if err == nil {
		now := h.Stats()
		result.Asked = hub.Stats{Requests: now.Requests - before.Requests, Rows: now.Rows - before.Rows,
			Sent: now.Sent - before.Sent, Received: now.Received - before.Received}
	}
	if err == nil {
		r.dropParts(ctx)
	}
	return result, err
}

// dropParts removes what was kept for a pull that is resumed: it is not wanted any more, or of no use.
func (r *run) dropParts(ctx context.Context) {
	if err := r.journal.Drop(ctx); err != nil {
		r.log.WarnContext(ctx, "the parts of the pull stay in the store", "err", err)
	}
}

// readAll reads everything.
func (r *run) readAll(ctx context.Context) error {
	history, builds, archives, names := r.histories(), r.builds(), r.archives(), r.names()
	for _, step := range []func(context.Context) error{
		names.readBuildTypes, history.read, history.readEvents, builds.read, r.fillSkipped, archives.readComponents, names.read, r.fillSkipped, r.builder.CloseReferences,
	} {
		err := step(ctx)
		// First: what fails on an upgraded hub fails because of that.
		if changed := r.checkVersion(); changed != nil {
			return changed
		}
		if err != nil {
			return err
		}
	}
	// Hubs before 1.35 do not tell with each reply.
	if _, err := r.hub.AskVersion(ctx); err != nil {
		return fmt.Errorf("hub %s: %w", r.hub.URL(), err)
	}
	return r.checkVersion()
}

// checkVersion makes sure that all replies so far were of the version that the pull began with.
func (r *run) checkVersion() error {
	others := r.hub.Versions()[r.versions:]
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("hub %s changed from Koji %s to %s while it was read: %w", r.hub.URL(), r.version, others[0], ErrUpgraded)
}

// write writes the segments and, last, the manifest.
func (r *run) write(ctx context.Context) (*Result, error) {
	m := &snapfile.Manifest{
		Hub: r.hub.URL(), KojiVersion: r.version.String(), Event: r.Event, EventTime: r.EventTime,
		Created: r.opt.Now().UTC().Truncate(time.Millisecond), CreatedBy: r.opt.Program, Scope: r.recorded(),
	}
	to := snapshot.Target{Put: r.store.Put, PutManifest: func(ctx context.Context, name string, body []byte) error {
		return repository.PutImmutable(ctx, r.store, name, body)
	}}
	id, existing, err := r.builder.Commit(ctx, to, m)
	if err != nil {
		return nil, err
	}
	result := r.result(m)
	result.Snapshot, result.Existing = id, existing
	return result, nil
}

// recorded is the scope with the event from which on the history of each tag is whole.
func (r *run) recorded() snapfile.Scope {
	s := r.Scope
	s.All = slices.Clone(s.All)
	skipped := r.builder.Skipped()
	for i := range s.All {
		t := &s.All[i]
		t.History = max(r.since, r.holes.last(t.ID))
		for _, x := range skipped {
			if x.Tag == t.ID && x.Missing() { // some of its rows, and nobody knows which
				t.History = r.Event
			}
		}
	}
	return s
}
