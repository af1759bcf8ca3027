package dbsync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// hashed are the columns of which kojisnap.placed keeps the hash: what staging could edit.
// A build's volume is judged apart from it (kojisnap.placed_volume).
func (m *merger) hashed(r *relation.Relation) []string {
	var out []string
	for _, c := range m.Schema.Columns(r)[1:] {
		if c.Name != "volume_id" {
			out = append(out, c.Name)
		}
	}
	return out
}

// writtenColumns are the columns that the hashes of a relation were made of: the staging
// schema may have been upgraded since.
func (m *merger) writtenColumns(ctx context.Context, r *relation.Relation) (cols []string, err error) {
	err = m.Tx.QueryRow(ctx, "SELECT columns FROM kojisnap.placed_columns WHERE relation = $1", r.Name).Scan(&cols)
	if errors.Is(err, pgx.ErrNoRows) {
		return m.hashed(r), nil
	}
	return cols, err
}

// findEdits lists the rows that staging changed since a load wrote them.
func (m *merger) findEdits(ctx context.Context) error {
	for _, r := range relation.All() {
		if !r.InPlace {
			continue
		}
		cols, err := m.writtenColumns(ctx, r)
		if err != nil {
			return err
		}
		id := sqltext.QuoteIdent(r.Columns[0].Name)
		// What no load placed below one of production's builds, staging did.
		own := !r.Named() && r.Name != "build" && !m.Mark.Adopted
		if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_edited SELECT {r}, t.{id} FROM {t} t
			LEFT JOIN kojisnap.placed p ON p.relation = {r} AND p.id = t.{id} WHERE coalesce({hash} <> p.hash, {own})`,
			"id", id, "hash", hashOf("t", cols), "own", fmt.Sprint(own)); err != nil {
			return err
		}
		now := m.hashed(r)
		if !slices.Equal(cols, now) {
			if _, err := m.ExecSQL(ctx, r, `UPDATE kojisnap.placed p SET hash = {hash} FROM {t} t
				WHERE p.relation = {r} AND p.id = t.{id} AND NOT EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = p.id)`,
				"id", id, "hash", hashOf("t", now)); err != nil {
				return err
			}
		}
		if _, err := m.Tx.Exec(ctx, `INSERT INTO kojisnap.placed_columns VALUES ($1, $2)
			ON CONFLICT (relation) DO UPDATE SET columns = excluded.columns WHERE placed_columns.columns <> excluded.columns`, r.Name, now); err != nil {
			return err
		}
	}
	return nil
}

// keepStagingEdits takes those rows out of the snapshot's that staging changed since they were written:
// staging's stay, and are reported where production has something else.
func (m *merger) keepStagingEdits(ctx context.Context, r *relation.Relation) error {
	if !r.InPlace {
		return nil
	}
	// Where production came to the same, the row is production's again.
	all := sqltext.Without(m.Usable(r), "volume_id")
	if _, err := m.ExecSQL(ctx, r, `DELETE FROM ks_edited e USING {s} s, {t} t WHERE {key} AND e.relation = {r} AND e.id = s.{id} AND NOT ({differ})`,
		"id", sqltext.QuoteIdent(r.Columns[0].Name), "differ", sqltext.Differ("t", "s", all)); err != nil {
		return err
	}
	edited := m.ExpandSQL(r, "EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = s.{id})", "id", sqltext.QuoteIdent(r.Columns[0].Name))
	what := "'staging changed it'"
	if r.Named() {
		what = "'staging changed it: ' || quote_literal(t.name) || ', production''s is ' || quote_literal(s.name)"
	}
	if r.Name == "build" {
		what = "'staging changed it: ' || " + kojidb.NVRText("t")
	}
	if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, {what} FROM {s} s JOIN {t} t ON {key} WHERE {edited} AND {differ}`,
		"keytext", sqltext.KeyText("s", r.Key), "what", what, "edited", edited,
		"differ", sqltext.Differ("t", "s", all)); err != nil {
		return err
	}
	_, err := m.ExecSQL(ctx, r, `WITH s AS (DELETE FROM {s} s USING {t} t WHERE {key} AND {edited} RETURNING {cols})
		INSERT INTO ks_deferred SELECT {r}, {array} FROM s`, "edited", edited, "cols", sqltext.Columns("s", r.Key), "array", sqltext.KeyArray("s", r.Key))
	return err
}

