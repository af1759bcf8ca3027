package dbsource

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Relations by how their rows are found.
var (
	ofTags    = []string{"tag_config", "tag_extra", "tag_inheritance", "tag_packages", "tag_package_owners", "tag_listing", "tag_external_repos", "group_config", "group_req_listing", "group_package_listing"}
	ofBuilds  = []string{"build_types", "maven_builds", "win_builds", "image_builds"}
	typed     = []string{"maven_archives", "win_archives", "image_archives"} // of archives
	checksums = "rpm_checksum"                                               // of rpms, optional
	wholeOnes = []string{"btype", "archivetypes", "permissions", "channels", "volume"}
	named     = []string{"events", "users", "content_generator", "package", "tag", "build_target", "external_repo", "groups"}
)

// read reads all rows: each step those that the rows of the steps before refer to.
func (r *run) read(ctx context.Context) error {
	bar := r.opt.Progress.Begin("read", int64(len(relation.All())))
	defer bar.End()
	r.builder.Refer("events", r.event)
	for id := range r.scope.inScope.All() {
		r.builder.Refer("tag", id)
	}
	for id := range r.scope.named.All() {
		r.builder.Refer("build", id)
	}
	steps := []func(context.Context) error{r.readTagged, r.readEvents, r.readBuilds, r.fill, r.readParts, r.readComponents, r.readRepos, r.fill, r.readNames}
	if r.opt.Everything {
		steps = everything{r}.steps()
	}
	for _, step := range append(steps, r.builder.CloseReferences) {
		if err := step(ctx); err != nil {
			return err
		}
		bar.Add(int64(len(relation.All())) / 10)
	}
	return nil
}

// together runs functions that do not need each other.
func together(ctx context.Context, steps ...func(context.Context) error) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		g.Go(func() error { return step(gctx) })
	}
	return g.Wait()
}

// take returns a function that reads rows of a relation and adds them.
func (r *run) take(name, column string, ids *idset.Set) func(context.Context) error {
	q := query{relation: name}
	if ids != nil {
		q.where = &Where{column, toBitmap(ids)}
	}
	if relation.Get(name).Versioned {
		q.window = &Window{Since: r.since, Until: r.event}
	}
	return func(ctx context.Context) error {
		return r.each(ctx, q, func(row [][]byte) error { return r.put(q.relation, row) })
	}
}

// takeAll is take for several relations.
func (r *run) takeAll(names []string, column string, ids *idset.Set) []func(context.Context) error {
	var steps []func(context.Context) error
	for _, name := range names {
		steps = append(steps, r.take(name, column, ids))
	}
	return steps
}

// readTagged reads the versioned relations of the scope's tags, and the targets.
func (r *run) readTagged(ctx context.Context) error {
	return together(ctx, append(r.takeAll(ofTags, "tag_id", &r.scope.inScope), r.readTargets)...)
}

// readTargets reads the build targets that have a tag of the scope on either side.
func (r *run) readTargets(ctx context.Context) error {
	rel := relation.Get("build_target_config")
	build, dest := rel.Index("build_tag"), rel.Index("dest_tag")
	q := query{relation: rel.Name, window: &Window{Since: r.since, Until: r.event}}
	return r.each(ctx, q, func(row [][]byte) error {
		for _, i := range []int{build, dest} {
			id, err := idset.Parse(row[i])
			if err != nil {
				return err
			}
			if r.scope.inScope.Has(id) {
				return r.put(rel.Name, row)
			}
		}
		return nil
	})
}

// readBuilds reads the builds of the scope with their types, rpms and archives.
func (r *run) readBuilds(ctx context.Context) error {
	builds := r.builder.Referred("build")
	left, err := r.leftBuilds(ctx, builds)
	if err != nil {
		return err
	}
	steps := append(r.takeAll(ofBuilds, "build_id", builds), r.take("build", "id", builds), r.take("rpminfo", "build_id", builds), r.take("archiveinfo", "build_id", builds))
	return together(ctx, append(steps, func(ctx context.Context) error { return r.readLeft(ctx, left) })...)
}

// readParts reads what belongs to rpms and archives: signatures, and what archives consist of.
func (r *run) readParts(ctx context.Context) error {
	rpms, archives := r.builder.Added("rpminfo"), r.builder.Added("archiveinfo")
	steps := append(r.takeAll(typed, "archive_id", archives), r.take("rpmsigs", "rpm_id", rpms),
		r.take("archive_rpm_components", "archive_id", archives), r.take("archive_components", "archive_id", archives))
	if slices.Contains(r.optional, checksums) {
		steps = append(steps, r.takeCache(checksums, rpms))
	}
	return together(ctx, steps...)
}

// takeCache is take for a relation of rpms that staging's hub can make up for: a row that is wrong in itself is dropped.
func (r *run) takeCache(name string, rpms *idset.Set) func(context.Context) error {
	rel := relation.Get(name)
	at := rel.Index("rpm_id")
	q := query{relation: name}
	if !r.opt.Everything {
		q.where = &Where{"rpm_id", toBitmap(rpms)}
	}
	return func(ctx context.Context) error {
		return r.each(ctx, q, func(row [][]byte) error {
			if id, err := idset.Parse(row[at]); err != nil || !rpms.Has(id) {
				return err
			}
			if _, fault := judge(rel, row); fault != nil {
				return nil
			}
			_, err := r.builder.Add(name, row)
			return err
		})
	}
}

// optionalOf are the optional relations that a source has.
func optionalOf(d *Description) (names []string) {
	for _, rel := range relation.Optional() {
		if !slices.ContainsFunc(rel.Columns, func(c relation.Column) bool { return !slices.Contains(d.Columns[rel.Name], c.Name) }) {
			names = append(names, rel.Name)
		}
	}
	return names
}

// readComponents reads the rpms and archives that archives consist of, and the builds of those, no further.
func (r *run) readComponents(ctx context.Context) error {
	rpms, archives := idset.Of(r.builder.Wanted("rpminfo")), idset.Of(r.builder.Wanted("archiveinfo"))
	steps := append(r.takeAll(typed, "archive_id", archives), r.take("rpminfo", "id", rpms), r.take("archiveinfo", "id", archives))
	if err := together(ctx, steps...); err != nil {
		return err
	}
	builds := idset.Of(r.builder.Wanted("build"))
	return together(ctx, append(r.takeAll(ofBuilds, "build_id", builds), r.take("build", "id", builds))...)
}

// readRepos reads the URLs of the external repos that are referred to.
func (r *run) readRepos(ctx context.Context) error {
	return r.take("external_repo_config", "external_repo_id", r.builder.Referred("external_repo"))(ctx)
}

// readNames reads the small relations without events, and the rows of names and events that are referred to.
func (r *run) readNames(ctx context.Context) error {
	steps := r.takeAll(wholeOnes, "", nil)
	for _, name := range named {
		steps = append(steps, r.take(name, "id", r.builder.Referred(name)))
	}
	return together(ctx, steps...)
}

// fill takes what is skipped from the snapshot before, as far as that has it.
func (r *run) fill(ctx context.Context) error { return r.builder.Fill(ctx, r.lastSnapshot) }

// lastSnapshot is the base or, if the pull has none because it pays no regard to it, what would be the base.
func (r *run) lastSnapshot(ctx context.Context) (*snapfile.Snapshot, error) {
	if r.base != nil || !r.opt.Full {
		return r.base, nil
	}
	last, err := r.findBase(ctx)
	if err != nil && ctx.Err() == nil {
		r.opt.Log.WarnContext(ctx, "what production cannot give cannot be looked for in earlier snapshots", "err", err)
		return nil, nil
	}
	return last, err
}
