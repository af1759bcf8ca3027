package dbsync

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// scope is production's ids of the tags of the snapshot.
func (m *merger) scope() []int32 {
	ids := make([]int32, len(m.snap.Manifest.Scope.All))
	for i, t := range m.snap.Manifest.Scope.All {
		ids[i] = int32(t.ID)
	}
	return ids
}

// holdsSnapshot reports whether this very snapshot was the last one loaded for each of its
// tags, with nothing put aside and into the columns that the tables have now.
func (m *merger) holdsSnapshot(ctx context.Context) (same bool, err error) {
	if m.opt.OnConflict == Replace {
		return false, nil // what staging changed since gives way
	}
	err = m.tx.QueryRow(ctx, `SELECT count(*) = $2 AND NOT EXISTS (SELECT FROM kojisnap.aside) AND NOT EXISTS (SELECT FROM kojisnap.hidden)
			AND EXISTS (SELECT FROM kojisnap.load WHERE snapshot = $3 AND columns = $4)
		FROM kojisnap.tag WHERE tag_id = ANY($1) AND snapshot = $3`,
		pgx.QueryExecModeExec, m.scope(), len(m.scope()), m.snap.ID, m.columns()).Scan(&same)
	if err != nil || !same || len(m.scope()) == 0 {
		return false, err
	}
	if m.decisions, err = decidedBuilds(ctx, m.tx); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(m.decisions, func(d decidedBuild) bool { return !d.Known }), nil
}

// book records what was loaded.
func (m *merger) book(ctx context.Context) error {
	if m.rep.Skipped {
		m.rep.Decided = ofBuilds(m.decisions)
		return nil
	}
	var load int64
	err := m.tx.QueryRow(ctx, `
		WITH gone AS (DELETE FROM kojisnap.load l WHERE l.tags <@ $3 RETURNING id),
			out AS (DELETE FROM kojisnap.left_out o USING gone WHERE o.load_id = gone.id),
			kept AS (DELETE FROM kojisnap.kept k USING gone WHERE k.load_id = gone.id),
			aside AS (DELETE FROM kojisnap.aside a USING gone WHERE a.load_id = gone.id),
			new AS (INSERT INTO kojisnap.load (snapshot, event, tags, columns) VALUES ($1, $2, $3, $4) RETURNING id),
			newout AS (INSERT INTO kojisnap.left_out SELECT id, relation, key, conflict, reason, bad FROM ks_out, new),
			newkept AS (INSERT INTO kojisnap.kept SELECT id, relation, key, reason FROM ks_kept, new WHERE relation <> ALL ($5))
		SELECT id FROM new`, // what hides a versioned row, the row itself tells
		pgx.QueryExecModeExec, m.snap.ID, m.snap.Manifest.Event, m.scope(), m.columns(), versionedNames()).Scan(&load)
	if err != nil {
		return err
	}
	if err := m.bookAside(ctx, load); err != nil {
		return err
	}
	names := make([]string, len(m.snap.Manifest.Scope.All))
	for i, t := range m.snap.Manifest.Scope.All {
		names[i] = t.Name
	}
	if err := m.bookHistory(ctx); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, err = m.tx.Exec(ctx, `INSERT INTO kojisnap.tag (tag_id, name, event, snapshot, history) SELECT id, name, $3, $4, history
			FROM unnest($1::integer[], $2::text[], $5::integer[]) AS s(id, name, history)
		WHERE NOT EXISTS (SELECT FROM ks_gone g WHERE g.relation = 'tag' AND g.id = s.id)
		ON CONFLICT (tag_id) DO UPDATE SET name = excluded.name, event = excluded.event, snapshot = excluded.snapshot, history = excluded.history`,
		pgx.QueryExecModeExec, m.scope(), names, m.snap.Manifest.Event, m.snap.ID, m.wholeFrom)
	if err != nil {
		return err
	}
	m.decisions, err = decidedBuilds(ctx, m.tx)
	m.rep.Decided = ofBuilds(m.decisions)
	return err
}

// analyze refreshes the planner's statistics of the tables of which a tenth changed, and of the
// lists of what was placed there, as autovacuum would, but before the hub or the next load asks. A
// load is done without it, so it does not wait long for a VACUUM, which may take hours.
func (m *merger) analyze(ctx context.Context, conn *pgx.Conn) {
	for _, r := range m.rep.Relations {
		if r.changed() <= 50 {
			continue
		}
		tables := []string{q(r.Relation)}
		switch known := relation.Get(r.Relation); {
		case known != nil && keyed(known):
			tables = append(tables, placedKeys(known))
		case r.Relation == "build":
			tables = append(tables, "kojisnap.placed", "kojisnap.placed_volume")
		}
		for _, table := range tables {
			if err := analyze(ctx, conn, table, float64(r.changed())); err != nil {
				m.opt.Log.InfoContext(ctx, "the planner's statistics are left to autovacuum", "table", table, "err", err)
			}
			if ctx.Err() != nil || conn.IsClosed() {
				return
			}
		}
	}
}

// analyze renews the statistics of a table of which that many rows changed, if those are many of its.
func analyze(ctx context.Context, conn *pgx.Conn, table string, changed float64) error {
	tx, err := begin(ctx, conn, pgx.TxOptions{})
	if err != nil {
		return err
	}
	defer end(ctx, tx)
	var rows float64
	err = tx.QueryRow(ctx, "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = to_regclass($1)", pgx.QueryExecModeExec, table).Scan(&rows)
	if err != nil || changed <= 50+rows/10 {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '500ms'; ANALYZE "+table); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func versionedNames() (names []string) {
	for _, r := range relation.All() {
		if r.Versioned {
			names = append(names, r.Name)
		}
	}
	return names
}
