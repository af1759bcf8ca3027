package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagged"
)

// changesOf compares the snapshot that the database holds with the one that it held before or, if that is not in the
// store any longer, with the snapshot's parent. Without an earlier one there is nothing to tell.
func changesOf(ctx context.Context, s store.Store, run *book.Run) (*Changes, error) {
	b, err := repository.Open(ctx, s, run.Snapshot)
	if err != nil {
		return nil, err
	}
	before := b.Manifest.Parent
	if run.Report != nil && run.Report.Base != "" && run.Report.Base != b.ID {
		before = run.Report.Base
	}
	if before == "" {
		return nil, nil
	}
	a, err := repository.Open(ctx, s, before)
	if errors.Is(err, repository.ErrNoSnapshot) && before != b.Manifest.Parent && b.Manifest.Parent != "" {
		a, err = repository.Open(ctx, s, b.Manifest.Parent)
	}
	if errors.Is(err, repository.ErrNoSnapshot) {
		return nil, fmt.Errorf("snapshot %s, which came before %s, was pruned", before, b.ID)
	}
	if err != nil {
		return nil, err
	}
	return compareBuilds(ctx, a, b)
}

// change is what became of one build.
type change struct {
	into, from map[int64]bool // tags
	made       bool           // after the older snapshot's event
}

// compareBuilds finds which builds of tags differ between two snapshots. It reads the taggings of both once, and
// builds and packages once; only what differs is kept.
func compareBuilds(ctx context.Context, a, b *snapfile.Snapshot) (*Changes, error) {
	changes := map[int64]*change{}
	err := eachDifference(ctx, a, b, "tag_listing", func(r *relation.Relation, was, is [][]byte) {
		note := func(row [][]byte, tags func(c *change) map[int64]bool) {
			if row == nil {
				return
			}
			build, tag := number(row[r.Index("build_id")]), number(row[r.Index("tag_id")])
			if changes[build] == nil {
				changes[build] = &change{into: map[int64]bool{}, from: map[int64]bool{}}
			}
			tags(changes[build])[tag] = true
		}
		note(was, func(c *change) map[int64]bool { return c.from })
		note(is, func(c *change) map[int64]bool { return c.into })
	})
	if err != nil {
		return nil, err
	}
	for id, c := range changes { // tagged again is no change
		for tag := range c.into {
			if c.from[tag] {
				delete(c.into, tag)
				delete(c.from, tag)
			}
		}
		if len(c.into)+len(c.from) == 0 {
			delete(changes, id)
		}
	}
	result := &Changes{From: a.ID, To: b.ID, FromEvent: a.Manifest.Event, FromTime: a.Manifest.EventTime, Event: b.Manifest.Event, EventTime: b.Manifest.EventTime}
	if len(changes) == 0 {
		return result, nil
	}
	names, err := buildNames(ctx, changes, a, b)
	if err != nil {
		return nil, err
	}
	still := map[int64]bool{} // in some tag
	err = tagged.Each(ctx, b, "tag_listing", func(r tagged.Row) {
		if id := r.Int("build_id"); changes[id] != nil {
			still[id] = true
		}
	})
	if err != nil {
		return nil, err
	}
	tags := map[int64]string{}
	for _, snap := range []*snapfile.Snapshot{a, b} {
		for _, t := range snap.Manifest.Scope.All {
			tags[t.ID] = t.Name
		}
	}
	for id, c := range changes {
		list := &result.Added
		switch {
		case c.made:
			list = &result.New
		case !still[id]:
			list = &result.Gone
		case len(c.into) > 0 && len(c.from) > 0:
			list = &result.Moved
		}
		list.Builds = append(list.Builds, BuildChange{Build: names[id], Into: tagNames(tags, c.into), From: tagNames(tags, c.from)})
	}
	for _, list := range []*BuildList{&result.New, &result.Gone, &result.Moved, &result.Added} {
		list.cut()
	}
	return result, nil
}

// buildNames returns the N-V-Rs of changed builds, as the newer snapshot has them or else the older one, and notes
// which were made since the older one.
func buildNames(ctx context.Context, changes map[int64]*change, a, b *snapfile.Snapshot) (map[int64]string, error) {
	type row struct {
		pkg              int64
		version, release string
	}
	names := map[int64]string{}
	for _, snap := range []*snapfile.Snapshot{a, b} {
		rows, packages := map[int64]row{}, map[int64]string{}
		err := tagged.Each(ctx, snap, "build", func(r tagged.Row) {
			if id := r.Int("id"); changes[id] != nil {
				changes[id].made = r.Int("create_event") > a.Manifest.Event
				rows[id] = row{r.Int("pkg_id"), r.Text("version"), r.Text("release")}
				packages[r.Int("pkg_id")] = ""
			}
		})
		if err != nil {
			return nil, err
		}
		err = tagged.Each(ctx, snap, "package", func(r tagged.Row) {
			if _, wanted := packages[r.Int("id")]; wanted {
				packages[r.Int("id")] = r.Text("name")
			}
		})
		if err != nil {
			return nil, err
		}
		for id, x := range rows {
			names[id] = packages[x.pkg] + "-" + x.version + "-" + x.release
		}
	}
	for id := range changes {
		names[id] = cmp.Or(names[id], fmt.Sprintf("build %d", id))
	}
	return names, nil
}

// eachDifference calls each for the rows of a relation that differ, nil for the side that has none.
func eachDifference(ctx context.Context, a, b *snapfile.Snapshot, name string, each func(r *relation.Relation, was, is [][]byte)) error {
	if slices.Equal(a.Relation(name).Segments, b.Relation(name).Segments) {
		return nil // the same bytes
	}
	both := snapfile.Compare(ctx, a, b, name)
	defer both.Close()
	for both.Next() {
		was, is, err := both.Fields()
		if err != nil {
			return err
		}
		each(relation.Get(name), was, is)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return both.Err()
}

func number(field []byte) int64 {
	n, _ := strconv.ParseInt(string(field), 10, 64)
	return n
}

func tagNames(names map[int64]string, ids map[int64]bool) (list []string) {
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		list = append(list, cmp.Or(names[id], fmt.Sprintf("tag %d", id)))
	}
	slices.Sort(list)
	return list
}

func (l *BuildList) cut() {
	slices.SortFunc(l.Builds, func(a, b BuildChange) int { return cmp.Compare(a.Build, b.Build) })
	l.Total = len(l.Builds)
	l.Builds = slices.Clip(l.Builds[:min(l.Total, MaxRows)])
}
