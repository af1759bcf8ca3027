// Package repository works with the snapshots in a store.
//
// A snapshot is a manifest that names segments; the manifest is written last, and snapshots share segments, so
// a segment is needed as long as any manifest names it. Staging environments store beside them which snapshot
// their database holds, what they decided themselves, and their ledger of copied files. Writers and prune keep
// out of each other's way by leases, which are objects of the store, too.
package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/signed"
)

// ErrNoSnapshot says that a store holds no snapshot that was asked for, or that it is not clear which is meant.
var ErrNoSnapshot = errors.New("no such snapshot")

// noSnapshot is an ErrNoSnapshot with a message of its own.
type noSnapshot string

func (n noSnapshot) Error() string        { return string(n) }
func (n noSnapshot) Is(target error) bool { return target == ErrNoSnapshot }

// Snapshots returns the snapshots of a store, the latest first: by event, then by the time at which they were
// made. A manifest that cannot be read is an error. One that vanishes meanwhile is left out.
func Snapshots(ctx context.Context, s store.Store) ([]*snapfile.Snapshot, error) {
	return SnapshotsFunc(ctx, s, func(err error) error { return unreadable(s, err) })
}

func unreadable(s store.Store, err error) error {
	if errors.Is(err, snapfile.ErrNewer) {
		return fmt.Errorf("%s: %w", s, err)
	}
	return fmt.Errorf("%s: %w: remove it to go on without it", s, err)
}

// WithoutSignatures returns the store below one that checks and makes signatures, or else the store itself:
// for reading where it does not matter who wrote the objects.
func WithoutSignatures(s store.Store) store.Store {
	if keyed, ok := s.(*signed.Store); ok {
		return keyed.Below()
	}
	return s
}

// UntrustedSnapshots collects the errors of snapshots that no key of the store has signed.
type UntrustedSnapshots []*snapfile.UntrustedError

// Add adds an error if it is a *snapfile.UntrustedError, and reports whether it is.
func (u *UntrustedSnapshots) Add(err error) bool {
	var e *snapfile.UntrustedError
	if errors.As(err, &e) {
		*u = append(*u, e)
	}
	return e != nil
}

// LaterThan returns the error of the latest of them if its event is later than that of the latest trusted
// snapshot, 0 for none.
func (u UntrustedSnapshots) LaterThan(event int64) error {
	var latest *snapfile.UntrustedError
	for _, e := range u {
		if at := eventOf(e.ID); at > event {
			latest, event = e, at
		}
	}
	if latest == nil {
		return nil
	}
	return fmt.Errorf("snapshot %s: %w", latest.ID, latest)
}

// eventOf is the event in a snapshot's id; -1 if it has none.
func eventOf(id string) int64 {
	event, _, _ := strings.Cut(id, "-")
	e, err := strconv.ParseInt(event, 10, 64)
	if err != nil {
		return -1
	}
	return e
}

// SnapshotsFunc is Snapshots, but calls onBad for each manifest that is damaged, untrusted, or of a newer
// format than this program reads: nil skips it, an error ends the listing.
func SnapshotsFunc(ctx context.Context, s store.Store, onBad func(error) error) ([]*snapfile.Snapshot, error) {
	return snapshotsOf(ctx, s, func(string) bool { return true }, onBad)
}

// SnapshotsBetween returns the snapshots with events after one and before another, oldest first.
// It skips those that cannot be read: whoever needs them reports that.
func SnapshotsBetween(ctx context.Context, s store.Store, after, before int64) ([]*snapfile.Snapshot, error) {
	all, err := snapshotsOf(ctx, s, func(id string) bool {
		e := eventOf(id)
		return e > after && e < before
	}, func(error) error { return nil })
	slices.Reverse(all)
	return all, err
}

