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

// recorder writes the results of a load to the report and to the schema kojisnap.
//
// It reads ks_left_out, ks_kept, ks_overwritten, ks_deferred and ks_skipped, and writes the tables kojisnap.load,
// tag, left_out, kept, aside and run.
type recorder struct {
	*attempt
	ids       *identities
	history   *historian
	started   time.Time             // the first attempt
	decisions []status.DecidedBuild // of staging's about builds
}

// scope returns production's ids of the snapshot's tags.
func (a *attempt) scope() []int32 { return book.TagIDs(a.Snap.Manifest) }

// holdsSnapshot reports whether this very snapshot was the last one loaded for each of its tags, into the same
// columns, and nothing of it was deferred or hidden.
func (rec *recorder) holdsSnapshot(ctx context.Context) (same bool, err error) {
	if rec.opt.OnConflict == Replace {
		return false, nil // what staging changed since gives way
	}
	err = rec.Tx.QueryRow(ctx, `SELECT count(*) = $2 AND NOT EXISTS (SELECT FROM kojisnap.aside) AND NOT EXISTS (SELECT FROM kojisnap.hidden)
			AND EXISTS (SELECT FROM kojisnap.load WHERE snapshot = $3 AND columns = $4 AND tags = $1)
		FROM kojisnap.tag WHERE tag_id = ANY($1) AND snapshot = $3`, rec.scope(), len(rec.scope()), rec.Snap.ID, rec.columns()).Scan(&same)
	if err != nil || !same || len(rec.scope()) == 0 {
		return false, err
	}
	if rec.decisions, err = status.ReadDecidedBuilds(ctx, rec.Tx); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(rec.decisions, func(d status.DecidedBuild) bool { return !d.Known }), nil
}

// recordLoad stores what was loaded and what was left out.
func (rec *recorder) recordLoad(ctx context.Context) error {
	if rec.Report.Skipped {
		rec.Report.Decided = status.HowDecided(rec.decisions)
		return nil
	}
	var load int64
	err := rec.Tx.QueryRow(ctx, `
		WITH gone AS (DELETE FROM kojisnap.load l WHERE l.tags <@ $3 RETURNING id),
			out AS (DELETE FROM kojisnap.left_out o USING gone WHERE o.load_id = gone.id),
			kept AS (DELETE FROM kojisnap.kept k USING gone WHERE k.load_id = gone.id),
			aside AS (DELETE FROM kojisnap.aside a USING gone WHERE a.load_id = gone.id),
			new AS (INSERT INTO kojisnap.load (snapshot, event, tags, columns) VALUES ($1, $2, $3, $4) RETURNING id),
			newout AS (INSERT INTO kojisnap.left_out SELECT id, relation, key, conflict, reason, bad FROM ks_left_out, new),
			newkept AS (INSERT INTO kojisnap.kept SELECT id, relation, key, reason FROM ks_kept, new WHERE relation <> ALL ($5))
		SELECT id FROM new`, // what hides a versioned row, the row itself tells
		rec.Snap.ID, rec.Snap.Manifest.Event, rec.scope(), rec.columns(), kojidb.VersionedNames()).Scan(&load)
	if err != nil {
		return err
	}
	if err := rec.recordDeferred(ctx, load); err != nil {
		return err
	}
	names := make([]string, len(rec.Snap.Manifest.Scope.All))
	for i, t := range rec.Snap.Manifest.Scope.All {
		names[i] = t.Name
	}
	if err := rec.history.recordHistory(ctx); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, err = rec.Tx.Exec(ctx, `INSERT INTO kojisnap.tag (tag_id, name, event, snapshot, history) SELECT id, name, $3, $4, history
			FROM unnest($1::integer[], $2::text[], $5::integer[]) AS s(id, name, history)
		WHERE NOT EXISTS (SELECT FROM ks_skipped g WHERE g.relation = 'tag' AND g.id = s.id)
		ON CONFLICT (tag_id) DO UPDATE SET name = excluded.name, event = excluded.event, snapshot = excluded.snapshot, history = excluded.history`, rec.scope(), names, rec.Snap.Manifest.Event, rec.Snap.ID, rec.history.wholeFrom)
	if err != nil {
		return err
	}
	rec.decisions, err = status.ReadDecidedBuilds(ctx, rec.Tx)
	rec.Report.Decided = status.HowDecided(rec.decisions)
	return err
}

// analyze refreshes the planner's statistics of tables where a tenth of the rows changed, so that the hub and
// the next load have them before autovacuum runs. The load is committed by then, so it does not wait long for
// a VACUUM, which may take hours.
func (rec *recorder) analyze(ctx context.Context, conn *pgx.Conn) {
	for _, r := range rec.Report.Relations {
		if _, in := rec.Imported[r.Relation]; in || r.Changed() <= 50 {
			continue // an import has done it
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
				rec.opt.Log.InfoContext(ctx, "the planner's statistics are left to autovacuum", "table", table, "err", err)
			}
			if ctx.Err() != nil || conn.IsClosed() {
				return
			}
		}
	}
}

// analyze refreshes the statistics of one table if the number of changed rows is large for it.
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

