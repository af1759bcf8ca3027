package kojisnap

import (
	"context"
	"slices"

	"kojisnap/dbsync"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// ReadConflicts asks the staging database which rows of a snapshot it holds otherwise, because
// something of staging's own stands in their place, and names what they are about.
func ReadConflicts(ctx context.Context, dsn string, snap *snapfile.Snapshot) (Conflicts, error) {
	conn, err := Connect(ctx, dsn)
	if err != nil {
		return Conflicts{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	status, err := dbsync.ReadStatus(ctx, conn)
	if err != nil {
		return Conflicts{}, err
	}
	entries := slices.Concat(status.Conflicts, status.LeftOut, status.Kept)
	if len(entries) == 0 {
		return Conflicts{}, nil
	}
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return Conflicts{}, err
	}
	nvrs := map[int64]string{}
	for _, b := range view.All() {
		nvrs[b.ID] = b.NVR()
	}
	var c Conflicts
	for _, e := range entries {
		key := e.Keys()
		switch e.Relation {
		case "build":
			c.Builds = append(c.Builds, nvrs[key["id"]])
		case "rpminfo":
			c.RPMs = append(c.RPMs, key["id"])
		case "tag_listing":
			c.Taggings = append(c.Taggings, TagMember{view.Names[key["tag_id"]], nvrs[key["build_id"]]})
		case "tag_packages":
			c.Packages = append(c.Packages, TagMember{view.Names[key["tag_id"]], view.Packages[key["package_id"]]})
		}
	}
	return c, nil
}
