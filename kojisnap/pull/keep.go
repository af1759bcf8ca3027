package pull

import (
	"context"
	"errors"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// fold finds, children first, what the rows that are carried over refer to.
func (p *puller) fold(ctx context.Context, names ...string) error {
	c := p.carry
	for _, name := range names {
		rel := relation.Get(name)
		keep := p.keeps(rel)
		build := rel.Index("build_id")
		err := snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
			kept, err := keep(row)
			if err != nil || !kept {
				return err
			}
			if name == "rpminfo" && row[build] != nil {
				rpm, err := idset.Parse(row[0])
				of, err2 := idset.Parse(row[build])
				if err = errors.Join(err, err2); err != nil {
					return err
				}
				if c.carriesBuild(of) {
					c.rpms.Add(rpm)
				}
			}
			if rel.Key[0] == "id" {
				id, err := idset.Parse(row[0])
				if err != nil || p.builder.Has(name, id) {
					return err // the hub's row takes its place: an owner who was is none
				}
			}
			return p.builder.ReferFrom(rel, row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// carryArchives finds which archives of tagged builds are carried over.
func (p *puller) carryArchives(ctx context.Context) error {
	rel := relation.Get("archiveinfo")
	build := rel.Index("build_id")
	return snapshot.EachRow(ctx, p.carry.base, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		of, err2 := idset.Parse(row[build])
		if p.carry.carriesBuild(of) {
			p.carry.archives.Add(id)
		}
		return errors.Join(err, err2)
	})
}

// carriesBuild reports whether a tagged build is carried over with all that belongs to it.
func (c *carry) carriesBuild(id int64) bool { return c.tagged.Has(id) && !c.ask.Has(id) }

// keeps returns what says which of the base's rows of a relation are carried over, unless rows
// of the same key came from the hub.
func (p *puller) keeps(rel *relation.Relation) func(row [][]byte) (bool, error) {
	c := p.carry
	if c == nil {
		return func([][]byte) (bool, error) { return false, nil }
	}
	// by tells by the id in one column.
	by := func(column string, tell func(id int64) bool) func([][]byte) (bool, error) {
		at := rel.Index(column)
		return func(row [][]byte) (bool, error) {
			id, err := idset.Parse(row[at])
			return err == nil && tell(id), err
		}
	}
	refers := func(id int64) bool { return p.builder.Refers(rel.Name, id) }
	switch rel.Name {
	case "events", "package", "tag", "build_target", "external_repo", "groups", "content_generator", "build":
		return by("id", refers)
	case "build_types", "maven_builds", "win_builds", "image_builds":
		return by("build_id", func(id int64) bool { return p.builder.Refers("build", id) && !p.builder.Has("build", id) })
	case "rpminfo", "archiveinfo":
		ofBuild := by("build_id", c.carriesBuild)
		wanted := by("id", refers)
		at := rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			if row[at] != nil {
				if kept, err := ofBuild(row); kept || err != nil {
					return kept, err
				}
			}
			return wanted(row)
		}
	case "rpmsigs":
		return by("rpm_id", c.rpms.Has)
	case "maven_archives", "win_archives", "image_archives":
		return by("archive_id", func(id int64) bool {
			return !p.builder.Has("archiveinfo", id) && (c.archives.Has(id) || p.builder.Refers("archiveinfo", id))
		})
	case "archive_rpm_components", "archive_components":
		return by("archive_id", c.archives.Has)
	}
	if tag := rel.Index("tag_id"); rel.Versioned && tag >= 0 {
		created, build := rel.Index("create_event"), rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			id, err := idset.Parse(row[tag])
			event, err2 := idset.Parse(row[created])
			kept := p.inScope[id] && c.tags[id] && event <= c.after && !c.revoked[snapshot.RowKey(rel, row)]
			if kept && build >= 0 {
				of, err := idset.Parse(row[build])
				if err != nil || c.recheck.Has(of) {
					return false, err
				}
			}
			return kept, errors.Join(err, err2)
		}
	}
	return func([][]byte) (bool, error) { return false, nil } // asked for whole
}

// Keeps implements snapshot.Keeper.
func (p *puller) Keeps(rel *relation.Relation) func(row [][]byte) (bool, error) { return p.keeps(rel) }

// KeepsRevoked implements snapshot.Keeper.
func (p *puller) KeepsRevoked(rel *relation.Relation) func(row [][]byte) (bool, error) {
	return p.keepsRevoked(rel)
}
