package narrow

import (
	"context"
	"errors"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
	"kojisnap/kojisnap/tagged"
)

// A snapshot of everything does not say which content tags modules have: no tag had to be looked for. The rows of its
// module builds say it. Of all other builds nothing is kept in memory, as there are millions.

// readAllModules finds all module builds of a snapshot of everything, with their content tags.
func (f *finder) readAllModules(ctx context.Context) error {
	builds, err := f.moduleBuilds(ctx)
	if err != nil || builds.Len() == 0 {
		return err
	}
	var packages idset.Set
	rel := relation.Get("build")
	pkg, extra := rel.Index("pkg_id"), rel.Index("extra")
	err = snapshot.EachRow(ctx, f.snap, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil || !builds.Has(id) {
			return err
		}
		of, err := idset.Parse(row[pkg])
		packages.Add(of)
		f.modules[id] = f.contentOf(id, row[extra])
		return err
	})
	if err != nil {
		return err
	}
	f.view, err = tagged.Read(ctx, f.snap.Only(*f.snap.Manifest, func(rel *relation.Relation, _ bool) func(row [][]byte) (bool, error) {
		switch rel.Name {
		case "build":
			return by(rel, "id", &builds)
		case "tag_listing":
			return by(rel, "build_id", &builds)
		case "package":
			return by(rel, "id", &packages)
		case "tag_packages":
			return by(rel, "package_id", &packages)
		}
		return all
	}))
	if err != nil {
		return err
	}
	for _, b := range f.view.AllBuilds() {
		c := f.modules[b.ID]
		c.NVR = b.NVR()
		f.modules[b.ID] = c
	}
	return nil
}

// contentOf is what a pull finds about the content tag of a module build.
func (f *finder) contentOf(build int64, extra []byte) snapfile.Content {
	c := snapfile.Content{Build: build}
	name, err := tagged.ContentTagInExtra(extra)
	if err != nil {
		c.Missing = oneline.Of(err).Error()
		return c
	}
	c.Tag = name
	if id, there := f.ids[name]; !there || !f.there.Has(id) {
		c.Missing = "production does not have it"
	}
	return c
}

// moduleBuilds are the builds of the type module.
func (f *finder) moduleBuilds(ctx context.Context) (builds idset.Set, err error) {
	var btype idset.Set
	err = snapshot.EachRow(ctx, f.snap, relation.Get("btype"), func(row [][]byte) error {
		if string(row[1]) != "module" {
			return nil
		}
		id, err := idset.Parse(row[0])
		btype.Add(id)
		return err
	})
	if err != nil || btype.Len() == 0 {
		return builds, err
	}
	return builds, snapshot.EachRow(ctx, f.snap, relation.Get("build_types"), func(row [][]byte) error {
		build, err := idset.Parse(row[0])
		of, err2 := idset.Parse(row[1])
		if btype.Has(of) {
			builds.Add(build)
		}
		return errors.Join(err, err2)
	})
}
