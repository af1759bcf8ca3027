package dbsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// sound looks for what is wrong with the snapshot's rows themselves, after an attempt that met a
// constraint of the tables: so a refusal names the row, where PostgreSQL names at best the
// value. If it finds nothing, the hub was in the way, and the load goes on.
func (m *merger) sound(ctx context.Context) error {
	if !m.doubt {
		return nil
	}
	for _, r := range relation.All() {
		for _, look := range []func(context.Context, *relation.Relation) (string, error){m.nulls, m.repeated, m.dangling, m.unchecked, m.tooLong} {
			what, err := look(ctx, r)
			if err != nil {
				return fmt.Errorf("look at %s: %w", r.Name, err)
			}
			if what != "" {
				return fmt.Errorf("the snapshot's %s %s", r.Name, what)
			}
		}
	}
	return nil
}

// first returns what an expression says of the first row, by key, where a condition holds.
func (m *merger) first(ctx context.Context, r *relation.Relation, what, where string, pairs ...string) (said string, err error) {
	sql := m.x(r, "SELECT {keytext} || {what} FROM {s} s WHERE {where} ORDER BY {keys} LIMIT 1",
		append([]string{"keytext", keyText("s", r.Key), "what", m.x(r, what, pairs...), "where", m.x(r, where, pairs...), "keys", list("s", r.Key)}, pairs...)...)
	err = m.tx.QueryRow(ctx, sql, pgx.QueryExecModeExec).Scan(&said)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return said, err
}

func (m *merger) nulls(ctx context.Context, r *relation.Relation) (string, error) {
	var null, which []string
	for _, c := range r.Columns {
		if !c.Null {
			null = append(null, "s."+q(c.Name)+" IS NULL")
			which = append(which, "CASE WHEN s."+q(c.Name)+" IS NULL THEN "+lit(c.Name)+" END")
		}
	}
	key := make([]string, len(r.Key))
	for i, k := range r.Key {
		key[i] = lit(k+"=") + " || coalesce(s." + q(k) + "::text, 'NULL')"
	}
	var said string
	err := m.tx.QueryRow(ctx, m.x(r, "SELECT concat_ws(' ', {ids}) || ': ' || concat_ws(', ', {which}) FROM {s} s WHERE {null} LIMIT 1",
		"ids", join(key), "which", join(which), "null", strings.Join(null, " OR ")), pgx.QueryExecModeExec).Scan(&said)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return said + " must not be NULL", err
}

// repeated finds keys, and names that the tables keep unique, that two rows have.
func (m *merger) repeated(ctx context.Context, r *relation.Relation) (string, error) {
	type set struct {
		cols  []string
		where string
	}
	sets := []set{{r.Key, "true"}}
	for _, u := range r.Unique {
		sets = append(sets, set{u, "true"})
	}
	if r.Name == "rpminfo" {
		sets = append(sets, set{[]string{"name", "version", "release", "arch", "external_repo_id"}, "x.draft IS NOT TRUE"})
	}
	for _, u := range sets {
		said, err := m.first(ctx, r, "' is there twice: two rows have the same {cols}'",
			"({scols}) IN (SELECT {xcols} FROM {s} x WHERE {where} GROUP BY {xcols} HAVING count(*) > 1)",
			"cols", strings.ReplaceAll(strings.Join(u.cols, ", "), "'", ""), "scols", list("s", u.cols), "xcols", list("x", u.cols), "where", u.where)
		if said != "" || err != nil {
			return said, err
		}
	}
	return "", nil
}

