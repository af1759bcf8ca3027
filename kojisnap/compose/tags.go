package compose

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
	"kojisnap/kojisnap/tagglob"
)

// tags returns the names of the tags that composes ask for, sorted. If w names no tags, or the same as the
// pull, these are the pull's tags and all content tags; else the chosen tags, and the content tags of their
// modules. Names that the snapshot does not have are included. If nothing at all is chosen, that is an
// *UnknownError. view may be nil unless needsView says otherwise.
func (w Want) tags(view *tagged.View, snap *snapfile.Snapshot) ([]string, error) {
	set, err := tagglob.Parse(w.Tags)
	if err != nil {
		return nil, fmt.Errorf("tag %w", err)
	}
	scope := snap.Manifest.Scope
	if len(w.Tags) == 0 || slices.Equal(set.List(), scope.AskedFor()) {
		return scope.Composed(), nil
	}
	wanted := slices.Clone(set.Names())
	for _, t := range scope.All {
		if set.Has(t.Name) {
			wanted = append(wanted, t.Name)
		}
	}
	if w.needsView(snap) {
		wanted = withContent(view, scope.Content, wanted)
	}
	if len(wanted) == 0 {
		names := func(yield func(string) bool) {
			for _, t := range scope.All {
				if !yield(t.Name) {
					return
				}
			}
		}
		return nil, &UnknownError{[]error{fmt.Errorf("snapshot %s has no tag that is chosen by %q; it has %s", snap.ID, w.Tags, someOf(names))}}
	}
	slices.Sort(wanted)
	return slices.Compact(wanted), nil
}

// needsView reports whether tags can be told only by the snapshot's rows.
func (w Want) needsView(snap *snapfile.Snapshot) bool {
	return len(w.Tags) > 0 && len(snap.Manifest.Scope.ContentTags()) > 0
}

// withContent adds to tags the content tags of the module builds in them, and those of the module builds in
// these, until none is missing.
func withContent(view *tagged.View, content []snapfile.Content, tags []string) []string {
	of := map[int64]string{}
	for _, c := range content {
		if c.Follows() {
			of[c.Build] = c.Tag
		}
	}
	seen := map[string]bool{}
	for len(tags) > len(seen) {
		for _, tag := range tags {
			if seen[tag] {
				continue
			}
			seen[tag] = true
			id, there := view.Tags[tag]
			if !there {
				continue
			}
			for _, b := range view.PossibleBuilds(id, true, false) {
				if name, ok := of[b.ID]; ok && !slices.Contains(tags, name) {
					tags = append(tags, name)
				}
			}
		}
		slices.Sort(tags)
		tags = slices.Compact(tags)
	}
	return tags
}

// UnmatchedPatterns returns the patterns of Tags that match no tag of a snapshot. If Tags are the pull's, it
// returns none: the pull reported them.
func (w Want) UnmatchedPatterns(snap *snapfile.Snapshot) []string {
	set, err := tagglob.Parse(w.Tags)
	if err != nil || slices.Equal(set.List(), snap.Manifest.Scope.AskedFor()) {
		return nil
	}
	var names []string
	for _, t := range snap.Manifest.Scope.All {
		names = append(names, t.Name)
	}
	return set.Unmatched(names)
}

// Resolve returns w with the names of the tags in Tags that composes of a snapshot ask for, in the place of
// patterns, or of no tags: content tags are added as Want says. Names are not checked; Check does that.
func (w Want) Resolve(ctx context.Context, snap *snapfile.Snapshot) (Want, error) {
	var view *tagged.View
	var err error
	if w.needsView(snap) {
		if view, err = tagged.Read(ctx, snap); err != nil {
			return w, err
		}
	}
	if w.Tags, err = w.tags(view, snap); err != nil {
		return w, err
	}
	return w, nil
}
