package compose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
	"kojisnap/kojisnap/tagglob"
)

// tags are the tags of a snapshot that composes ask for, sorted: without Tags, or with those that the
// snapshot was asked for, all of these and the content tags; else those that are meant, and the content
// tags of their modules. A name that the snapshot does not have is among them; that nothing is chosen at all
// is an *UnknownError. view may be nil where the snapshot has no content tags; needsView tells.
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
		return nil, &UnknownError{[]error{fmt.Errorf("snapshot %s has no tag that is chosen by %q; it has %s", snap.ID, w.Tags, some(names))}}
	}
	slices.Sort(wanted)
	return slices.Compact(wanted), nil
}

// needsView reports whether tags need the snapshot's rows to be told.
func (w Want) needsView(snap *snapfile.Snapshot) bool {
	return len(w.Tags) > 0 && len(snap.Manifest.Scope.ContentTags()) > 0
}

// withContent adds to tags the content tags of the module builds in them, and of those in these.
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
			for _, b := range WithUndecided(view.Builds(id, true, false)) {
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

// Unmatched are the patterns that choose none of a snapshot's tags. Those of the pull were told by it.
func (w Want) Unmatched(snap *snapfile.Snapshot) []string {
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

// Chosen settles Tags as names.
func (w Want) Chosen(ctx context.Context, snap *snapfile.Snapshot) (Want, error) {
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

// QuotedPatterns are patterns for people.
func QuotedPatterns(patterns []string) string {
	quoted := make([]string, len(patterns))
	for i, p := range patterns {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	text := strings.Join(quoted, ", ")
	if strings.Contains(text, "[") {
		text += " (of patterns Koji's hub knows * and ?; [ stands for itself)"
	}
	return text
}

func WithUndecided(builds []tagged.Build, undecided []*tagged.Undecided) []tagged.Build {
	for _, u := range undecided {
		builds = append(builds, u.Builds...)
	}
	return builds
}
