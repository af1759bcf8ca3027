package dbsync

import (
	"context"
	"slices"
)

// Builds that were asked for by name, beside the tags, are in the snapshot with all of their rows, like those
// that are tagged in the scope. One that is asked for no longer stays as it is, like one that left the scope.

// namedBuilds is the ids of the builds that the snapshot was asked for.
func (m *merger) namedBuilds() []int32 {
	ids := make([]int32, len(m.Snap.Manifest.Scope.Builds))
	for i, b := range m.Snap.Manifest.Scope.Builds {
		ids[i] = int32(b.ID)
	}
	return ids
}

// namedAnew reports whether a build is asked for that the base was not asked for, and the database has: as it
// was when it was last in the scope, or the part of it that an archive consists of.
func (m *merger) namedAnew(ctx context.Context) (anew bool, err error) {
	ids := slices.DeleteFunc(m.namedBuilds(), func(id int32) bool { return m.Base.Manifest.NamedBuild(int64(id)) })
	if len(ids) == 0 {
		return false, nil
	}
	err = m.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM build WHERE id = ANY($1))", ids).Scan(&anew)
	return anew, err
}