// dangling finds references to rows that neither the snapshot nor the database has.
func (m *merger) dangling(ctx context.Context, r *relation.Relation) (string, error) {
	for _, c := range r.Columns {
		if c.Ref == "" {
			continue
		}
		p := relation.Get(c.Ref)
		said, err := m.first(ctx, r, "' refers by {c} to {ref} ' || s.{qc} || ', which is neither in the snapshot nor here'",
			`s.{qc} IS NOT NULL AND NOT EXISTS (SELECT FROM {ps} p WHERE p.id = s.{qc}) AND NOT EXISTS (SELECT FROM {pt} p WHERE p.id = s.{qc})
				AND NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {lref} AND i.prod_id = s.{qc})`,
			"c", c.Name, "qc", q(c.Name), "ref", c.Ref, "lref", lit(c.Ref), "ps", staged(p), "pt", q(c.Ref))
		if said != "" || err != nil {
			return said, err
		}
	}
	return "", nil
}

// unchecked finds rows that a CHECK of the table's refuses.
func (m *merger) unchecked(ctx context.Context, r *relation.Relation) (string, error) {
	rows, err := m.tx.Query(ctx, `SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint
		WHERE contype = 'c' AND conrelid = $1::text::regclass ORDER BY conname`, pgx.QueryExecModeExec, q(r.Name))
	if err != nil {
		return "", err
	}
	checks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Expr string }])
	for _, c := range checks {
		said, err := m.first(ctx, r, "' does not meet the check '", "NOT ({expr})", "expr", c.Expr)
		if said != "" || err != nil {
			return said + c.Name, err
		}
	}
	return "", err
}

// tooLong finds texts that are longer than their columns.
func (m *merger) tooLong(ctx context.Context, r *relation.Relation) (string, error) {
	rows, err := m.tx.Query(ctx, `SELECT attname, atttypmod - 4 FROM pg_attribute
		WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND atttypid = 'varchar'::regtype AND atttypmod > 4 ORDER BY attnum`,
		pgx.QueryExecModeExec, q(r.Name))
	if err != nil {
		return "", err
	}
	limits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Column string
		Length int64
	}])
	for _, l := range limits {
		if r.Index(l.Column) < 0 {
			continue
		}
		said, err := m.first(ctx, r, "' has a {c} of ' || length(s.{qc}) || ' characters, of {n} that it may have'", "length(s.{qc}) > {n}",
			"c", l.Column, "qc", q(l.Column), "n", itoa(l.Length))
		if said != "" || err != nil {
			return said, err
		}
	}
	return "", err
}

var copyLine = regexp.MustCompile(`, line (\d+)(?:, column (\S+))?`)

// unreadable names the row whose values COPY refused, instead of the line. Such an error is the
// snapshot's: trying again does not help.
func (m *merger) unreadable(ctx context.Context, r *relation.Relation, table string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !constraint(pg.Code) {
		return err
	}
	at := copyLine.FindStringSubmatch(pg.Where)
	if at == nil {
		return err
	}
	n, _ := strconv.Atoi(at[1])
	what := ""
	if at[2] != "" {
		what = strings.TrimSuffix(at[2], ":") + ": "
	}
	return fmt.Errorf("%s: %s%s (SQLSTATE %s)", m.rowAt(ctx, r, table, n), what, pg.Message, pg.Code)
}

// rowAt says which row is the n-th that was copied into a temporary table.
func (m *merger) rowAt(ctx context.Context, r *relation.Relation, table string, n int) string {
	var rows interface {
		Next() bool
		Line() []byte
		Close() error
	}
	switch {
	case table == left(r):
		rows = m.snap.Revoked(ctx, r.Name)
	case m.delta(r):
		rows = m.snap.Changed(ctx, m.base, r.Name)
	default:
		rows = m.snap.Rows(ctx, r.Name)
	}
	defer rows.Close()
	for i := 0; rows.Next(); {
		if i++; i < n {
			continue
		}
		fields, err := snapfile.ParseLine(bytes.TrimSuffix(rows.Line(), []byte("\n")), nil)
		if err != nil || len(fields) != len(r.Columns) {
			break
		}
		var key []string
		for _, k := range r.KeyIndexes() {
			key = append(key, fmt.Sprintf("%s=%.100q", r.Columns[k].Name, fields[k]))
		}
		return strings.Join(key, " ")
	}
	return fmt.Sprintf("row %d", n)
}
