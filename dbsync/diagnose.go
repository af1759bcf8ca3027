package dbsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// diagnosis finds rows of the snapshot that are wrong themselves.
//
// It reads ks_RELATION and the catalogue of PostgreSQL. What it finds goes to exclusions.
type diagnosis struct {
	*attempt
	out *exclusions
}

// flaw is a reason for which the tables would refuse rows of a snapshot.
type flaw struct {
	where  string // of the row s
	reason string // an expression
}

// diagnoseRows leaves out each row that is wrong in itself, with everything that refers to it, and says why.
// Names that lead out of their directory are always left out. Rows that a constraint of the tables would
// refuse are left out only after an attempt that met a constraint, or while an earlier load's records have
// such rows. So an odd row keeps no other row back. If it finds nothing, another writer was in the way, and
// the load continues.
func (d *diagnosis) diagnoseRows(ctx context.Context) error {
	looks := []func(context.Context, *relation.Relation) ([]flaw, error){d.findClimbing}
	all := d.metConstraint
	if !all {
		if err := d.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM kojisnap.left_out WHERE bad)").Scan(&all); err != nil {
			return err
		}
	}
	if all {
		looks = append(looks, d.findNulls, d.findRepeated, d.findDangling, d.findUnchecked, d.findTooLong)
	}
	for _, r := range relation.All() {
		if d.Rows[r.Name] == 0 {
			continue
		}
		looked := false
		for _, look := range looks {
			flaws, err := look(ctx, r)
			if err != nil {
				return fmt.Errorf("look at %s: %w", r.Name, err)
			}
			for _, f := range flaws {
				looked = true
				if err := d.out.leaveOut(ctx, r, leaveOutRule{where: f.where, reason: f.reason, key: anyKeyText(r), bad: true}); err != nil {
					return fmt.Errorf("look at %s: %w", r.Name, err)
				}
			}
		}
		if !looked {
			continue
		}
		var some bool
		if err := d.Tx.QueryRow(ctx, d.ExpandSQL(r, "SELECT EXISTS (SELECT FROM ks_left_out WHERE relation = {r} AND bad)")).Scan(&some); err != nil {
			return err
		}
		d.out.bad[r.Name] = some
	}
	return nil
}

// findClimbing finds names that lead out of their directory. Pull refuses such names, so the snapshot is
// forged or from an early kojisnap. A hub would make paths of them.
func (d *diagnosis) findClimbing(_ context.Context, r *relation.Relation) ([]flaw, error) {
	var where, reason []string
	for _, c := range r.Columns {
		if c.Path {
			climbs := relation.ClimbsSQL("s." + sqltext.QuoteIdent(c.Name))
			where = append(where, climbs)
			reason = append(reason, "WHEN "+climbs+" THEN "+sqltext.QuoteLiteral("its "+c.Name+" ")+" || to_json(s."+sqltext.QuoteIdent(c.Name)+") || "+sqltext.QuoteLiteral(" "+relation.ClimbsReason))
		}
	}
	if len(where) == 0 {
		return nil, nil
	}
	return []flaw{{strings.Join(where, " OR "), "CASE " + strings.Join(reason, " ") + " END"}}, nil
}

// anyKeyText is sqltext.KeyText for keys that may have NULLs.
func anyKeyText(r *relation.Relation) string {
	out := make([]string, len(r.Key))
	for i, k := range r.Key {
		out[i] = sqltext.QuoteLiteral(k+"=") + " || coalesce(s." + sqltext.QuoteIdent(k) + "::text, 'NULL')"
	}
	return strings.Join(out, " || ' ' || ")
}

// findNulls finds NULLs where the catalogue allows none.
func (d *diagnosis) findNulls(_ context.Context, r *relation.Relation) (out []flaw, err error) {
	for _, c := range r.Columns {
		if !c.Null {
			out = append(out, flaw{"s." + sqltext.QuoteIdent(c.Name) + " IS NULL", sqltext.QuoteLiteral(c.Name + " must not be NULL")})
		}
	}
	return out, nil
}

// findRepeated finds rows whose key, name or other unique columns an earlier row of the snapshot has. The
// later row is left out.
func (d *diagnosis) findRepeated(_ context.Context, r *relation.Relation) (out []flaw, err error) {
	set := func(cols []string, what, and string) {
		out = append(out, flaw{d.ExpandSQL(r, "EXISTS (SELECT FROM {s} x WHERE {same} AND x.ctid < s.ctid{and})", "same", sqltext.Equal("x", "s", cols), "and", and),
			sqltext.QuoteLiteral("it is there twice: an earlier row has the same " + what)})
	}
	set(r.Key, strings.Join(r.Key, ", "), "")
	for _, u := range r.Unique {
		set(u, strings.Join(u, ", "), "")
	}
	if r.Name == "rpminfo" {
		nvra := []string{"name", "version", "release", "arch", "external_repo_id"}
		set(nvra, strings.Join(nvra, ", "), " AND x.draft IS NOT TRUE AND s.draft IS NOT TRUE")
	}
	return out, nil
}

