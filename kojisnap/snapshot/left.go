package snapshot

import (
	"context"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// LeftBuilds returns the builds that a snapshot has as complete, in tags of a scope or in none, and that are not among
// those that a later pull of the scope has. A reset of a build (Koji's resetBuild) deletes its taggings without an
// event, so a pull has to look once more at what leaves like this.
func LeftBuilds(ctx context.Context, last *snapfile.Snapshot, inScope func(tag int64) bool, now *idset.Set) (*idset.Set, error) {
	var inside, outside idset.Set
	listing := relation.Get("tag_listing")
	build, tag := listing.Index("build_id"), listing.Index("tag_id")
	err := EachRow(ctx, last, listing, func(row [][]byte) error {
		id, err := idset.Parse(row[build])
		if err != nil {
			return err
		}
		of, err := idset.Parse(row[tag])
		if inScope(of) {
			inside.Add(id)
		} else {
			outside.Add(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	left := new(idset.Set)
	rel := relation.Get("build")
	state := rel.Index("state")
	err = EachRow(ctx, last, rel, func(row [][]byte) error {
		id, err := idset.Parse(row[0])
		if err == nil && string(row[state]) == "1" && !now.Has(id) && (inside.Has(id) || !outside.Has(id)) {
			left.Add(id)
		}
		return err
	})
	return left, err
}
