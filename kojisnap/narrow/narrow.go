/*
Package narrow makes of a snapshot of many tags one of fewer: the snapshot that a pull of only these tags would have
made at the same event. So one pull of what several environments want serves each of them with its own tags.

It copies nothing: the rows are those of the whole snapshot, without the others (snapfile.Snapshot.Only). It follows
the tags as a pull does: all that they inherit, the content tags of their modules, what their rows refer to.
*/
package narrow

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagglob"
)

// UnknownError says that a snapshot does not have the tags that were asked for.
type UnknownError struct {
	Snapshot string
	Tags     []string // tags that it lacks, or patterns that match none; empty: none was named, of a snapshot of everything
	Has      []string // the tags that it was asked for
}

func (e *UnknownError) Error() string {
	const most = 20
	if len(e.Tags) == 0 {
		return fmt.Sprintf("snapshot %s is of everything, and no compose takes all tags: name those that composes take (--tag, or tag in [copy] and [verify] of the configuration)", e.Snapshot)
	}
	has := strings.Join(e.Has[:min(len(e.Has), most)], " ")
	if more := len(e.Has) - most; more > 0 {
		has += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("snapshot %s has no tag %s; it was pulled for %s", e.Snapshot, tagglob.Quote(e.Tags), has)
}

// To returns the snapshot of only some of its tags: names, and patterns that match among all that it has.
// Without tags it returns the snapshot itself. If the snapshot lacks a tag, or nothing matches, the error is
// an *UnknownError.
func To(ctx context.Context, snap *snapfile.Snapshot, tags []string) (*snapfile.Snapshot, error) {
	if len(tags) == 0 {
		return snap, nil
	}
	set, err := tagglob.Parse(tags)
	if err != nil {
		return nil, err
	}
	if slices.Equal(set.List(), snap.Manifest.Scope.AskedFor()) {
		return snap, nil
	}
	scope, err := narrowScope(ctx, snap, set)
	if err != nil {
		return nil, err
	}
	return narrowTo(ctx, snap, scope)
}

// ForComposes returns what composes take of a snapshot: of one of everything only some tags, which must be named, with
// all that belongs to them. Another one is what it is.
func ForComposes(ctx context.Context, snap *snapfile.Snapshot, tags []string) (*snapfile.Snapshot, error) {
	if !snap.Manifest.Scope.Everything {
		return snap, nil
	}
	if len(tags) == 0 {
		return nil, &UnknownError{Snapshot: snap.ID}
	}
	return To(ctx, snap, tags)
}

// ToIDs returns the snapshot of only the tags with these ids, whatever they inherit: it is for tags that an
// earlier To found. If these are all tags of the snapshot, it returns the snapshot itself, unless that is one of
// everything, which has more than the tags' rows.
func ToIDs(ctx context.Context, snap *snapfile.Snapshot, ids []int64) (*snapfile.Snapshot, error) {
	in := idset.Of(ids)
	scope := snap.Manifest.Scope
	scope.All = slices.DeleteFunc(slices.Clone(scope.All), func(t snapfile.Tag) bool { return !in.Has(t.ID) })
	if len(scope.All) == len(snap.Manifest.Scope.All) && !scope.Everything {
		return snap, nil
	}
	scope.Everything = false
	return narrowTo(ctx, snap, scope)
}

// Revoked returns a snapshot whose revoked rows are those of the tags of another one. The rest of it stays as it is: a
// load looks for revocations of its own tags in other snapshots, whatever else they have.
func Revoked(snap, of *snapfile.Snapshot) *snapfile.Snapshot {
	tags := new(idset.Set)
	for _, t := range of.Manifest.Scope.All {
		tags.Add(t.ID)
	}
	c := &rows{tags: tags}
	return snap.Only(*snap.Manifest, func(rel *relation.Relation, revoked bool) func(row [][]byte) (bool, error) {
		if revoked && (rel.Index("tag_id") >= 0 || rel.Name == "build_target_config") {
			return c.filter(rel, true)
		}
		return all
	})
}

// narrowTo returns the snapshot of another scope.
func narrowTo(ctx context.Context, snap *snapfile.Snapshot, scope snapfile.Scope) (*snapfile.Snapshot, error) {
	rows, err := closeOver(ctx, snap, scope)
	if err != nil {
		return nil, err
	}
	m := *snap.Manifest
	m.Scope = scope
	m.LeftOut = slices.DeleteFunc(slices.Clone(m.LeftOut), rows.concernsOthers)
	return snap.Only(m, rows.filter), nil
}
