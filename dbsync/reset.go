package dbsync

import (
	"context"
	"fmt"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// tellsLeft reports whether snapshots have rows of a relation that left the view: the revoked ones of
// versioned relations, and builds that were reset or deleted.
func tellsLeft(r *relation.Relation) bool { return r.Versioned || r.Name == "build" }

// stageReset takes builds that production reset or deleted, and that the view has no more, for builds
// of this snapshot, so that what is done about a build that is not complete is done about them. A build
// that was made anew since has another create_event: of that one they tell nothing.
func (m *merger) stageReset(ctx context.Context) error {
	r := relation.Get("build")
	if !m.Filled[loadtx.Revoked(r)] {
		return nil
	}
	n, err := m.ExecSQL(ctx, r, `INSERT INTO {s} ({cols}) SELECT DISTINCT ON (l.id) {lcols} FROM {revoked} l JOIN {t} b ON b.id = l.id AND b.create_event = l.create_event
		WHERE l.id < {floor} AND l.state <> 1 AND l.pkg_id = b.pkg_id AND NOT EXISTS (SELECT FROM {s} s WHERE s.id = l.id) ORDER BY l.id, l.ctid DESC`,
		"cols", sqltext.Columns("", r.ColumnNames()), "lcols", sqltext.Columns("l", r.ColumnNames()))
	if err != nil {
		return fmt.Errorf("builds that were reset: %w", err)
	}
	m.Rows[r.Name] += n
	m.Filled[loadtx.Staged(r)] = m.Filled[loadtx.Staged(r)] || n > 0
	return nil
}
