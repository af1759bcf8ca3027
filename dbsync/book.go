package dbsync

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// scope is production's ids of the tags of the snapshot.
func (m *merger) scope() []int32 { return book.TagIDs(m.Snap.Manifest) }

// holdsSnapshot reports whether this very snapshot was the last one loaded for each of its
// tags, with nothing put aside and into the columns that the tables have now.
func (m *merger) holdsSnapshot(ctx context.Context) (same bool, err error) {
	if m.opt.OnConflict == Replace {
		return false, nil // what staging changed since gives way
	}
	err = m.Tx.QueryRow(ctx, `SELECT count(*) = $2 AND NOT EXISTS (SELECT FROM kojisnap.aside) AND NOT EXISTS (SELECT FROM kojisnap.hidden)
			AND EXISTS (SELECT FROM kojisnap.load WHERE snapshot = $3 AND columns = $4)
		FROM kojisnap.tag WHERE tag_id = ANY($1) AND snapshot = $3`, m.scope(), len(m.scope()), m.Snap.ID, m.columns()).Scan(&same)
	if err != nil || !same || len(m.scope()) == 0 {
		return false, err
	}
	if m.decisions, err = status.ReadDecidedBuilds(ctx, m.Tx); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(m.decisions, func(d status.DecidedBuild) bool { return !d.Known }), nil
}

// recordLoad records what was loaded.
func (m *merger) recordLoad(ctx context.Context) error {
	if m.Report.Skipped {
		m.Report.Decided = status.HowDecided(m.decisions)
		return nil
	}
	var load int64
	err := m.Tx.QueryRow(ctx, `
		WITH gone AS (DELETE FROM kojisnap.load l WHERE l.tags <@ $3 RETURNING id),
			out AS (DELETE FROM kojisnap.left_out o USING gone WHERE o.load_id = gone.id),
			kept AS (DELETE FROM kojisnap.kept k USING gone WHERE k.load_id = gone.id),
			aside AS (DELETE FROM kojisnap.aside a USING gone WHERE a.load_id = gone.id),
			new AS (INSERT INTO kojisnap.load (snapshot, event, tags, columns) VALUES ($1, $2, $3, $4) RETURNING id),
			newout AS (INSERT INTO kojisnap.left_out SELECT id, relation, key, conflict, reason, bad FROM ks_left_out, new),
			newkept AS (INSERT INTO kojisnap.kept SELECT id, relation, key, reason FROM ks_kept, new WHERE relation <> ALL ($5))
		SELECT id FROM new`, // what hides a versioned row, the row itself tells
		m.Snap.ID, m.Snap.Manifest.Event, m.scope(), m.columns(), kojidb.VersionedNames()).Scan(&load)
	if err != nil {
		return err
	}
	if err := m.recordDeferred(ctx, load); err != nil {
		return err
	}
	names := make([]string, len(m.Snap.Manifest.Scope.All))
	for i, t := range m.Snap.Manifest.Scope.All {
		names[i] = t.Name
	}
	if err := m.recordHistory(ctx); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, err = m.Tx.Exec(ctx, `INSERT INTO kojisnap.tag (tag_id, name, event, snapshot, history) SELECT id, name, $3, $4, history
			FROM unnest($1::integer[], $2::text[], $5::integer[]) AS s(id, name, history)
		WHERE NOT EXISTS (SELECT FROM ks_skipped g WHERE g.relation = 'tag' AND g.id = s.id)
		ON CONFLICT (tag_id) DO UPDATE SET name = excluded.name, event = excluded.event, snapshot = excluded.snapshot, history = excluded.history`, m.scope(), names, m.Snap.Manifest.Event, m.Snap.ID, m.wholeFrom)
	if err != nil {
		return err
	}
	m.decisions, err = status.ReadDecidedBuilds(ctx, m.Tx)
	m.Report.Decided = status.HowDecided(m.decisions)
	return err
}

