package dbsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// scopeFound is what the scope came to.
type scopeFound struct {
	snapfile.Scope
	inScope    idset.Set // tags
	deleted    idset.Set // tags of everything that do not exist at E: only their revoked rows are wanted
	named      idset.Set // builds
	unmatched  []string
	incomplete []scope.IncompleteBuild
}

// tagRows are what tags are, at E.
type tagRows struct {
	names   map[int64]string
	there   map[int64]bool    // with a configuration at E: others are deleted, or not made yet
	parents map[int64][]int64 // by child
}

// UnknownTagError says that a source has no such tag at the event of the pull.
type UnknownTagError struct {
	Kind  string
	Tag   string
	Event int64
}

func (e *UnknownTagError) Error() string {
	return fmt.Sprintf("the %s has no tag %q at event %d", e.Kind, e.Tag, e.Event)
}

// findScope finds the tags and builds that belong to the scope.
func (r *run) findScope(ctx context.Context) error {
	tags, err := r.readTags(ctx)
	if err != nil {
		return err
	}
	asked, err := r.chooseTags(tags)
	if err != nil {
		return err
	}
	modules, err := r.findBuilds(ctx)
	if err != nil {
		return err
	}
	for _, id := range asked {
		r.scope.Tags = append(r.scope.Tags, tags.names[id])
	}
	slices.Sort(r.scope.Tags)
	r.scope.Tags = slices.Compact(r.scope.Tags)
	if !r.tags.IsNames() {
		r.scope.Asked = r.opt.Tags
	}
	if r.opt.NoContentTags {
		r.inherit(tags, asked)
	} else if err := r.followContent(ctx, tags, asked, modules); err != nil {
		return err
	}
	if err := r.followPast(ctx, tags); err != nil {
		return err
	}
	for id := range r.scope.inScope.All() {
		r.scope.All = append(r.scope.All, snapfile.Tag{ID: id, Name: tags.names[id]})
	}
	r.opt.Log.InfoContext(ctx, "scope", "event", r.event, "tags", len(r.scope.All), "content", len(r.scope.ContentTags()), "asked", strings.Join(r.scope.Tags, ","))
	return nil
}

// readTags reads all tags.
func (r *run) readTags(ctx context.Context) (*tagRows, error) {
	tags := &tagRows{map[int64]string{}, map[int64]bool{}, map[int64][]int64{}}
	err := r.each(ctx, query{relation: "tag"}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		tags.names[id] = string(row[1])
		return err
	})
	if err != nil {
		return nil, err
	}
	atE := &Window{Since: r.event, Until: r.event}
	err = r.each(ctx, query{relation: "tag_config", columns: []string{"tag_id"}, window: atE}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		tags.there[id] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.each(ctx, query{relation: "tag_inheritance", columns: []string{"tag_id", "parent_id"}, window: atE}, func(row [][]byte) error {
		child, err := idset.Parse(row[0])
		parent, err2 := idset.Parse(row[1])
		tags.parents[child] = append(tags.parents[child], parent)
		return errors.Join(err, err2)
	})
	return tags, err
}

// chooseTags returns the tags that are asked for: each name must be one at E, a pattern may choose none.
func (r *run) chooseTags(tags *tagRows) (asked []int64, err error) {
	missing := map[string]bool{}
	for _, name := range r.tags.Names() {
		missing[name] = true
	}
	var names []string // that patterns match
	for id, name := range tags.names {
		if !tags.there[id] {
			continue
		}
		if tagged.IsTagName(name) && r.tags.Matches(name) {
			names = append(names, name)
		}
		if missing[name] || tagged.IsTagName(name) && r.tags.Has(name) {
			delete(missing, name)
			asked = append(asked, id)
		}
	}
	for _, name := range r.tags.Names() {
		if missing[name] {
			return nil, &UnknownTagError{r.kind, name, r.event}
		}
	}
	if len(asked) == 0 {
		return nil, fmt.Errorf("the %s has no tag at event %d that is chosen by %q: correct the patterns of the tags that are pulled", r.kind, r.event, r.opt.Tags)
	}
	r.scope.unmatched = r.tags.Unmatched(names)
	slices.Sort(asked)
	return asked, nil
}

// inherit adds tags, and all that they inherit at E, to the scope, and returns those that were not in it. Links are
// followed without regard to depth limits and filters: every tag of the scope must itself answer as in production.
func (r *run) inherit(tags *tagRows, heads []int64) (added []int64) {
	for level := heads; len(level) > 0; {
		var next []int64
		for _, id := range level {
			if !r.scope.inScope.Has(id) {
				r.scope.inScope.Add(id)
				added = append(added, id)
				next = append(next, tags.parents[id]...)
			}
		}
		level = next
	}
	return added
}

// namedBuild is a build that is asked for by name.
type namedBuild struct {
	snapfile.NamedBuild
	state int64
	extra []byte
}

