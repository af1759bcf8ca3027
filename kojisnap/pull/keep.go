package pull

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// fold finds, children first, what the rows that are carried over refer to.
func (p *puller) fold(ctx context.Context, names ...string) error {
	c := p.carry
	for _, name := range names {
		rel := relation.Get(name)
		keep := p.keeps(rel)
		build := rel.Index("build_id")
		err := eachRow(ctx, c.base, rel, func(row [][]byte) error {
			kept, err := keep(row)
			if err != nil || !kept {
				return err
			}
			if name == "rpminfo" && row[build] != nil {
				rpm, err := idOf(row[0])
				of, err2 := idOf(row[build])
				if err = errors.Join(err, err2); err != nil {
					return err
				}
				if c.carriesBuild(of) {
					c.rpms.add(rpm)
				}
			}
			if rel.Key[0] == "id" {
				id, err := idOf(row[0])
				if err != nil || p.tables[name].has(id) {
					return err // the hub's row takes its place: an owner who was is none
				}
			}
			return p.refer(rel, row)
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
	return eachRow(ctx, p.carry.base, rel, func(row [][]byte) error {
		id, err := idOf(row[0])
		of, err2 := idOf(row[build])
		if p.carry.carriesBuild(of) {
			p.carry.archives.add(id)
		}
		return errors.Join(err, err2)
	})
}

// carriesBuild reports whether a tagged build is carried over with all that belongs to it.
func (c *carry) carriesBuild(id int64) bool { return c.tagged.has(id) && !c.ask.has(id) }

// keeps returns what says which of the base's rows of a relation are carried over, unless rows
// of the same key came from the hub.
func (p *puller) keeps(rel *relation.Relation) func(row [][]byte) (bool, error) {
	c := p.carry
	if c == nil {
		return func([][]byte) (bool, error) { return false, nil }
	}
	t := p.tables[rel.Name]
	// by tells by the id in one column.
	by := func(column string, tell func(id int64) bool) func([][]byte) (bool, error) {
		at := rel.Index(column)
		return func(row [][]byte) (bool, error) {
			id, err := idOf(row[at])
			return err == nil && tell(id), err
		}
	}
	build, archive := p.tables["build"], p.tables["archiveinfo"]
	switch rel.Name {
	case "events", "package", "tag", "build_target", "external_repo", "groups", "content_generator", "build":
		return by("id", t.wants)
	case "build_types", "maven_builds", "win_builds", "image_builds":
		return by("build_id", func(id int64) bool { return build.wants(id) && !build.has(id) })
	case "rpminfo", "archiveinfo":
		ofBuild := by("build_id", c.carriesBuild)
		wanted := by("id", t.wants)
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
		return by("rpm_id", c.rpms.has)
	case "maven_archives", "win_archives", "image_archives":
		return by("archive_id", func(id int64) bool { return !archive.has(id) && (c.archives.has(id) || archive.wants(id)) })
	case "archive_rpm_components", "archive_components":
		return by("archive_id", c.archives.has)
	}
	if tag := rel.Index("tag_id"); rel.Versioned && tag >= 0 {
		created, build := rel.Index("create_event"), rel.Index("build_id")
		return func(row [][]byte) (bool, error) {
			id, err := idOf(row[tag])
			event, err2 := idOf(row[created])
			kept := p.inScope[id] && c.tags[id] && event <= c.after && !c.revoked[rowKey(rel, row)]
			if kept && build >= 0 {
				of, err := idOf(row[build])
				if err != nil || c.recheck.has(of) {
					return false, err
				}
			}
			return kept, errors.Join(err, err2)
		}
	}
	return func([][]byte) (bool, error) { return false, nil } // asked for whole
}

// eachRow gives the rows of a relation of a snapshot; a row is valid during the call.
func eachRow(ctx context.Context, s *snapfile.Snapshot, rel *relation.Relation, fn func(row [][]byte) error) error {
	return each(s, rel, s.Rows(ctx, rel.Name), fn)
}

// eachRevoked gives the rows of a relation that a snapshot has as revoked.
func eachRevoked(ctx context.Context, s *snapfile.Snapshot, rel *relation.Relation, fn func(row [][]byte) error) error {
	return each(s, rel, s.Revoked(ctx, rel.Name), fn)
}

func each(s *snapfile.Snapshot, rel *relation.Relation, rows *snapfile.Rows, fn func(row [][]byte) error) error {
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
		if err := fn(row); err != nil {
			return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("snapshot %s, %s: %w", s.ID, rel.Name, err)
	}
	return nil
}

func idOf(field []byte) (int64, error) {
	id, err := strconv.ParseInt(string(field), 10, 64)
	if err == nil {
		err = checkID(id)
	}
	return id, err
}

// checkID refuses what no id of Koji's is: they have 32 bits.
func checkID(id int64) error {
	if id != int64(int32(id)) {
		return fmt.Errorf("%d does not fit an integer", id)
	}
	return nil
}
