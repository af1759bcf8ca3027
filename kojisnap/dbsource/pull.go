package dbsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagglob"
)

// Pull reads the relations of a compose's tags at one event from a Koji database and writes them to a store as a
// snapshot, as pull.Pull does from a hub. The result is complete when its manifest is there; after an error there is
// no snapshot, and what was stored is used by none. Errors of the source are returned as it gave them.
//
// The base is the latest snapshot of the same hub and scope, whatever it was made of. That it is of this production
// is proven by the time of its event. If the snapshot of the hub that was made last is not, the error is an *OtherHubError.
func Pull(ctx context.Context, src Source, s store.Store, o Options) (*pull.Result, error) {
	o, set, err := o.complete()
	if err != nil {
		return nil, err
	}
	d, err := src.Describe(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{opt: o, tags: set, store: s, reader: newReader(src, d), holes: map[int64]int64{}}
	r.large = cmp.Or(o.Large, r.large)
	if r.release, err = proveRelease(d); err != nil {
		return nil, err
	}
	if !o.DryRun {
		// Until it is taken back no prune takes away what the pull counts on.
		release, now, err := repository.WriteLease(ctx, s, o.Log)
		if err != nil {
			return nil, err
		}
		defer release()
		if _, err := repository.Clean(ctx, s, now.Add(-repository.PruneAge), true); err != nil {
			o.Log.InfoContext(ctx, "what killed writers left half-written stays", "err", err)
		}
	}
	r.optional = optionalOf(d)
	r.builder = snapshot.New(snapshot.Options{TempDir: o.TempDir, Progress: o.Progress, Optional: r.optional,
		Unseen: "other rows refer to it, and the database does not have it: a constraint of Koji's schema is missing there"})
	defer r.builder.Discard()
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		return r.result(r.manifest()), nil
	}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	return r.write(ctx)
}

// run is one pull: what it is about, and what its steps share.
type run struct {
	*reader
	opt     Options
	tags    tagglob.Set
	store   store.Store
	release string // of Koji, as the columns prove it
	builder *snapshot.Builder
	// optional are the relations that the source has and a hub does not give.
	optional []string

	scope     scopeFound
	event     int64
	eventTime time.Time
	newest    int64              // event of the source
	start     int64              // S, where history begins; 0: none is asked for
	base      *snapfile.Snapshot // nil: none
	since     int64              // the rows that were revoked after this event are kept beside the view

	mu    sync.Mutex
	holes map[int64]int64 // of tags, the last event of a revoked row that cannot be kept
}

// settle finds what the pull is about and what it goes on from.
func (r *run) settle(ctx context.Context) error {
	if err := r.findEvent(ctx); err != nil {
		return err
	}
	if err := r.findStart(ctx); err != nil {
		return err
	}
	if r.opt.Everything { // which tags were deleted since the base depends on the base
		r.scope.Everything, r.scope.Tags = true, []string{}
		if err := r.findSince(ctx); err != nil {
			return err
		}
		return everything{r}.findTags(ctx)
	}
	if err := r.findScope(ctx); err != nil {
		return err
	}
	return r.findSince(ctx)
}

// findSince finds the base, and since when rows that were revoked are kept.
func (r *run) findSince(ctx context.Context) error {
	r.since = cmp.Or(r.start, r.event)
	if !r.opt.Full {
		if err := r.checkHub(ctx); err != nil {
			return err
		}
		var err error
		if r.base, err = r.findBase(ctx); err != nil {
			return err
		}
	}
	if r.base != nil {
		r.since = min(r.since, r.base.Manifest.Event)
		r.builder.SetBase(r.base, nil, r.start > 0)
		return nil
	}
	var err error
	r.since, err = pull.RevokedSince(ctx, r.store, r.opt.Hub, r.event, r.since)
	return err
}

// findBase finds the snapshot that the pull goes on from, nil for none.
func (r *run) findBase(ctx context.Context) (*snapfile.Snapshot, error) {
	base, _, err := r.baseChoice().Find(ctx)
	return base, err
}

func (r *run) baseChoice() *pull.BaseChoice {
	return &pull.BaseChoice{Store: r.store, Hub: r.opt.Hub, Event: r.event, Scope: r.scope.Scope, History: r.start > 0, Pinned: r.opt.Event > 0, SameHistory: r.sameHistory, Log: r.opt.Log}
}