// findBuilds finds the builds asked for by name, puts them into the scope, and returns the modules among them.
func (r *run) findBuilds(ctx context.Context) (modules []namedBuild, err error) {
	if len(r.opt.Builds) == 0 {
		return nil, nil
	}
	byID, byNVR := map[int64]string{}, map[string]bool{}
	for _, name := range r.opt.Builds {
		if err := scope.CheckBuildName(name); err != nil {
			return nil, err
		}
		if id, err := strconv.ParseInt(name, 10, 32); err == nil {
			byID[id] = name
		} else {
			byNVR[name] = true
		}
	}
	found := map[int64]namedBuild{}
	if err := r.findNVRs(ctx, byNVR, found); err != nil {
		return nil, err
	}
	// A draft that an earlier pull found by its name may have another by now.
	if err := r.findRenamed(ctx, byNVR, byID); err != nil {
		return nil, err
	}
	if err := r.findIDs(ctx, byID, found); err != nil {
		return nil, err
	}
	unknown := []string{}
	for name := range byNVR {
		unknown = append(unknown, name)
	}
	for _, name := range byID {
		unknown = append(unknown, name)
	}
	if slices.Sort(unknown); len(unknown) > 0 {
		return nil, &scope.UnknownBuildError{Hub: r.opt.Hub, Builds: unknown}
	}
	for _, b := range found {
		r.scope.Builds = append(r.scope.Builds, b.NamedBuild)
		r.scope.named.Add(b.ID)
		if b.state != tagged.Complete {
			r.scope.incomplete = append(r.scope.incomplete, scope.IncompleteBuild{ID: b.ID, Build: b.Name(), State: tagged.StateName(b.state)})
		}
		if isModule(b.extra) {
			modules = append(modules, b)
		}
	}
	slices.SortFunc(r.scope.Builds, func(a, b snapfile.NamedBuild) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(r.scope.incomplete, func(a, b scope.IncompleteBuild) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(modules, func(a, b namedBuild) int { return cmp.Compare(a.ID, b.ID) })
	return modules, nil
}

// findNVRs finds builds by NVR, and takes their names out of names.
func (r *run) findNVRs(ctx context.Context, names map[string]bool, found map[int64]namedBuild) error {
	if len(names) == 0 {
		return nil
	}
	prefixes := map[string]bool{}
	for nvr := range names {
		name := nvr[:strings.LastIndexByte(nvr, '-')]
		prefixes[name[:strings.LastIndexByte(name, '-')]] = true
	}
	packages, err := r.packages(ctx, nil, func(name string) bool { return prefixes[name] })
	if err != nil {
		return err
	}
	var ids idset.Set
	for id := range packages {
		ids.Add(id)
	}
	return r.eachBuild(ctx, &Where{"pkg_id", toBitmap(&ids)}, packages, func(b namedBuild) error {
		if names[b.NVR] {
			delete(names, b.NVR)
			b.Asked = b.NVR
			found[b.ID] = b
		}
		return nil
	})
}

// findRenamed takes names out of names that an earlier pull found, and puts the ids that it found into ids.
func (r *run) findRenamed(ctx context.Context, names map[string]bool, ids map[int64]string) error {
	if len(names) == 0 {
		return nil
	}
	all, err := repository.SnapshotsFunc(ctx, r.store, func(error) error { return nil }) // those that will do
	if err != nil {
		return err
	}
	for _, snap := range all { // the latest first
		for _, b := range snap.Manifest.Scope.Builds {
			if snap.Manifest.Hub == r.opt.Hub && names[b.Asked] {
				delete(names, b.Asked)
				ids[b.ID] = b.Asked
			}
		}
	}
	return nil
}

// findIDs finds builds by id, and takes these out of ids.
func (r *run) findIDs(ctx context.Context, ids map[int64]string, found map[int64]namedBuild) error {
	var wanted idset.Set
	for id := range ids {
		wanted.Add(id)
	}
	var of idset.Set // packages
	where := &Where{"id", toBitmap(&wanted)}
	err := r.each(ctx, query{relation: "build", columns: []string{"pkg_id"}, where: where}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		of.Add(id)
		return err
	})
	if err != nil {
		return err
	}
	packages, err := r.packages(ctx, &Where{"id", toBitmap(&of)}, func(string) bool { return true })
	if err != nil {
		return err
	}
	return r.eachBuild(ctx, where, packages, func(b namedBuild) error {
		b.Asked = ids[b.ID]
		delete(ids, b.ID)
		if _, twice := found[b.ID]; !twice { // it may be asked for by its name, too
			found[b.ID] = b
		}
		return nil
	})
}

// packages reads names of packages.
func (r *run) packages(ctx context.Context, where *Where, wanted func(name string) bool) (map[int64]string, error) {
	names := map[int64]string{}
	err := r.each(ctx, query{relation: "package", where: where}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if name := string(row[1]); wanted(name) {
			names[id] = name
		}
		return err
	})
	return names, err
}

// eachBuild reads builds with their names.
func (r *run) eachBuild(ctx context.Context, where *Where, packages map[int64]string, fn func(b namedBuild) error) error {
	columns := []string{"id", "pkg_id", "version", "release", "state", "extra"}
	return r.each(ctx, query{relation: "build", columns: columns, where: where}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		pkg, err2 := idset.Parse(row[1])
		state, err3 := idset.Parse(row[4])
		if err := errors.Join(err, err2, err3); err != nil {
			return fmt.Errorf("build: %w", err)
		}
		b := namedBuild{state: state, extra: slices.Clone(row[5])}
		b.ID, b.NVR = id, fmt.Sprintf("%s-%s-%s", packages[pkg], row[2], row[3])
		return fn(b)
	})
}
