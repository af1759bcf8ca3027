package dbsync

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// historian puts in the rows that lived only between snapshots.
//
// It reads ks_revoked_RELATION, ks_skipped and ks_scope_tag, and writes Koji's versioned tables, ks_deferred and
// ks_history_hole, from which it tells since which event the history of a tag is whole.
type historian struct {
	*attempt
	staging   *stager
	wholeFrom []int64 // of each tag of the scope, the event from which on its history is whole
}

// insertPast inserts the rows that production made and revoked before E, if all rows that they refer to are
// there: rows since the last load, before the first one, and those that staging's reset of a build deleted.
// Only the events in between show them, so no tag is touched. A row that cannot go in is deferred to the next
// load.
func (hi *historian) insertPast(ctx context.Context, r *relation.Relation) error {
	if !hi.Filled[loadtx.Revoked(r)] {
		return nil
	}
	there := hi.referredThere(r)
	const missing = "s.ks_may_insert AND NOT EXISTS (SELECT FROM {t} t WHERE {key}) AND NOT EXISTS (SELECT FROM {s} t WHERE {key})"
	n, err := hi.ExecSQL(ctx, r, "INSERT INTO {t} ({cols}) SELECT {scols} FROM {revoked} s WHERE "+hi.ExpandSQL(r, missing)+" AND {there}",
		"cols", sqltext.Columns("", hi.Usable(r)), "scols", sqltext.Columns("s", hi.Usable(r)), "there", strings.Join(there, " AND "))
	if err != nil {
		return err
	}
	hi.Counts.Of(r.Name).Inserted += n
	inScope := "true"
	if r.Index("tag_id") >= 0 {
		inScope = "s.tag_id IN (SELECT tag_id FROM ks_scope_tag)"
	}
	n, err = hi.ExecSQL(ctx, r, "INSERT INTO ks_deferred SELECT DISTINCT {r}, {array} FROM {revoked} s WHERE "+hi.ExpandSQL(r, missing)+" AND {scope}",
		"array", sqltext.KeyArray("s", r.Key), "scope", inScope)
	if err != nil || n == 0 || r.Index("tag_id") < 0 {
		return err
	}
	// A row that refers to one which was left out is no hole: it is reported with that one, and no view has it.
	var known []string
	for _, c := range r.Columns {
		if c.Ref != "" {
			known = append(known, sqltext.Expand("EXISTS (SELECT FROM ks_skipped g WHERE g.relation = {ref} AND g.id = s.{c})", "ref", sqltext.QuoteLiteral(c.Ref), "c", sqltext.QuoteIdent(c.Name)))
		}
	}
	_, err = hi.ExecSQL(ctx, r, "INSERT INTO ks_history_hole SELECT s.tag_id, max(s.revoke_event) FROM {revoked} s WHERE "+hi.ExpandSQL(r, missing)+" AND {scope} AND NOT ({known}) GROUP BY s.tag_id",
		"scope", inScope, "known", strings.Join(known, " OR "))
	return err
}

// referredThere returns conditions that all rows are there which a revoked row s refers to, and that the table
// accepts it.
func (hi *historian) referredThere(r *relation.Relation) (there []string) {
	for _, c := range r.Columns {
		if c.Ref != "" {
			there = append(there, sqltext.Expand("EXISTS (SELECT FROM {ref} p WHERE p.id = s.{c})", "ref", sqltext.QuoteIdent(c.Ref), "c", sqltext.QuoteIdent(c.Name)))
			if c.Null {
				there[len(there)-1] = "(s." + sqltext.QuoteIdent(c.Name) + " IS NULL OR " + there[len(there)-1] + ")"
			}
		}
	}
	for _, c := range hi.Schema.Columns(r) {
		if have, _ := hi.Schema.Column(r.Name, c.Name); have.NotNull && c.Null {
			there = append(there, "s."+sqltext.QuoteIdent(c.Name)+" IS NOT NULL")
		}
	}
	return there
}

// recordHistory finds for each tag of the scope from which event on its history is whole. A snapshot has the
// history from some event to its own. This joins on to what the database has if it reaches back to there;
// snapshots that were not loaded may fill the gap.
func (hi *historian) recordHistory(ctx context.Context) error {
	type held struct{ event, history int64 }
	before := map[int64]held{}
	rows, err := hi.Tx.Query(ctx, "SELECT tag_id, event, coalesce(history, event) FROM kojisnap.tag WHERE tag_id = ANY($1)", hi.scope())
	if err != nil {
		return err
	}
	var tag int64
	var h held
	if _, err := pgx.ForEachRow(rows, []any{&tag, &h.event, &h.history}, func() error { before[tag] = h; return nil }); err != nil {
		return err
	}
	holes := map[int64]int64{}
	rows, err = hi.Tx.Query(ctx, `SELECT coalesce(i.prod_id, h.tag_id), max(h.event) FROM ks_history_hole h
		LEFT JOIN kojisnap.idmap i ON i.relation = 'tag' AND i.staging_id = h.tag_id GROUP BY 1`)
	if err != nil {
		return err
	}
	if _, err := pgx.ForEachRow(rows, []any{&tag, &h.event}, func() error { holes[tag] = h.event; return nil }); err != nil {
		return err
	}
	slices.SortFunc(hi.staging.bridges, func(a, b *snapfile.Manifest) int { return cmp.Compare(b.Event, a.Event) })
	event := hi.Snap.Manifest.Event
	hi.wholeFrom = make([]int64, len(hi.Snap.Manifest.Scope.All))
	for i, t := range hi.Snap.Manifest.Scope.All {
		from := hi.Snap.Manifest.HistoryFrom(t.ID)
		for _, b := range hi.staging.bridges {
			if b.Event >= from && b.Event <= event {
				from = min(from, b.HistoryFrom(t.ID))
			}
		}
		if h, ok := before[t.ID]; ok && min(h.event, event) >= from && h.history <= event {
			from = min(from, h.history)
		}
		hi.wholeFrom[i] = max(from, holes[t.ID])
	}
	return nil
}