// sameHistory makes sure that an event of an earlier snapshot is the source's, too.
func (r *run) sameHistory(ctx context.Context, m *snapfile.Manifest) error {
	at, there, err := r.timeOf(ctx, m.Event)
	switch {
	case err != nil:
		return err
	case !there:
		return fmt.Errorf("the %s has no event %d: %w", r.kind, m.Event, pull.ErrOtherHistory)
	case !at.Equal(m.EventTime):
		return fmt.Errorf("event %d was of %s, the %s has it at %s: %w", m.Event, m.EventTime, r.kind, at, pull.ErrOtherHistory)
	}
	return nil
}

// OtherHubError says that the source is not the database of the hub that was named, or not of its present history.
type OtherHubError struct {
	Hub, Kind, Snapshot string
	Err                 error
}

func (e *OtherHubError) Error() string {
	return fmt.Sprintf("the %s is not that of hub %s, of which the store has snapshot %s: %v; name its own hub (--hub), or, if production was restored, pull once with --full",
		e.Kind, e.Hub, e.Snapshot, e.Err)
}

func (e *OtherHubError) Unwrap() error { return e.Err }

// checkHub compares the source with the snapshot of the hub that was made last, of whatever scope.
func (r *run) checkHub(ctx context.Context) error {
	all, err := repository.SnapshotsFunc(ctx, r.store, func(error) error { return nil }) // findBase tells of those that will not do
	if err != nil {
		return err
	}
	var last *snapfile.Snapshot
	for _, snap := range all {
		if snap.Manifest.Hub == r.opt.Hub && (last == nil || snap.Manifest.Created.After(last.Manifest.Created)) {
			last = snap
		}
	}
	if last == nil {
		return nil
	}
	m := last.Manifest
	if m.Event > r.newest { // a dump of before: what it has is to be what the snapshot has
		if m, err = r.asOfNewest(ctx, last); err != nil || m == nil {
			return err
		}
	}
	if err := r.sameHistory(ctx, m); errors.Is(err, pull.ErrOtherHistory) {
		text := strings.TrimSuffix(err.Error(), ": "+pull.ErrOtherHistory.Error())
		return &OtherHubError{r.opt.Hub, r.kind, last.ID, errors.New(text)}
	} else if err != nil {
		return err
	}
	return nil
}

// asOfNewest gives the last event of a snapshot that the source may have, as a manifest; nil if there is none.
func (r *run) asOfNewest(ctx context.Context, snap *snapfile.Snapshot) (m *snapfile.Manifest, err error) {
	err = snapshot.EachRow(ctx, snap, relation.Get("events"), func(row [][]byte) error {
		id, at, err := event(row)
		if err == nil && id <= r.newest && (m == nil || id > m.Event) {
			m = &snapfile.Manifest{Event: id, EventTime: at}
		}
		return err
	})
	var damaged *snapfile.DamagedError
	if errors.As(err, &damaged) || errors.Is(err, fs.ErrNotExist) { // findBase tells of it
		return nil, nil
	}
	return m, err
}

// manifest is what describes the snapshot.
func (r *run) manifest() *snapfile.Manifest {
	return &snapfile.Manifest{
		Hub: r.opt.Hub, KojiVersion: r.release, Event: r.event, EventTime: r.eventTime, Source: r.kind,
		Created: r.opt.Now().UTC().Truncate(time.Millisecond), CreatedBy: r.opt.Program, Scope: r.recorded(),
	}
}

// recorded is the scope with the event from which on the history of each tag is whole.
func (r *run) recorded() snapfile.Scope {
	s := r.scope.Scope
	s.All = append([]snapfile.Tag{}, s.All...)
	skipped := map[int64]bool{}
	for _, x := range r.builder.Skipped() {
		skipped[x.Tag] = skipped[x.Tag] || x.Missing()
	}
	for i := range s.All {
		if s.All[i].History = max(r.since, r.holes[s.All[i].ID]); skipped[s.All[i].ID] {
			s.All[i].History = r.event
		}
	}
	return s
}

// write writes the segments and, last, the manifest.
func (r *run) write(ctx context.Context) (*pull.Result, error) {
	m := r.manifest()
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

// result tells what the pull came to.
func (r *run) result(m *snapfile.Manifest) *pull.Result {
	result := pull.NewResult(m, r.base)
	result.Unmatched, result.Incomplete = r.scope.unmatched, r.scope.incomplete
	result.Asked.Rows, result.Source = r.rows.Load(), r.account()
	return result
}
