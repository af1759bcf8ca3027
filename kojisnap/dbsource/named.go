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
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagged"
)

// namedBuild is a build that is asked for by name.
type namedBuild struct {
	snapfile.NamedBuild
	state int64
	extra []byte
}

// buildFinder finds the builds that are asked for by name.
type buildFinder struct {
	*reader
	hub    string
	builds []string // NVRs and ids
	store  store.Store
}

// find finds the builds, puts them into a scope, and returns the modules among them.
func (f buildFinder) find(ctx context.Context, scopeOf *scopeFound) (modules []namedBuild, err error) {
	if len(f.builds) == 0 {
		return nil, nil
	}
	byID, byNVR := map[int64]string{}, map[string]bool{}
	for _, name := range f.builds {
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
	if err := f.findNVRs(ctx, byNVR, found); err != nil {
		return nil, err
	}
	// A draft that an earlier pull found by its name may have another by now.
	if err := f.findRenamed(ctx, byNVR, byID); err != nil {
		return nil, err
	}
	if err := f.findIDs(ctx, byID, found); err != nil {
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
		return nil, &scope.UnknownBuildError{Hub: f.hub, Builds: unknown}
	}
	for _, b := range found {
		scopeOf.Builds = append(scopeOf.Builds, b.NamedBuild)
		scopeOf.named.Add(b.ID)
		if b.state != tagged.Complete {
			scopeOf.incomplete = append(scopeOf.incomplete, scope.IncompleteBuild{ID: b.ID, Build: b.Name(), State: tagged.StateName(b.state)})
		}
		if isModule(b.extra) {
			modules = append(modules, b)
		}
	}
	slices.SortFunc(scopeOf.Builds, func(a, b snapfile.NamedBuild) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(scopeOf.incomplete, func(a, b scope.IncompleteBuild) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(modules, func(a, b namedBuild) int { return cmp.Compare(a.ID, b.ID) })
	return modules, nil
}

// findNVRs finds builds by NVR, and takes their names out of names.
func (f buildFinder) findNVRs(ctx context.Context, names map[string]bool, found map[int64]namedBuild) error {
	if len(names) == 0 {
		return nil
	}
	prefixes := map[string]bool{}
	for nvr := range names {
		name := nvr[:strings.LastIndexByte(nvr, '-')]
		prefixes[name[:strings.LastIndexByte(name, '-')]] = true
	}
	packages, err := f.packages(ctx, nil, func(name string) bool { return prefixes[name] })
	if err != nil {
		return err
	}
	var ids idset.Set
	for id := range packages {
		ids.Add(id)
	}
	return f.eachBuild(ctx, &Where{"pkg_id", toBitmap(&ids)}, packages, func(b namedBuild) error {
		if names[b.NVR] {
			delete(names, b.NVR)
			b.Asked = b.NVR
			found[b.ID] = b
		}
		return nil
	})
}

// findRenamed takes names out of names that an earlier pull found, and puts the ids that it found into ids.
func (f buildFinder) findRenamed(ctx context.Context, names map[string]bool, ids map[int64]string) error {
	if len(names) == 0 {
		return nil
	}
	all, err := repository.SnapshotsFunc(ctx, f.store, func(error) error { return nil }) // those that will do
	if err != nil {
		return err
	}
	for _, snap := range all { // the latest first
		for _, b := range snap.Manifest.Scope.Builds {
			if snap.Manifest.Hub == f.hub && names[b.Asked] {
				delete(names, b.Asked)
				ids[b.ID] = b.Asked
			}
		}
	}
	return nil
}

// findIDs finds builds by id, and takes these out of ids.
func (f buildFinder) findIDs(ctx context.Context, ids map[int64]string, found map[int64]namedBuild) error {
	var wanted idset.Set
	for id := range ids {
		wanted.Add(id)
	}
	var of idset.Set // packages
	where := &Where{"id", toBitmap(&wanted)}
	err := f.each(ctx, query{relation: "build", columns: []string{"pkg_id"}, where: where}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		of.Add(id)
		return err
	})
	if err != nil {
		return err
	}
	packages, err := f.packages(ctx, &Where{"id", toBitmap(&of)}, func(string) bool { return true })
	if err != nil {
		return err
	}
	return f.eachBuild(ctx, where, packages, func(b namedBuild) error {
		b.Asked = ids[b.ID]
		delete(ids, b.ID)
		if _, twice := found[b.ID]; !twice { // it may be asked for by its name, too
			found[b.ID] = b
		}
		return nil
	})
}

// packages reads names of packages.
func (f buildFinder) packages(ctx context.Context, where *Where, wanted func(name string) bool) (map[int64]string, error) {
	names := map[int64]string{}
	err := f.each(ctx, query{relation: "package", where: where}, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if name := string(row[1]); wanted(name) {
			names[id] = name
		}
		return err
	})
	return names, err
}

// eachBuild reads builds with their names.
func (f buildFinder) eachBuild(ctx context.Context, where *Where, packages map[int64]string, fn func(b namedBuild) error) error {
	columns := []string{"id", "pkg_id", "version", "release", "state", "extra"}
	return f.each(ctx, query{relation: "build", columns: columns, where: where}, func(row [][]byte) error {
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
