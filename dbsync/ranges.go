package dbsync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// checkRanges refuses a snapshot that is none, which no constraint of the tables would: ids at or above the
// floor, wherever they stand (they would be staging's), ids below 0, keys that are there twice, and
// versioned rows that are not in the view at E.
func (d *diagnosis) checkRanges(ctx context.Context) error {
	for _, r := range relation.All() {
		if d.Rows[r.Name] == 0 {
			continue
		}
		var low, high []string
		for _, c := range r.Columns {
			if c.Name == "id" || c.Ref != "" {
				low, high = append(low, "min("+sqltext.QuoteIdent(c.Name)+")"), append(high, "max("+sqltext.QuoteIdent(c.Name)+")")
			}
		}
		fit := []string{d.ExpandSQL(r, "coalesce(least({low}) >= 0 AND greatest({high}) < {floor}, true)", "low", sqltext.Join(low), "high", sqltext.Join(high))}
		if r.Versioned {
			fit = append(fit, d.ExpandSQL(r, "coalesce(bool_and({inView}), true)", "inView", d.ExpandSQL(r, inView)))
		}
		if !kojidb.Keyed(r) { // of those the tables' own constraints are enough
			fit = append(fit, d.ExpandSQL(r, "NOT EXISTS (SELECT FROM {s} GROUP BY {cols} HAVING count(*) > 1)", "cols", sqltext.Columns("", r.Key)))
		}
		var fine bool
		if err := d.Tx.QueryRow(ctx, d.ExpandSQL(r, "SELECT {fit} FROM {s} s", "fit", strings.Join(fit, " AND "))).Scan(&fine); err != nil {
			return err
		}
		if !fine {
			return d.rangeError(ctx, r)
		}
	}
	return nil
}

// inView is what the rows s of a versioned relation have in common.
const inView = "s.active IS TRUE AND s.revoke_event IS NULL AND s.revoker_id IS NULL AND s.create_event <= {E}"

// rangeError is the error of a relation that limits refuses.
func (d *diagnosis) rangeError(ctx context.Context, r *relation.Relation) error {
	for _, c := range r.Columns {
		if c.Name != "id" && c.Ref == "" {
			continue
		}
		said, err := d.firstRow(ctx, r, "': production''s {c} is ' || s.{qc} || CASE WHEN s.{qc} < 0 THEN ', which is below 0' ELSE ', which is at or above the floor {floor}, where staging''s ids begin' END", "s.{qc} < 0 OR s.{qc} >= {floor}", "c", c.Name, "qc", sqltext.QuoteIdent(c.Name))
		if err != nil {
			return err
		}
		if said != "" {
			return fmt.Errorf("the snapshot's %s %s", r.Name, said)
		}
	}
	said, err := d.firstRow(ctx, r, "' is there twice'", "({keys}) IN (SELECT {xkeys} FROM {s} x GROUP BY {xkeys} HAVING count(*) > 1)", "keys", sqltext.Columns("s", r.Key), "xkeys", sqltext.Columns("x", r.Key))
	if said == "" && err == nil {
		said, err = d.firstRow(ctx, r, "' is not in the view at event {E}'", "("+inView+") IS NOT TRUE")
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the snapshot's %s %s", r.Name, said)
}

// firstRow returns what an expression says of the first row, by key, where a condition holds.
func (d *diagnosis) firstRow(ctx context.Context, r *relation.Relation, what, where string, pairs ...string) (said string, err error) {
	sql := d.ExpandSQL(r, "SELECT {keytext} || {what} FROM {s} s WHERE {where} ORDER BY {keys} LIMIT 1",
		append([]string{"keytext", sqltext.KeyText("s", r.Key), "what", d.ExpandSQL(r, what, pairs...), "where", d.ExpandSQL(r, where, pairs...), "keys", sqltext.Columns("s", r.Key)}, pairs...)...)
	err = d.Tx.QueryRow(ctx, sql).Scan(&said)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return said, err
}
