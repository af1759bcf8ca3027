package dbsource

import (
	"context"

	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/relation"
)

// A reset of a build (Koji's resetBuild) deletes its taggings, and no event tells. So what the last snapshot has as
// complete, and what is in no tag any more, is read once more: its row, as it is now, is among the revoked rows of the
// relation build, if it is not complete any more. Package pull does the same.

// leftBuilds are the builds that the last snapshot has as complete ones, in tags of the scope, and that are not
// among those of this pull. If other tags were asked for until now, the snapshots of those are looked at.
func (r *run) leftBuilds(ctx context.Context, now *idset.Set) (*idset.Set, error) {
	last, err := r.lastSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	return r.baseChoice().LeftBuilds(ctx, last, r.scope.inScope.Has, now)
}

// readLeft reads builds that left. One whose row is gone is no build; one that is complete was untagged, not reset.
func (r *run) readLeft(ctx context.Context, ids *idset.Set) error {
	rel := relation.Get("build")
	state := rel.Index("state")
	return r.each(ctx, query{relation: "build", where: &Where{"id", toBitmap(ids)}}, func(row [][]byte) error {
		if string(row[state]) == "1" {
			return nil
		}
		if _, fault := judge(rel, row); fault != nil {
			return nil // it stays what it was
		}
		_, err := r.builder.AddRevoked("build", row)
		return err
	})
}
