package dbsource

import (
	"context"
	"slices"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Everything: what the whole catalogue is at E, as FORMAT.md has it. Tables are scanned whole, and rows that do not
// belong to it are dropped here: a condition on ids would cost more than it saves.

// everything reads the whole catalogue for a run: its scans, and what it wants of their rows.
type everything struct{ run *run }

// findTags finds all tags that exist at E, or were deleted since the rows that were revoked are kept.
func (e everything) findTags(ctx context.Context) error {
	names := map[int64]string{}
	err := e.run.each(ctx, query{relation: "tag"}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		names[id] = string(row[1])
		return err
	})
	if err != nil {
		return err
	}
	var there idset.Set // at E
	window := &Window{Since: e.run.since, Until: e.run.event}
	err = e.run.each(ctx, query{relation: "tag_config", columns: []string{"tag_id", "create_event", "revoke_event"}, window: window}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		e.run.scope.inScope.Add(id)
		_, revoked, err := eventsOf(row[1], row[2])
		if revoked == 0 || revoked > e.run.event {
			there.Add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range e.run.scope.inScope.Without(&there) {
		e.run.scope.deleted.Add(id)
	}
	e.run.scope.All = []snapfile.Tag{}
	for id := range e.run.scope.inScope.All() {
		e.run.scope.All = append(e.run.scope.All, snapfile.Tag{ID: id, Name: names[id]})
	}
	e.run.opt.Log.InfoContext(ctx, "scope: everything", "event", e.run.event, "tags", len(e.run.scope.All))
	return nil
}

// steps are those of read, for everything.
func (e everything) steps() []func(context.Context) error {
	return []func(context.Context) error{
		e.readAllTagged, e.run.readEvents, e.readAllBuilds, e.run.fill, e.readAllParts, e.run.readComponents, e.run.fill, e.readAllNames,
	}
}

// sift returns a function that scans a relation whole, and adds the rows whose id in a column is wanted; nil: all.
func (e everything) sift(name, column string, wanted func(id int64) bool) func(context.Context) error {
	rel := relation.Get(name)
	q := query{relation: name, pieces: rel.Columns[0].Name}
	if rel.Versioned {
		q.window = &Window{Since: e.run.since, Until: e.run.event}
	}
	if wanted == nil {
		return func(ctx context.Context) error {
			return e.run.each(ctx, q, func(row [][]byte) error { return e.run.put(name, row) })
		}
	}
	at := rel.Index(column)
	return func(ctx context.Context) error {
		return e.run.each(ctx, q, func(row [][]byte) error {
			if row[at] == nil {
				return nil
			}
			id, err := idset.Parse(row[at])
			if err != nil || !wanted(id) {
				return err
			}
			return e.run.put(name, row)
		})
	}
}

// siftAll is sift for several relations.
func (e everything) siftAll(names []string, column string, wanted func(id int64) bool) (steps []func(context.Context) error) {
	for _, name := range names {
		steps = append(steps, e.sift(name, column, wanted))
	}
	return steps
}

// readAllTagged reads the versioned relations.
func (e everything) readAllTagged(ctx context.Context) error {
	steps := e.siftAll(ofTags, "tag_id", e.run.scope.inScope.Has)
	return together(ctx, append(steps, e.run.readTargets, e.sift("external_repo_config", "", nil))...)
}

// readAllBuilds reads the builds that are complete or tagged, with their types, rpms and archives.
func (e everything) readAllBuilds(ctx context.Context) error {
	builds := e.run.builder.Referred("build")
	rel := relation.Get("build")
	state, created := rel.Index("state"), rel.Index("create_event")
	q := query{relation: "build", pieces: "id"}
	err := e.run.each(ctx, q, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		event, err := idset.Parse(row[created])
		if err != nil {
			return err
		}
		complete := string(row[state]) == "1" && event <= e.run.event
		e.run.mu.Lock()
		wanted := complete || builds.Has(id)
		if wanted {
			builds.Add(id)
		}
		e.run.mu.Unlock()
		if !wanted {
			return nil
		}
		return e.run.put("build", row)
	})
	if err != nil {
		return err
	}
	left, err := e.run.leftBuilds(ctx, builds)
	if err != nil {
		return err
	}
	steps := append(e.siftAll(ofBuilds, "build_id", builds.Has), e.sift("rpminfo", "build_id", builds.Has), e.sift("archiveinfo", "build_id", builds.Has))
	return together(ctx, append(steps, func(ctx context.Context) error { return e.run.readLeft(ctx, left) })...)
}

// readAllParts is readParts for everything.
func (e everything) readAllParts(ctx context.Context) error {
	rpms, archives := e.run.builder.Added("rpminfo"), e.run.builder.Added("archiveinfo")
	steps := append(e.siftAll(typed, "archive_id", archives.Has), e.sift("rpmsigs", "rpm_id", rpms.Has),
		e.sift("archive_rpm_components", "archive_id", archives.Has), e.sift("archive_components", "archive_id", archives.Has))
	if slices.Contains(e.run.optional, checksums) {
		steps = append(steps, e.run.takeCache(checksums, rpms))
	}
	return together(ctx, steps...)
}

// readAllNames reads all packages, the small relations without events, and of names and events those that are
// referred to.
func (e everything) readAllNames(ctx context.Context) error {
	steps := append(e.run.takeAll(wholeOnes, "", nil), e.sift("package", "", nil))
	for _, name := range named {
		if name != "package" {
			steps = append(steps, e.sift(name, "id", e.run.builder.Referred(name).Has))
		}
	}
	return together(ctx, steps...)
}