// upsert inserts the rows of a relation that are missing and updates those that differ. All
// that must not be written has been taken out of the snapshot's rows before.
func (m *merger) upsert(ctx context.Context, r *relation.Relation) error {
	if r.InPlace && !r.Named() && r.Name != "build" {
		if err := m.keepStagingEdits(ctx, r); err != nil {
			return err
		}
	}
	set := sqltext.Without(m.Given(r), r.Key...)
	switch r.Name {
	case "build":
		set = sqltext.Without(set, "volume_id") // repoint decides
	case "rpminfo":
		set = sqltext.Without(set, "draft") // follows the build's, by its foreign key
	}
	if m.Mark.Adopted {
		placed := "true"
		if r.InPlace {
			placed = m.ExpandSQL(r, "NOT EXISTS (SELECT FROM kojisnap.placed p WHERE p.relation = {r} AND p.id = t.{id})", "id", sqltext.QuoteIdent(r.Columns[0].Name))
		}
		if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_overwritten SELECT {r}, {keytext}, 'it was ' || ROW({tcols})::text FROM {s} s JOIN {t} t ON {key}
			WHERE {differ} AND {placed}`,
			"keytext", sqltext.KeyText("s", r.Key), "tcols", sqltext.Columns("t", m.Usable(r)), "differ", sqltext.Differ("t", "s", set), "placed", placed); err != nil {
			return err
		}
	}
	c := m.Counts.Of(r.Name)
	if err := m.touchInserts(ctx, r, "true"); err != nil {
		return err
	}
	n, err := m.ExecSQL(ctx, r, `INSERT INTO {t} ({cols}) OVERRIDING SYSTEM VALUE SELECT {scols} FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key})`,
		"cols", sqltext.Columns("", m.Usable(r)), "scols", sqltext.Columns("s", m.Usable(r)))
	if err != nil {
		return err
	}
	c.Inserted += n
	if len(set) > 0 {
		n, err = m.update(ctx, r, set, "true")
		if err != nil {
			return err
		}
		c.Updated += n
	}
	if !r.InPlace {
		return nil
	}
	return m.recordWritten(ctx, r)
}

// update writes the columns set of the rows that differ, and notes which tags that touches.
func (m *merger) update(ctx context.Context, r *relation.Relation, set []string, where string) (n int64, err error) {
	into := "SELECT"
	switch {
	case r.Name == "build":
		if err := m.touchBuilds(ctx, r, set, where); err != nil {
			return 0, err
		}
	case r.Name == "tag":
		into = "INSERT INTO ks_touched_tag SELECT id"
	case kojidb.BuildOf(r, "s") != "":
		into = "INSERT INTO ks_touched_build SELECT " + kojidb.BuildOf(r, "u")
	}
	if into == "SELECT" {
		return m.ExecSQL(ctx, r, `UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} AND {where}`,
			"set", sqltext.Assign("s", set), "differ", sqltext.Differ("t", "s", set), "where", where)
	}
	return m.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} AND {where} RETURNING t.*) `+into+` FROM u`,
		"set", sqltext.Assign("s", set), "differ", sqltext.Differ("t", "s", set), "where", where)
}

// recordWritten records the hashes of the rows that stand as production has them.
func (m *merger) recordWritten(ctx context.Context, r *relation.Relation) error {
	_, err := m.ExecSQL(ctx, r, `INSERT INTO kojisnap.placed AS p (relation, id, hash)
		SELECT {r}, t.{id}, {hash} FROM {t} t WHERE t.{id} IN (SELECT {id} FROM {s} UNION ALL SELECT id FROM ks_parked WHERE relation = {r})
		ON CONFLICT (relation, id) DO UPDATE SET hash = excluded.hash WHERE p.hash <> excluded.hash`,
		"id", sqltext.QuoteIdent(r.Columns[0].Name), "hash", hashOf("t", m.hashed(r)))
	return err
}

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
