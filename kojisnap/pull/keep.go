package pull

import (
	"context"
	"errors"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapshot"
)

// keepsBuild reports whether a tagged build is kept from the base with everything that belongs to it.
func (c *incremental) keepsBuild(id int64) bool { return c.tagged.Has(id) && !c.ask.Has(id) }

// Keeps implements snapshot.Keeper: it says which rows of the base are kept, unless the hub gave rows with
// the same key.
func (c *incremental) Keeps(rel *relation.Relation) func(row [][]byte) (bool, error) {
	// by decides by the id in one column.
	by := func(column string, tell func(id int64) bool) func([][]byte) (bool, error) {
		at := rel.Index(column)
		return func(row [][]byte) (bool, error) {
			id, err := idset.Parse(row[at])
			return err == nil && tell(id), err
		}
	}
	refers := func(id int64) bool { return c.builder.Refers(rel.Name, id) }
	switch rel.Name {
	case "events", "package", "tag", "build_target", "external_repo", "groups", "content_generator":
		return by("id", refers)
	case "build":
		return by("id", c.wants)
	case "build_types", "maven_builds", "win_builds", "image_builds":
		return by("build_id", func(id int64) bool { return c.wants(id) && !c.builder.Has("build", id) })
	case "rpminfo", "archiveinfo":
		ofBuild := by("build_id", c.keepsBuild)
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
			return !c.builder.Has("archiveinfo", id) && (c.archives.Has(id) || c.builder.Refers("archiveinfo", id))
		})
	case "archive_rpm_components", "archive_components":
		return by("archive_id", c.archives.Has)
	}
	if tag := rel.Index("tag_id"); rel.Versioned && tag >= 0 {
		created, build := rel.Index("create_event"), rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			id, err := idset.Parse(row[tag])
			event, err2 := idset.Parse(row[created])
			kept := c.found.InScope[id] && !c.found.Deleted.Has(id) && c.tags[id] && event <= c.after && !c.revoked[snapshot.RowKey(rel, row)]
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

// KeepsRevoked implements snapshot.Keeper: it says which revoked rows of the base are kept, unless the hub
// gave rows with the same key.
func (c *incremental) KeepsRevoked(rel *relation.Relation) func(row [][]byte) (bool, error) {
	if c.found.Start == 0 || !rel.Versioned {
		return func([][]byte) (bool, error) { return false, nil }
	}
	revoked, created := rel.Index("revoke_event"), rel.Index("create_event")
	var columns []int
	for i, column := range rel.Columns {
		if column.Ref == "tag" && (column.Name == "tag_id" || rel.Name == "build_target_config") {
			columns = append(columns, i)
		}
	}
	build, repo := rel.Index("build_id"), rel.Index("external_repo_id")
	return func(row [][]byte) (bool, error) {
		at, err := idset.Parse(row[revoked])
		from, err2 := idset.Parse(row[created])
		if err = errors.Join(err, err2); err != nil || at <= c.since || at > c.found.Event || from >= at {
			return false, err
		}
		if build >= 0 { // what is left of a reset build was asked for
			if id, err := idset.Parse(row[build]); err != nil || c.recheck.Has(id) {
				return false, err
			}
		}
		if rel.Name == "external_repo_config" {
			id, err := idset.Parse(row[repo])
			return err == nil && (c.found.Scope.Everything || c.builder.Refers("external_repo", id)), err
		}
		for _, i := range columns {
			id, err := idset.Parse(row[i])
			if err != nil || c.found.InScope[id] {
				return err == nil, err
			}
		}
		return false, nil
	}
}

// eachKeptRevoked calls fn for the kept revoked rows of a relation in the base.
func (c *incremental) eachKeptRevoked(ctx context.Context, rel *relation.Relation, fn func(row [][]byte) error) error {
	if c == nil || c.found.Start == 0 || !rel.Versioned {
		return nil
	}
	keep := c.KeepsRevoked(rel)
	return snapshot.EachRevoked(ctx, c.base, rel, func(row [][]byte) error {
		kept, err := keep(row)
		if err != nil || !kept {
			return err
		}
		return fn(row)
	})
}

// collectRevokedRefs notes what the kept revoked rows refer to.
func (c *incremental) collectRevokedRefs(ctx context.Context, names ...string) error {
	for _, name := range names {
		rel := relation.Get(name)
		if err := c.eachKeptRevoked(ctx, rel, func(row [][]byte) error { return c.builder.ReferFrom(rel, row) }); err != nil {
			return err
		}
	}
	return nil
}

// collectRefs notes what the kept rows refer to, children first.
func (c *incremental) collectRefs(ctx context.Context, names ...string) error {
	for _, name := range names {
		rel := relation.Get(name)
		keep := c.Keeps(rel)
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
				if c.keepsBuild(of) {
					c.rpms.Add(rpm)
				}
			}
			if rel.Key[0] == "id" {
				id, err := idset.Parse(row[0])
				if err != nil || c.builder.Has(name, id) {
					return err // the hub's row replaces it: nothing refers to its former owner
				}
			}
			return c.builder.ReferFrom(rel, row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findArchives finds the archives of tagged builds that are kept.
func (c *incremental) findArchives(ctx context.Context) error {
	rel := relation.Get("archiveinfo")
	build := rel.Index("build_id")
	return snapshot.EachRow(ctx, c.base, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		of, err2 := idset.Parse(row[build])
		if c.keepsBuild(of) {
			c.archives.Add(id)
		}
		return errors.Join(err, err2)
	})
}