// recordRun adds this load, which is about to be committed, to the runs.
func (rec *recorder) recordRun(ctx context.Context) error {
	rec.Report.Mode = rec.mode()
	if rec.opt.DryRun {
		rec.Report.Started, rec.Report.Finished = rec.started.UTC(), time.Now().UTC()
		return nil
	}
	run := book.NewRun(rec.Snap, rec.opt.Version)
	run.Mode, run.Result, run.Report = rec.Report.Mode, book.ResultUnchanged, rec.Report.Brief()
	if rec.Report.Changed() {
		run.Result = book.ResultChanged
	}
	err := run.Insert(ctx, rec.Tx, rec.started)
	rec.Report.Run, rec.Report.Started, rec.Report.Finished = run.ID, run.Started, run.Finished
	return err
}

// mode is the mode of the report; empty if it is not known yet.
func (rec *recorder) mode() string {
	switch {
	case rec.Report.Skipped:
		return "skipped"
	case rec.imported != nil:
		return "import"
	case rec.Report.Base != "":
		return "delta"
	case len(rec.Rows) > 0:
		return "full"
	}
	return ""
}

// finishReport fills the lists and numbers of the report from the temporary tables.
func (rec *recorder) finishReport(ctx context.Context) error {
	var some [3]bool
	if err := rec.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ks_left_out), EXISTS (SELECT FROM ks_kept), EXISTS (SELECT FROM ks_overwritten)").Scan(&some[0], &some[1], &some[2]); err != nil {
		return err
	}
	for _, l := range []struct {
		some  bool
		into  *[]book.Entry
		table string
		count func(*book.RelationReport, int64)
	}{
		{some[0], &rec.Report.Conflicts, "ks_left_out WHERE conflict", func(r *book.RelationReport, n int64) { r.Conflicts, r.LeftOut = n, r.LeftOut+n }},
		{some[0], &rec.Report.LeftOut, "ks_left_out WHERE NOT conflict", func(r *book.RelationReport, n int64) { r.LeftOut += n }},
		{some[0], &rec.Report.Bad, "ks_left_out WHERE bad", func(*book.RelationReport, int64) {}},
		{some[1], &rec.Report.Kept, "ks_kept", func(r *book.RelationReport, n int64) { r.Kept = n }},
		{some[2], &rec.Report.Overwritten, "ks_overwritten", func(r *book.RelationReport, n int64) { r.Overwritten = n }},
	} {
		if !l.some {
			continue
		}
		entries, err := book.ReadEntries(ctx, rec.Tx, l.table, book.MaxEntries)
		if err != nil {
			return err
		}
		*l.into = entries
		rows, err := rec.Tx.Query(ctx, "SELECT relation, count(*) FROM "+l.table+" GROUP BY 1")
		if err != nil {
			return err
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { l.count(rec.Counts.Of(name), n); return nil }); err != nil {
			return err
		}
	}
	for name, n := range rec.Rows {
		rec.Counts.Of(name).Read = n
	}
	rec.Report.Relations = rec.Counts.Sorted()
	return nil
}

// RecordFailure adds a failed load to the runs, as Load does. It is for callers that fail before they call
// Load, such as with an overlay that cannot be read. It needs a database that can be written and is marked as
// opt.Env; otherwise it only logs.
func RecordFailure(ctx context.Context, conn *pgx.Conn, snap *snapfile.Snapshot, opt LoadOptions, started time.Time, cause error) {
	recordFailure(ctx, conn, book.NewRun(snap, opt.Version), opt, started, cause)
}

func recordFailure(ctx context.Context, conn *pgx.Conn, run *book.Run, opt LoadOptions, started time.Time, cause error) {
	if !opt.DryRun {
		run.Fail(ctx, conn, opt.Env, opt.Log, started, cause)
	}
}

// recordDeferred stores the keys of the rows that the next load must look at again, with production's ids, in
// kojisnap.aside (the stored word for deferred).
func (rec *recorder) recordDeferred(ctx context.Context, load int64) error {
	noted, err := rec.RelationsIn(ctx, "ks_deferred")
	if err != nil {
		return err
	}
	for _, r := range noted {
		key := make([]string, len(r.Key))
		for i, k := range r.Key {
			key[i] = fmt.Sprintf("key[%d]", i+1)
			ref := r.Columns[r.Index(k)].Ref
			if k == "id" {
				ref = r.Name
			}
			if rec.ids.mapped[ref] {
				key[i] = sqltext.Expand("coalesce((SELECT i.prod_id::text FROM kojisnap.idmap i WHERE i.relation = {ref} AND i.staging_id::text = {k}), {k})", "ref", sqltext.QuoteLiteral(ref), "k", key[i])
			}
		}
		if _, err := rec.ExecSQL(ctx, r, "INSERT INTO kojisnap.aside SELECT DISTINCT {load}::integer, relation, ARRAY[{ids}] FROM ks_deferred WHERE relation = {r}",
			"load", sqltext.Int(load), "ids", sqltext.Join(key)); err != nil {
			return err
		}
	}
	return nil
}
