package dbsync

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// Names of tables and columns reach SQL only from the catalogue of relations or from
// PostgreSQL's own; values that others wrote go through temporary tables or parameters.

// q quotes an identifier.
func q(name string) string { return pgx.Identifier{name}.Sanitize() }

// lit quotes a string literal; only for names out of the catalogue.
func lit(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// list gives "a.x, a.y", or "x, y" for an empty alias.
func list(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		if out[i] = q(c); alias != "" {
			out[i] = alias + "." + out[i]
		}
	}
	return strings.Join(out, ", ")
}

// equal gives "a.x = b.x AND a.y = b.y".
func equal(a, b string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = a + "." + q(c) + " = " + b + "." + q(c)
	}
	return strings.Join(out, " AND ")
}

// differ is true where any of the columns does, NULLs being alike.
func differ(a, b string, cols []string) string {
	if len(cols) == 0 {
		return "false"
	}
	return "ROW(" + list(a, cols) + ") IS DISTINCT FROM ROW(" + list(b, cols) + ")"
}

// assign gives "x = s.x, y = s.y".
func assign(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = q(c) + " = " + alias + "." + q(c)
	}
	return strings.Join(out, ", ")
}

// hashOf is the hash of a row's columns that kojisnap.placed keeps. It depends on the session's
// DateStyle, which every transaction here sets, but not on whether times have a zone: only
// since Koji 1.22 they do.
func hashOf(alias string, cols []string) string {
	exprs := make([]string, len(cols))
	build := relation.Get("build") // of the relations that have hashes only this one has times
	for i, name := range cols {
		exprs[i] = alias + "." + q(name)
		if at := build.Index(name); at >= 0 && build.Columns[at].Type == relation.Time {
			exprs[i] += "::timestamptz AT TIME ZONE 'UTC'"
		}
	}
	return "md5(ROW(" + join(exprs) + ")::text)::uuid"
}

// keyText is a row's key for people: "create_event=7 build_id=3".
func keyText(alias string, cols []string) string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = lit(c+"=") + " || " + alias + "." + q(c)
	}
	return strings.Join(out, " || ' ' || ")
}

// staged names the temporary table that holds a relation's view at E, and left the one of its
// revoked rows.
func staged(r *relation.Relation) string { return q("ks_" + r.Name) }
func left(r *relation.Relation) string   { return q("ks_left_" + r.Name) }

// went names the temporary table of the keys of rows that went since the base.
func went(r *relation.Relation) string { return q("ks_went_" + r.Name) }

// expand replaces {name} by its value, from pairs.
func expand(sql string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		pairs[i] = "{" + pairs[i] + "}"
	}
	return strings.NewReplacer(pairs...).Replace(sql)
}

// x expands SQL about a relation: {t} is Koji's table, {s} the temporary one with the view at
// E, {key} the condition that rows of t and s are the same, {r} the relation's name.
func (m *merger) x(r *relation.Relation, sql string, pairs ...string) string {
	return expand(sql, append([]string{"t", q(r.Name), "s", staged(r), "left", left(r), "went", went(r), "r", lit(r.Name), "key", equal("t", "s", r.Key),
		"floor", itoa(m.mark.Floor), "E", itoa(m.snap.Manifest.Event), "user", itoa(m.mark.user)}, pairs...)...)
}

// exec runs expanded SQL and returns how many rows it was about.
func (m *merger) exec(ctx context.Context, r *relation.Relation, sql string, pairs ...string) (int64, error) {
	tag, err := m.tx.Exec(ctx, m.x(r, sql, pairs...))
	return tag.RowsAffected(), err
}

// notedIn are the relations that a table of notes has rows of, by name.
func (m *merger) notedIn(ctx context.Context, table string) ([]*relation.Relation, error) {
	rows, err := m.tx.Query(ctx, "SELECT DISTINCT relation FROM "+table+" ORDER BY 1", pgx.QueryExecModeExec)
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
	for _, c := range m.schema.columns(r) {
		if !c.External {
			out = append(out, c.Name)
		}
	}
	return out
}

// without returns the columns that are not in drop.
func without(cols []string, drop ...string) []string {
	var out []string
next:
	for _, c := range cols {
		for _, d := range drop {
			if c == d {
				continue next
			}
		}
		out = append(out, c)
	}
	return out
}
