package dbsync

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// x expands SQL about a relation: {t} is Koji's table, {s} the temporary one with the view at
// E, {key} the condition that rows of t and s are the same, {r} the relation's name.
func (m *merger) x(r *relation.Relation, sql string, pairs ...string) string {
	return sqltext.Expand(sql, append([]string{"t", sqltext.QuoteIdent(r.Name), "s", staged(r), "left", left(r), "went", went(r), "r", sqltext.QuoteLiteral(r.Name), "key", sqltext.Equal("t", "s", r.Key),
		"floor", sqltext.Int(m.mark.Floor), "E", sqltext.Int(m.snap.Manifest.Event), "user", sqltext.Int(m.mark.User)}, pairs...)...)
}

// exec runs expanded SQL and returns how many rows it was about.
func (m *merger) exec(ctx context.Context, r *relation.Relation, sql string, pairs ...string) (int64, error) {
	tag, err := m.tx.Exec(ctx, m.x(r, sql, pairs...))
	return tag.RowsAffected(), err
}

// notedIn are the relations that a table of notes has rows of, by name.
func (m *merger) notedIn(ctx context.Context, table string) ([]*relation.Relation, error) {
	rows, err := m.tx.Query(ctx, "SELECT DISTINCT relation FROM "+table+" ORDER BY 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*relation.Relation, error) {
		var name string
		err := row.Scan(&name)
		return relation.Get(name), err
	})
}

// usable are the columns of a relation that are written: the table has them, and they do not
// hold ids of tables that no snapshot has.
func (m *merger) usable(r *relation.Relation) []string {
	var out []string
	for _, c := range m.schema.Columns(r) {
		if !c.External {
			out = append(out, c.Name)
		}
	}
	return out
}

// staged names the temporary table that holds a relation's view at E, and left the one of its
// revoked rows.
func staged(r *relation.Relation) string { return sqltext.QuoteIdent("ks_" + r.Name) }

func left(r *relation.Relation) string { return sqltext.QuoteIdent("ks_left_" + r.Name) }

// went names the temporary table of the keys of rows that went since the base.
func went(r *relation.Relation) string { return sqltext.QuoteIdent("ks_went_" + r.Name) }

// hashOf is the hash of a row's columns that kojisnap.placed keeps. It depends on the session's
// DateStyle, which every transaction here sets, but not on whether times have a zone: only
// since Koji 1.22 they do.
func hashOf(alias string, cols []string) string {
	exprs := make([]string, len(cols))
	build := relation.Get("build") // of the relations that have hashes only this one has times
	for i, name := range cols {
		exprs[i] = alias + "." + sqltext.QuoteIdent(name)
		if at := build.Index(name); at >= 0 && build.Columns[at].Type == relation.Time {
			exprs[i] += "::timestamptz AT TIME ZONE 'UTC'"
		}
	}
	return "md5(ROW(" + sqltext.Join(exprs) + ")::text)::uuid"
}

// given are the usable columns that production's hub has. Those that it was too old for are
// defaults in the snapshot: a new row gets them, what a row holds stays.
func (m *merger) given(r *relation.Relation) []string {
	var out []string
	for _, name := range m.usable(r) {
		if m.snap.Manifest.Has(r.Columns[r.Index(name)]) {
			out = append(out, name)
		}
	}
	return out
}

// some reports whether a change or deletion of rows of a relation, of which from gives the rows, has
// anything to do, where asking matters: on a published table without a replica identity PostgreSQL
// refuses the statement itself.
func (m *merger) some(ctx context.Context, r *relation.Relation, from string, pairs ...string) (bool, error) {
	if !m.unnamed[r.Name] {
		return true, nil
	}
	var some bool
	err := m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM "+from+")", pairs...)).Scan(&some)
	return some, err
}
