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

// Pull reads the relations of a compose's tags at one event from a hub, and writes them to a store as a
// snapshot. The snapshot exists once its manifest does. Pull only reads the hub. Its errors include those of
// package hub, and ErrUpgraded.
//
// An interrupted pull (by an error, by the end of ctx or of the process) leaves what it has in the store. The
// next pull of the same hub and tags within 12 hours continues it, at the same event unless o names another
// one, and asks only for the rest.
func Pull(ctx context.Context, h *hub.Client, s store.Store, o Options) (*Result, error) {
	return WithinDeadline(ctx, o.Deadline, func(ctx context.Context) (*Result, error) { return pullFrom(ctx, h, s, o) })
}

// WithinDeadline runs a pull, but no longer than a time; 0: as long as it takes. That time is over is then part of the
// error, also where the store's own error does not say so.
func WithinDeadline(ctx context.Context, limit time.Duration, do func(context.Context) (*Result, error)) (*Result, error) {
	if limit <= 0 {
		return do(ctx)
	}
	late := fmt.Errorf("pull: not done within %s: %w", limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	r, err := do(ctx)
	if err != nil && context.Cause(ctx) == late && !errors.Is(err, late) {
		err = fmt.Errorf("%w: %w", late, err)
	}
	return r, err
}

func pullFrom(ctx context.Context, h *hub.Client, s store.Store, o Options) (*Result, error) {
	before := h.Stats()
	r, err := newRun(ctx, h, o)
	if err != nil {
		return nil, err
	}
	if r.store = s; !o.DryRun {
		// Until the lease is released, no prune removes what the pull relies on.
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

// dropParts removes what was kept for resuming the pull, once it is not needed or useless.
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
		// Check first: what fails on an upgraded hub fails because of the upgrade.
		if changed := r.checkVersion(); changed != nil {
			return changed
		}
		if err != nil {
			return err
		}
	}
	// Hubs before 1.35 do not send their version with each reply.
	if _, err := r.hub.AskVersion(ctx); err != nil {
		return fmt.Errorf("hub %s: %w", r.hub.URL(), err)
	}
	return r.checkVersion()
}

// checkVersion returns an error if a reply came from another version than the one that the pull began with.
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

// recorded returns the scope with the event from which on the history of each tag is complete.
func (r *run) recorded() snapfile.Scope {
	s := r.Scope
	s.All = slices.Clone(s.All)
	skipped := r.builder.Skipped()
	for i := range s.All {
		t := &s.All[i]
		t.History = max(r.since, r.holes.last(t.ID))
		for _, x := range skipped {
			if x.Tag == t.ID && x.Missing() { // some of the tag's rows are missing, and it is unknown which
				t.History = r.Event
			}
		}
	}
	return s
}
