package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// edits knows which rows staging changed in place since a load wrote them.
//
// It compares rows with the hashes in kojisnap.placed. ("Placed" is the stored word for: written by a load.)
// It fills ks_edited, and moves production's rows where staging's edit stays from ks_RELATION to ks_kept and
// ks_deferred.
type edits struct {
	*attempt
	some bool // ks_edited got rows
}

// writtenColumns returns, by relation, the columns that the stored hashes were made of. They differ from hashed if
// the schema was upgraded since.
func (e *edits) writtenColumns(ctx context.Context) (map[string][]string, error) {
	rows, err := e.Tx.Query(ctx, "SELECT relation, columns FROM kojisnap.placed_columns")
	if err != nil {
		return nil, err
	}
	stored := map[string][]string{}
	var name string
	var cols []string
	_, err = pgx.ForEachRow(rows, []any{&name, &cols}, func() error {
		stored[name] = slices.Clone(cols)
		return nil
	})
	return stored, err
}

// findEdits fills ks_edited, and renews the hashes if the schema got other columns.
func (e *edits) findEdits(ctx context.Context) error {
	stored, err := e.writtenColumns(ctx)
	if err != nil {
		return err
	}
	var find []string
	for _, r := range relation.All() {
		if _, in := e.Imported[r.Name]; in || !r.InPlace {
			continue // an import has just written these rows, and their hashes
		}
		cols := stored[r.Name]
		if cols == nil {
			cols = e.Hashed(r)
		}
		// A row below one of production's builds that no load wrote is staging's.
		own := !r.Named() && r.Name != "build" && !e.Mark.Adopted
		find = append(find, e.ExpandSQL(r, `SELECT {r}, t.{id} FROM {t} t
			LEFT JOIN kojisnap.placed p ON p.relation = {r} AND p.id = t.{id} WHERE coalesce({hash} <> p.hash, {own})`,
			"id", sqltext.QuoteIdent(r.Columns[0].Name), "hash", loadtx.HashOf("t", cols), "own", fmt.Sprint(own)))
	}
	if len(find) > 0 {
		tag, err := e.Tx.Exec(ctx, "INSERT INTO ks_edited "+strings.Join(find, " UNION ALL "))
		if err != nil {
			return err
		}
		e.some = tag.RowsAffected() > 0
	}
	for _, r := range relation.All() {
		now := e.Hashed(r)
		cols, known := stored[r.Name]
		if _, in := e.Imported[r.Name]; in || !r.InPlace || known && slices.Equal(cols, now) {
			continue
		}
		if known {
			if _, err := e.ExecSQL(ctx, r, `UPDATE kojisnap.placed p SET hash = {hash} FROM {t} t
				WHERE p.relation = {r} AND p.id = t.{id} AND NOT EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = p.id)`,
				"id", sqltext.QuoteIdent(r.Columns[0].Name), "hash", loadtx.HashOf("t", now)); err != nil {
				return err
			}
		}
		if _, err := e.Tx.Exec(ctx, `INSERT INTO kojisnap.placed_columns VALUES ($1, $2)
			ON CONFLICT (relation) DO UPDATE SET columns = excluded.columns`, r.Name, now); err != nil {
			return err
		}
	}
	return nil
}

// keepStagingEdits takes the rows out of the snapshot's that staging edited. Staging's rows stay as they are,
// and are reported where production's differ.
func (e *edits) keepStagingEdits(ctx context.Context, r *relation.Relation) error {
	if !r.InPlace || !e.some {
		return nil
	}
	// Where production has the same now, the row is production's again.
	all := sqltext.Without(e.Usable(r), "volume_id")
	if _, err := e.ExecSQL(ctx, r, `DELETE FROM ks_edited e USING {s} s, {t} t WHERE {key} AND e.relation = {r} AND e.id = s.{id} AND NOT ({differ})`,
		"id", sqltext.QuoteIdent(r.Columns[0].Name), "differ", sqltext.Differ("t", "s", all)); err != nil {
		return err
	}
	edited := e.ExpandSQL(r, "EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = s.{id})", "id", sqltext.QuoteIdent(r.Columns[0].Name))
	what := "'staging changed it'"
	if r.Named() {
		what = "'staging changed it: ' || quote_literal(t.name) || ', production''s is ' || quote_literal(s.name)"
	}
	if r.Name == "build" {
		what = "'staging changed it: ' || " + kojidb.NVRText("t")
	}
	if _, err := e.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, {what} FROM {s} s JOIN {t} t ON {key} WHERE {edited} AND {differ}`,
		"keytext", sqltext.KeyText("s", r.Key), "what", what, "edited", edited,
		"differ", sqltext.Differ("t", "s", all)); err != nil {
		return err
	}
	_, err := e.ExecSQL(ctx, r, `WITH s AS (DELETE FROM {s} s USING {t} t WHERE {key} AND {edited} RETURNING {cols})
		INSERT INTO ks_deferred SELECT {r}, {array} FROM s`, "edited", edited, "cols", sqltext.Columns("s", r.Key), "array", sqltext.KeyArray("s", r.Key))
	return err
}

// recordWritten stores the hashes of the rows that are as production has them.
func (e *edits) recordWritten(ctx context.Context, r *relation.Relation) error {
	_, err := e.ExecSQL(ctx, r, `INSERT INTO kojisnap.placed AS p (relation, id, hash)
		SELECT {r}, t.{id}, {hash} FROM {t} t WHERE t.{id} IN (SELECT {id} FROM {s} UNION ALL SELECT id FROM ks_parked WHERE relation = {r})
		ON CONFLICT (relation, id) DO UPDATE SET hash = excluded.hash WHERE p.hash <> excluded.hash`,
		"id", sqltext.QuoteIdent(r.Columns[0].Name), "hash", loadtx.HashOf("t", e.Hashed(r)))
	return err
}

// tellEdits reports the edits of staging that no other step came across, as the snapshot does not have the row
// or production has not changed it since the base.
func (e *edits) tellEdits(ctx context.Context) error {
	const untold = ` AND NOT EXISTS (SELECT FROM ks_kept x WHERE x.relation = {r} AND x.key = {keytext})
		AND NOT EXISTS (SELECT FROM ks_left_out x WHERE x.relation = {r} AND x.key = {keytext})`
	for _, r := range relation.All() {
		if !r.InPlace || r.Named() {
			continue
		}
		id, what := sqltext.QuoteIdent(r.Columns[0].Name), "''"
		if build := kojidb.BuildOf(r, "t"); build != "" {
			what = sqltext.Expand("(SELECT ': ' || {nvr} FROM build n WHERE n.id = {build})", "nvr", kojidb.NVRText("n"), "build", build)
		}
		pairs := []string{"id", id, "keytext", sqltext.KeyText("t", r.Key), "what", what}
		if r.Name == "build" {
			if _, err := e.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, h.reason || {what} FROM ks_held_build h JOIN {t} t ON t.id = h.id WHERE true`+untold, pairs...); err != nil {
				return err
			}
		}
		if !e.some {
			continue
		}
		if _, err := e.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, 'staging changed it' || {what} FROM ks_edited e JOIN {t} t ON t.{id} = e.id
				JOIN kojisnap.placed p ON p.relation = {r} AND p.id = e.id
			WHERE e.relation = {r} AND e.id < {floor}`+untold, pairs...); err != nil {
			return err
		}
	}
	return nil
}