// findDangling finds references to rows that neither the snapshot nor the database has. Rows that refer to a
// row which was left out are not among them: skipDependents treats those.
func (d *diagnosis) findDangling(_ context.Context, r *relation.Relation) (out []flaw, err error) {
	for _, c := range r.Columns {
		if c.Ref == "" {
			continue
		}
		p := relation.Get(c.Ref)
		pairs := []string{"c", c.Name, "qc", sqltext.QuoteIdent(c.Name), "ref", c.Ref, "lref", sqltext.QuoteLiteral(c.Ref), "ps", d.Table(loadtx.Staged(p)), "pt", sqltext.QuoteIdent(c.Ref)}
		out = append(out, flaw{d.ExpandSQL(r, `s.{qc} IS NOT NULL AND NOT EXISTS (SELECT FROM {ps} p WHERE p.id = s.{qc}) AND NOT EXISTS (SELECT FROM {pt} p WHERE p.id = s.{qc})
				AND NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {lref} AND i.prod_id = s.{qc})
				AND NOT EXISTS (SELECT FROM ks_skipped g WHERE g.relation = {lref} AND g.id = s.{qc})`, pairs...),
			d.ExpandSQL(r, "'it refers by {c} to {ref} ' || s.{qc} || ', which is neither in the snapshot nor here'", pairs...)})
	}
	return out, nil
}

// findUnchecked finds rows that a CHECK constraint refuses.
func (d *diagnosis) findUnchecked(ctx context.Context, r *relation.Relation) (out []flaw, err error) {
	rows, err := d.Tx.Query(ctx, `SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint
		WHERE contype = 'c' AND conrelid = $1::text::regclass ORDER BY conname`, sqltext.QuoteIdent(r.Name))
	if err != nil {
		return nil, err
	}
	checks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Expr string }])
	for _, c := range checks {
		out = append(out, flaw{"NOT (" + c.Expr + ")", sqltext.QuoteLiteral("it does not meet the check " + c.Name)})
	}
	return out, err
}

// findTooLong finds texts that are longer than their columns.
func (d *diagnosis) findTooLong(ctx context.Context, r *relation.Relation) (out []flaw, err error) {
	rows, err := d.Tx.Query(ctx, `SELECT attname, atttypmod - 4 FROM pg_attribute
		WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND atttypid = 'varchar'::regtype AND atttypmod > 4 ORDER BY attnum`, sqltext.QuoteIdent(r.Name))
	if err != nil {
		return nil, err
	}
	limits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Column string
		Length int64
	}])
	for _, l := range limits {
		if r.Index(l.Column) >= 0 {
			pairs := []string{"c", l.Column, "qc", sqltext.QuoteIdent(l.Column), "n", sqltext.Int(l.Length)}
			out = append(out, flaw{sqltext.Expand("length(s.{qc}) > {n}", slices.Clone(pairs)...),
				sqltext.Expand("'its {c} has ' || length(s.{qc}) || ' characters, of {n} that it may have'", pairs...)})
		}
	}
	return out, err
}

// checkRanges refuses a snapshot that pull cannot have written, where no constraint would: ids at or above the
// floor, which would be staging's, ids below 0, a key that is there twice, and versioned rows that are not in
// the view at E.
func (d *diagnosis) checkRanges(ctx context.Context) error {
	var looks []string
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
		looks = append(looks, d.ExpandSQL(r, "SELECT {r}, {fit} FROM {s} s", "fit", strings.Join(fit, " AND ")))
	}
	if len(looks) == 0 {
		return nil
	}
	rows, err := d.Tx.Query(ctx, strings.Join(looks, " UNION ALL "))
	if err != nil {
		return err
	}
	var name string
	var fine bool
	unfit := map[string]bool{}
	if _, err := pgx.ForEachRow(rows, []any{&name, &fine}, func() error { unfit[name] = !fine; return nil }); err != nil {
		return err
	}
	for _, r := range relation.All() {
		if unfit[r.Name] {
			return d.rangeError(ctx, r)
		}
	}
	return nil
}

// inView is the condition that all rows s of a versioned relation meet.
const inView = "s.active IS TRUE AND s.revoke_event IS NULL AND s.revoker_id IS NULL AND s.create_event <= {E}"

// rangeError names the first row of a relation that checkRanges refuses.
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

// firstRow returns the key of the first row that meets a condition, followed by an expression about it; empty
// if there is none.
func (d *diagnosis) firstRow(ctx context.Context, r *relation.Relation, what, where string, pairs ...string) (said string, err error) {
	sql := d.ExpandSQL(r, "SELECT {keytext} || {what} FROM {s} s WHERE {where} ORDER BY {keys} LIMIT 1",
		append([]string{"keytext", sqltext.KeyText("s", r.Key), "what", d.ExpandSQL(r, what, pairs...), "where", d.ExpandSQL(r, where, pairs...), "keys", sqltext.Columns("s", r.Key)}, pairs...)...)
	err = d.Tx.QueryRow(ctx, sql).Scan(&said)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return said, err
}
