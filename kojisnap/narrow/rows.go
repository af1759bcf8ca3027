package narrow

import (
	"context"
	"fmt"
	"slices"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// rows are those rows of a snapshot that a pull of a scope has: of its tags and builds, and of what these
// refer to.
type rows struct {
	tags     *idset.Set
	tagged   idset.Set             // builds that are or were tagged, or were asked for by name: with everything that belongs to them
	archives idset.Set             // of these builds
	signed   idset.Set             // rpms of these builds: only they have signatures
	refs     map[string]*idset.Set // ids that rows refer to, by relation
	since    int64                 // all events from here on are wanted; 0: only those that rows name
}

// closeOver finds the rows of a scope.
func closeOver(ctx context.Context, snap *snapfile.Snapshot, scope snapfile.Scope) (*rows, error) {
	c := &rows{tags: new(idset.Set), refs: map[string]*idset.Set{}}
	for _, rel := range relation.All() {
		c.refs[rel.Name] = new(idset.Set)
	}
	for _, t := range scope.All {
		c.tags.Add(t.ID)
		c.refs["tag"].Add(t.ID)
	}
	for _, b := range scope.Builds {
		c.tagged.Add(b.ID)
		c.refs["build"].Add(b.ID)
	}
	m := snap.Manifest
	c.refs["events"].Add(m.Event)
	c.findStart(m)
	// Each step finds what later steps select by.
	listing, archive := relation.Get("tag_listing"), relation.Get("archiveinfo")
	if err := c.collect(ctx, snap, listing); err != nil {
		return nil, err
	}
	for id := range c.refs["build"].All() {
		c.tagged.Add(id)
	}
	build := archive.Index("build_id")
	err := snapshot.EachRow(ctx, snap, archive, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err != nil {
			return err
		}
		of, err := idset.Parse(row[build])
		if c.tagged.Has(of) {
			c.archives.Add(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	// Children first, except the config of external repos: which rows of it are wanted depends on what
	// refers to a repo.
	order := []string{"archive_components", "archive_rpm_components", "archiveinfo", "rpminfo", "build_types", "build"}
	for _, rel := range relation.All() {
		if rel.Versioned && rel.Name != "tag_listing" && rel.Name != "external_repo_config" {
			order = append(order, rel.Name)
		}
	}
	for _, name := range append(order, "external_repo_config") {
		if err := c.collect(ctx, snap, relation.Get(name)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// findStart decides which events without a row that names them belong to the snapshot's history.
func (c *rows) findStart(m *snapfile.Manifest) {
	start := historyStart(m)
	if start == 0 {
		return
	}
	c.refs["events"].Add(start)
	if m.Event-start <= snapshot.MaxEvents {
		c.since = start
	}
}

// collect notes what the rows of a relation refer to.
func (c *rows) collect(ctx context.Context, snap *snapfile.Snapshot, rel *relation.Relation) error {
	build := rel.Index("build_id")
	refer := func(filter func([][]byte) (bool, error)) func(row [][]byte) error {
		return func(row [][]byte) error {
			ok, err := filter(row)
			if err != nil || !ok {
				return err
			}
			if rel.Name == "rpminfo" {
				if err := c.noteSigned(row[0], row[build]); err != nil {
					return err
				}
			}
			for i := range rel.Columns {
				if to := rel.Columns[i].Ref; to != "" && row[i] != nil {
					id, err := idset.Parse(row[i])
					if err != nil {
						return fmt.Errorf("%s: %w", rel.Columns[i].Name, err)
					}
					c.refs[to].Add(id)
				}
			}
			return nil
		}
	}
	if err := snapshot.EachRow(ctx, snap, rel, refer(c.filter(rel, false))); err != nil || !rel.Versioned {
		return err
	}
	return snapshot.EachRevoked(ctx, snap, rel, refer(c.filter(rel, true)))
}

// noteSigned notes an rpm that belongs to a tagged build.
func (c *rows) noteSigned(rpm, build []byte) error {
	if build == nil {
		return nil
	}
	id, err := idset.Parse(rpm)
	if err != nil {
		return err
	}
	of, err := idset.Parse(build)
	if c.tagged.Has(of) {
		c.signed.Add(id)
	}
	return err
}

// filter is the snapfile.Filter of the rows.
func (c *rows) filter(rel *relation.Relation, revoked bool) func(row [][]byte) (bool, error) {
	switch rel.Name {
	case "permissions", "channels", "volume", "btype", "archivetypes": // each snapshot has them whole
		return all
	case "build":
		if revoked {
			return all // reset and deleted builds: a load ignores those that the database does not have
		}
		return by(rel, "id", c.refs["build"])
	case "events":
		return func(row [][]byte) (bool, error) {
			id, err := idset.Parse(row[0])
			return c.refs["events"].Has(id) || c.since > 0 && id >= c.since, err
		}
	case "build_types", "maven_builds", "win_builds", "image_builds":
		return by(rel, "build_id", c.refs["build"])
	case "rpminfo", "archiveinfo":
		return either(by(rel, "build_id", &c.tagged), by(rel, "id", c.refs[rel.Name]))
	case "rpmsigs", "rpm_checksum":
		return by(rel, "rpm_id", &c.signed)
	case "maven_archives", "win_archives", "image_archives":
		return either(by(rel, "archive_id", &c.archives), by(rel, "archive_id", c.refs["archiveinfo"]))
	case "archive_rpm_components", "archive_components":
		return by(rel, "archive_id", &c.archives)
	case "build_target_config":
		return either(by(rel, "build_tag", c.tags), by(rel, "dest_tag", c.tags))
	case "external_repo_config":
		return by(rel, "external_repo_id", c.refs["external_repo"])
	}
	if rel.Versioned {
		return by(rel, "tag_id", c.tags)
	}
	first, of := rel.Key[0], rel.Name
	if ref := rel.Columns[rel.Index(first)].Ref; ref != "" { // of something else's row, as all that have no id
		of = ref
	}
	return by(rel, first, c.refs[of])
}

func all([][]byte) (bool, error) { return true, nil }

// by selects the rows with an id of a set in a column.
func by(rel *relation.Relation, column string, of *idset.Set) func(row [][]byte) (bool, error) {
	at := rel.Index(column)
	return func(row [][]byte) (bool, error) {
		if row[at] == nil {
			return false, nil
		}
		id, err := idset.Parse(row[at])
		return err == nil && of.Has(id), err
	}
}

func either(a, b func(row [][]byte) (bool, error)) func(row [][]byte) (bool, error) {
	return func(row [][]byte) (bool, error) {
		if ok, err := a(row); ok || err != nil {
			return ok, err
		}
		return b(row)
	}
}

// concernsOthers reports whether something that production's hub could not give concerns only other tags or
// builds.
func (c *rows) concernsOthers(x snapfile.LeftOut) bool {
	if x.Tag != 0 && !c.tags.Has(x.Tag) {
		return true
	}
	return len(x.Builds) > 0 && !slices.ContainsFunc(x.Builds, c.refs["build"].Has)
}