// analyze refreshes the planner's statistics of the tables of which a tenth changed, and of the
// lists of what was placed there, as autovacuum would, but before the hub or the next load asks. A
// load is done without it, so it does not wait long for a VACUUM, which may take hours.
func (m *merger) analyze(ctx context.Context, conn *pgx.Conn) {
	for _, r := range m.Report.Relations {
		if r.Changed() <= 50 {
			continue
		}
		tables := []string{sqltext.QuoteIdent(r.Relation)}
		switch known := relation.Get(r.Relation); {
		case known != nil && kojidb.Keyed(known):
			tables = append(tables, book.PlacedKeys(known))
		case r.Relation == "build":
			tables = append(tables, "kojisnap.placed", "kojisnap.placed_volume")
		}
		for _, table := range tables {
			if err := analyze(ctx, conn, table, float64(r.Changed())); err != nil {
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
	tx, err := dbconn.Begin(ctx, conn, pgx.TxOptions{})
	if err != nil {
		return err
	}
	defer dbconn.End(ctx, tx)
	var rows float64
	err = tx.QueryRow(ctx, "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = to_regclass($1)", table).Scan(&rows)
	if err != nil || changed <= 50+rows/10 {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '500ms'; ANALYZE "+table); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// recordRun puts this load, which is about to be committed, among the runs.
func (m *merger) recordRun(ctx context.Context) error {
	m.Report.Mode = m.mode()
	if m.opt.DryRun {
		m.Report.Started, m.Report.Finished = m.started.UTC(), time.Now().UTC()
		return nil
	}
	run := book.NewRun(m.Snap, m.opt.Version)
	run.Mode, run.Result, run.Report = m.Report.Mode, book.ResultUnchanged, m.Report.Brief()
	if m.Report.Changed() {
		run.Result = book.ResultChanged
	}
	err := run.Insert(ctx, m.Tx, m.started)
	m.Report.Run, m.Report.Started, m.Report.Finished = run.ID, run.Started, run.Finished
	return err
}

// mode is LoadReport's, empty as long as it is not clear.
func (m *merger) mode() string {
	switch {
	case m == nil:
		return ""
	case m.Report.Skipped:
		return "skipped"
	case m.Report.Base != "":
		return "delta"
	case len(m.Rows) > 0:
		return "full"
	}
	return ""
}

// finishReport fills the lists from the temporary tables.
func (m *merger) finishReport(ctx context.Context) error {
	for _, l := range []struct {
		into  *[]book.Entry
		table string
		count func(*book.RelationReport, int64)
	}{
		{&m.Report.Conflicts, "ks_left_out WHERE conflict", func(r *book.RelationReport, n int64) { r.Conflicts, r.LeftOut = n, r.LeftOut+n }},
		{&m.Report.LeftOut, "ks_left_out WHERE NOT conflict", func(r *book.RelationReport, n int64) { r.LeftOut += n }},
		{&m.Report.Bad, "ks_left_out WHERE bad", func(*book.RelationReport, int64) {}},
		{&m.Report.Kept, "ks_kept", func(r *book.RelationReport, n int64) { r.Kept = n }},
		{&m.Report.Overwritten, "ks_overwritten", func(r *book.RelationReport, n int64) { r.Overwritten = n }},
	} {
		entries, err := book.ReadEntries(ctx, m.Tx, l.table, book.MaxEntries)
		if err != nil {
			return err
		}
		*l.into = entries
		rows, err := m.Tx.Query(ctx, "SELECT relation, count(*) FROM "+l.table+" GROUP BY 1")
		if err != nil {
			return err
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { l.count(m.Counts.Of(name), n); return nil }); err != nil {
			return err
		}
	}
	for name, n := range m.Rows {
		m.Counts.Of(name).Read = n
	}
	m.Report.Relations = m.Counts.Sorted()
	return nil
}

// RecordFailure puts a load that came to nothing among the runs, as Load itself does, for those
// who find out before they call it: an overlay that cannot be read. It does so if the database
// can be written and is the one that was meant; that it could not is no error on top of cause.
func RecordFailure(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions, started time.Time, cause error) {
	recordFailure(ctx, conn, book.NewRun(snap, opt.Version), opt, started, cause)
}

func recordFailure(ctx context.Context, conn *pgx.Conn, run *book.Run, opt LoadOptions, started time.Time, cause error) {
	if !opt.DryRun {
		run.Fail(ctx, conn, opt.Env, opt.Log, started, cause)
	}
}
