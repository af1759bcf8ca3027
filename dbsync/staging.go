package dbsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// scratch are the temporary tables that a load keeps its findings in. ks_gone are rows of
// production's that do not go in, and so neither does what refers to them.
const scratch = `
	CREATE TEMP TABLE ks_out (relation text, key text, conflict boolean, reason text) ON COMMIT DROP;
	CREATE TEMP TABLE ks_kept (relation text, key text, reason text) ON COMMIT DROP;
	CREATE TEMP TABLE ks_over (relation text, key text, reason text) ON COMMIT DROP;
	CREATE TEMP TABLE ks_gone (relation text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_stuck (relation text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_edit (relation text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_parked (relation text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_del (relation text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_held (id integer, reason text) ON COMMIT DROP;
	CREATE TEMP TABLE ks_new (id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_scope (tag_id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_covered (id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_staged (name text, version text, release text) ON COMMIT DROP;
	CREATE TEMP TABLE ks_volumes (production text, id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_touched (tag_id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_touched_build (id integer) ON COMMIT DROP;
`

// stage fills one temporary table a relation, and one of the revoked rows of each versioned
// one, by COPY.
func (m *merger) stage(ctx context.Context) error {
	var total int64
	for _, r := range m.snap.Manifest.Relations {
		total += r.Rows
	}
	work := m.opt.Progress.Begin("read", total)
	defer work.End()
	for _, r := range relation.All() {
		extra := map[string]string{
			"build":                ", ks_production text",
			"external_repo_config": ", ks_ruled boolean DEFAULT false",
		}[r.Name]
		if err := m.copyRows(ctx, r, staged(r), extra, m.snap.Rows(ctx, r.Name)); err != nil {
			return err
		}
		if r.Versioned {
			if err := m.copyRows(ctx, r, left(r), "", m.snap.Revoked(ctx, r.Name)); err != nil {
				return err
			}
		}
		work.Add(m.snap.Relation(r.Name).Rows)
	}
	return nil
}

func (m *merger) copyRows(ctx context.Context, r *relation.Relation, table, extra string, rows *snapfile.Rows) error {
	defer rows.Close()
	defs := make([]string, len(r.Columns))
	for i, c := range r.Columns {
		defs[i] = q(c.Name) + " " + sqlType(c.Type)
	}
	if _, err := m.tx.Exec(ctx, "CREATE TEMP TABLE "+table+" ("+join(defs)+extra+") ON COMMIT DROP"); err != nil {
		return err
	}
	_, err := m.tx.Conn().PgConn().CopyFrom(ctx, rows, "COPY "+table+" ("+list("", r.ColumnNames())+") FROM STDIN")
	// What the snapshot says of itself is the cause of what PostgreSQL says then.
	if cause := rows.Err(); cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Name, err)
	}
	_, err = m.tx.Exec(ctx, "ANALYZE "+table)
	return err
}

// limits refuses ids at or above the floor, wherever they stand: they would be staging's.
func (m *merger) limits(ctx context.Context) error {
	for _, r := range relation.All() {
		var ids []string
		for _, c := range r.Columns {
			if c.Name == "id" || c.Ref != "" {
				ids = append(ids, "max("+q(c.Name)+")")
			}
		}
		var highest int64
		if err := m.tx.QueryRow(ctx, m.x(r, "SELECT coalesce(greatest({ids}), 0) FROM {s}", "ids", join(ids)), pgx.QueryExecModeExec).Scan(&highest); err != nil {
			return err
		}
		if highest >= m.mark.Floor {
			return fmt.Errorf("production's %s has the id %d, which is at or above the floor %d, where staging's ids begin", r.Name, highest, m.mark.Floor)
		}
	}
	return nil
}

// fit leaves out rows that the tables cannot hold, as they are of an older Koji.
func (m *merger) fit(ctx context.Context) error {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			have, ok := m.schema.column(r.Name, c.Name)
			var err error
			switch {
			case !ok && r.Name == "build" && c.Name == "draft":
				err = m.leaveOut(ctx, r, leave{where: "s.draft", reason: `'a draft build: the tables are older than Koji 1.34'`})
			case ok && have.notNull && c.Null:
				err = m.leaveOut(ctx, r, leave{where: "s." + q(c.Name) + " IS NULL",
					reason: lit("column " + c.Name + " cannot be NULL here: the tables are older than production's")})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leave says which rows of a snapshot do not go in: those where holds, with the tables of
// using at hand.
type leave struct {
	using    string // "build AS h"
	where    string
	reason   string // an expression
	conflict bool
	// goneIf says which of them take along what hangs on them; empty means all.
	goneIf string
	// noteIf says which of them are noted; empty means all.
	noteIf string
}

// leaveOut takes rows out of a snapshot's temporary table and notes them.
func (m *merger) leaveOut(ctx context.Context, r *relation.Relation, l leave) error {
	cols := list("s", r.Key)
	if l.using != "" {
		l.using = "USING " + l.using
	}
	for _, cond := range []*string{&l.goneIf, &l.noteIf} {
		if *cond == "" {
			*cond = "true"
		}
	}
	gone := ""
	if hasID(r) {
		gone = `, g AS (INSERT INTO ks_gone SELECT {r}, s.id FROM s WHERE {goneIf} RETURNING 1),
			k AS (INSERT INTO ks_stuck SELECT {r}, s.id FROM s RETURNING 1)`
	}
	n, err := m.exec(ctx, r, `WITH s AS (DELETE FROM {s} s {using} WHERE {where} RETURNING {cols}, {reason} AS ks_reason)`+gone+`
		INSERT INTO ks_out SELECT {r}, {keytext}, {conflict}, ks_reason FROM s WHERE {noteIf}`,
		"using", l.using, "where", l.where, "cols", cols, "reason", l.reason, "keytext", keyText("s", r.Key),
		"conflict", fmt.Sprint(l.conflict), "goneIf", l.goneIf, "noteIf", l.noteIf)
	if err != nil || n == 0 && l.noteIf == "true" || !hasID(r) {
		return err
	}
	var some bool
	err = m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM ks_gone WHERE relation = {r})"), pgx.QueryExecModeExec).Scan(&some)
	m.gone[r.Name] = some
	return err
}

// hanging leaves out the rows that refer to rows which were left out. Those that the table
// holds already stay there as they are, without a note.
func (m *merger) hanging(ctx context.Context, r *relation.Relation) error {
	for _, c := range r.Columns {
		if c.Ref == "" || !m.gone[c.Ref] {
			continue
		}
		err := m.leaveOut(ctx, r, leave{
			using:  "ks_gone g",
			where:  expand("g.relation = {ref} AND g.id = s.{c}", "ref", lit(c.Ref), "c", q(c.Name)),
			reason: expand("{what} || g.id || ' was left out'", "what", lit("its "+c.Ref+" ")),
			noteIf: m.x(r, "NOT EXISTS (SELECT FROM {t} t WHERE {key})"),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
