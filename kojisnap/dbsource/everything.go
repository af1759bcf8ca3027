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

// findEverything finds all tags that exist at E, or were deleted since the rows that were revoked are kept.
func (r *run) findEverything(ctx context.Context) error {
	names := map[int64]string{}
	err := r.each(ctx, query{relation: "tag"}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		names[id] = string(row[1])
		return err
	})
	if err != nil {
		return err
	}
	var there idset.Set // at E
	window := &Window{Since: r.since, Until: r.event}
	err = r.each(ctx, query{relation: "tag_config", columns: []string{"tag_id", "create_event", "revoke_event"}, window: window}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		r.scope.inScope.Add(id)
		_, revoked, err := eventsOf(row[1], row[2])
		if revoked == 0 || revoked > r.event {
			there.Add(id)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range r.scope.inScope.Without(&there) {
		r.scope.deleted.Add(id)
	}
	r.scope.All = []snapfile.Tag{}
	for id := range r.scope.inScope.All() {
		r.scope.All = append(r.scope.All, snapfile.Tag{ID: id, Name: names[id]})
	}
	r.opt.Log.InfoContext(ctx, "scope: everything", "event", r.event, "tags", len(r.scope.All))
	return nil
}

// everythingSteps are those of read, for everything.
func (r *run) everythingSteps() []func(context.Context) error {
	return []func(context.Context) error{
		r.readAllTagged, r.readEvents, r.readAllBuilds, r.fill, r.readAllParts, r.readComponents, r.fill, r.readAllNames,
	}
}

// sift returns a function that scans a relation whole, and adds the rows whose id in a column is wanted; nil: all.
func (r *run) sift(name, column string, wanted func(id int64) bool) func(context.Context) error {
	rel := relation.Get(name)
	q := query{relation: name, pieces: rel.Columns[0].Name}
	if rel.Versioned {
		q.window = &Window{Since: r.since, Until: r.event}
	}
	if wanted == nil {
		return func(ctx context.Context) error {
			return r.each(ctx, q, func(row [][]byte) error { return r.put(name, row) })
		}
	}
	at := rel.Index(column)
	return func(ctx context.Context) error {
		return r.each(ctx, q, func(row [][]byte) error {
			if row[at] == nil {
				return nil
			}
			id, err := idset.Parse(row[at])
			if err != nil || !wanted(id) {
				return err
			}
			return r.put(name, row)
		})
	}
}

// siftAll is sift for several relations.
func (r *run) siftAll(names []string, column string, wanted func(id int64) bool) (steps []func(context.Context) error) {
	for _, name := range names {
		steps = append(steps, r.sift(name, column, wanted))
	}
	return steps
}

// readAllTagged reads the versioned relations.
func (r *run) readAllTagged(ctx context.Context) error {
	steps := r.siftAll(ofTags, "tag_id", r.scope.inScope.Has)
	return together(ctx, append(steps, r.readTargets, r.sift("external_repo_config", "", nil))...)
}

// readAllBuilds reads the builds that are complete or tagged, with their types, rpms and archives.
func (r *run) readAllBuilds(ctx context.Context) error {
	builds := r.builder.Referred("build")
	rel := relation.Get("build")
	state, created := rel.Index("state"), rel.Index("create_event")
	q := query{relation: "build", pieces: "id"}
	err := r.each(ctx, q, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		event, err := idset.Parse(row[created])
		if err != nil {
			return err
		}
		complete := string(row[state]) == "1" && event <= r.event
		r.mu.Lock()
		wanted := complete || builds.Has(id)
		if wanted {
			builds.Add(id)
		}
		r.mu.Unlock()
		if !wanted {
			return nil
		}
		return r.put("build", row)
	})
	if err != nil {
		return err
	}
	left, err := r.leftBuilds(ctx, builds)
	if err != nil {
		return err
	}
	steps := append(r.siftAll(ofBuilds, "build_id", builds.Has), r.sift("rpminfo", "build_id", builds.Has), r.sift("archiveinfo", "build_id", builds.Has))
	return together(ctx, append(steps, func(ctx context.Context) error { return r.readLeft(ctx, left) })...)
}

// readAllParts is readParts for everything.
func (r *run) readAllParts(ctx context.Context) error {
	rpms, archives := r.builder.Added("rpminfo"), r.builder.Added("archiveinfo")
	steps := append(r.siftAll(typed, "archive_id", archives.Has), r.sift("rpmsigs", "rpm_id", rpms.Has),
		r.sift("archive_rpm_components", "archive_id", archives.Has), r.sift("archive_components", "archive_id", archives.Has))
	if slices.Contains(r.optional, checksums) {
		steps = append(steps, r.takeCache(checksums, rpms))
	}
	return together(ctx, steps...)
}

// readAllNames reads all packages, the small relations without events, and of names and events those that are
// referred to.
func (r *run) readAllNames(ctx context.Context) error {
	steps := append(r.takeAll(wholeOnes, "", nil), r.sift("package", "", nil))
	for _, name := range named {
		if name != "package" {
			steps = append(steps, r.sift(name, "id", r.builder.Referred(name).Has))
		}
	}
	return together(ctx, steps...)
}