// snapshotsOf is SnapshotsFunc for the ids that are wanted.
func snapshotsOf(ctx context.Context, s store.Store, wanted func(id string) bool, onBad func(error) error) ([]*snapfile.Snapshot, error) {
	entries, err := s.List(ctx, snapfile.ManifestPrefix)
	if err != nil {
		return nil, err
	}
	var all []*snapfile.Snapshot
	for _, e := range entries {
		id, ok := snapfile.IDOfObject(e.Name)
		if !ok || !wanted(id) {
			continue
		}
		snap, err := snapfile.Open(ctx, s.Get, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var damaged *snapfile.DamagedError
		if errors.As(err, &damaged) || errors.Is(err, snapfile.ErrNewer) {
			if err := onBad(err); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, snap)
	}
	slices.SortFunc(all, func(a, b *snapfile.Snapshot) int {
		return cmp.Or(
			cmp.Compare(b.Manifest.Event, a.Manifest.Event),
			b.Manifest.Created.Compare(a.Manifest.Created),
			cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Open opens the snapshot id of a store, or the latest of any scope for "latest" and "".
func Open(ctx context.Context, s store.Store, id string) (*snapfile.Snapshot, error) {
	if id != "" && id != "latest" {
		snap, err := snapfile.Open(ctx, s.Get, id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s in %s: %w", id, s, ErrNoSnapshot)
		}
		return snap, err
	}
	return Latest(ctx, s, Scope{Any: true})
}

// Scope says which snapshots of a store are meant; others may be in it, too.
type Scope struct {
	Hub  string   // URL of production's hub; empty: not known
	Tags []string // names and patterns as asked for of a pull, in any order; empty: not known
	Any  bool     // what is not known does not matter; else the store must have snapshots of one scope only
}

// Latest opens the latest snapshot of a scope. If there is none, or if several scopes fit, the error is an
// ErrNoSnapshot that says what there is. In a store with keys the snapshot must be trusted, and no untrusted
// snapshot may have a later event, whatever scope it names.
func Latest(ctx context.Context, s store.Store, scope Scope) (*snapfile.Snapshot, error) {
	var bad UntrustedSnapshots
	all, err := SnapshotsFunc(ctx, s, func(err error) error {
		if bad.Add(err) {
			return nil
		}
		return unreadable(s, err)
	})
	if err != nil {
		return nil, err
	}
	var newest int64
	if len(all) > 0 {
		newest = all[0].Manifest.Event
	}
	if err := bad.LaterThan(newest); err != nil {
		return nil, fmt.Errorf("latest: %w", err)
	}
	if len(all) == 0 {
		return nil, noSnapshot(fmt.Sprintf("%s holds no snapshot; kojisnap pull makes one", s))
	}
	fits := slices.DeleteFunc(slices.Clone(all), func(snap *snapfile.Snapshot) bool { return !scope.Holds(snap.Manifest) })
	if len(fits) == 0 {
		return nil, noSnapshot(fmt.Sprintf("%s holds no snapshot of %s, but %s: correct hub and what is pulled (tag or everything), pull, or name one by its id", s, scope, scopesOf(all)))
	}
	first := fits[0].Manifest
	if !scope.Any && slices.ContainsFunc(fits, func(snap *snapfile.Snapshot) bool {
		return snap.Manifest.Hub != first.Hub || !snap.Manifest.Scope.SameAsked(first.Scope)
	}) {
		return nil, noSnapshot(fmt.Sprintf("%s holds snapshots of more than one scope: %s: name one by its id, or give hub, and tag or everything, in [pull] of the configuration", s, scopesOf(fits)))
	}
	return fits[0], nil
}

// Holds reports whether a snapshot is of the scope, as far as that is known.
func (o Scope) Holds(m *snapfile.Manifest) bool {
	tags := slices.Compact(slices.Sorted(slices.Values(o.Tags)))
	return (o.Hub == "" || o.Hub == m.Hub) && (len(tags) == 0 || slices.Equal(tags, m.Scope.AskedFor()))
}

func (o Scope) String() string {
	return scopeText(cmp.Or(o.Hub, "any hub"), slices.Sorted(slices.Values(o.Tags)))
}

func scopeText(hub string, tags []string) string {
	switch {
	case len(tags) == 0:
		return hub
	case slices.Equal(tags, []string{snapfile.AskedEverything}):
		return hub + " with everything"
	}
	return fmt.Sprintf("%s with tags %q", hub, tags)
}

// scopesOf lists the first few scopes of snapshots, each with its latest one.
func scopesOf(all []*snapfile.Snapshot) string {
	const most = 5
	seen := map[string]bool{}
	var list []string
	for _, snap := range all {
		if text := scopeText(snap.Manifest.Hub, snap.Manifest.Scope.AskedFor()); !seen[text] {
			seen[text] = true
			list = append(list, snap.ID+" of "+text)
		}
	}
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, "; ")
}
