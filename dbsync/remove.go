package dbsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// remover deletes the unversioned rows that production deleted.
//
// It reads ks_RELATION, ks_deleted_RELATION, ks_held_build, ks_named_build, ks_scope_tag and ks_edited, and
// writes Koji's tables, what kojisnap has on record of their rows, ks_shrunk_build, ks_covered_build, ks_doomed,
// ks_deferred, ks_kept and ks_touched_build. It makes ks_dropped_RELATION for itself.
type remover struct {
	*attempt
	missing *missingRows
	doomed  bool // ks_doomed got rows
}

// remove deletes the unversioned rows that production deleted: rpms and archives of a reset build, removed
// signatures. It looks only below builds whose rows the snapshot has completely: those that are tagged in the
// scope, those that were asked for by name, and those that are not complete and so have no rows; of everything all
// complete ones.
func (d *remover) remove(ctx context.Context) error {
	if d.Base != nil {
		if err := d.coverChanges(ctx); err != nil {
			return err
		}
	} else if _, err := d.Tx.Exec(ctx, fmt.Sprintf(`INSERT INTO ks_covered_build
		(SELECT build_id FROM ks_tag_listing WHERE tag_id IN (SELECT tag_id FROM ks_scope_tag) UNION SELECT id FROM ks_named_build UNION SELECT id FROM ks_build WHERE state IN (%s))
		EXCEPT SELECT id FROM ks_held_build; ANALYZE ks_covered_build`, d.wholeStates())); err != nil {
		return err
	}
	for _, name := range []string{"rpminfo", "archiveinfo"} {
		if partial(d.Snap.Manifest, relation.Get(name)) {
			continue
		}
		if err := d.findDoomed(ctx, relation.Get(name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	all := relation.All()
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		var err error
		switch {
		case !d.Snap.Manifest.HasRelation(r): // that no row of it is there says nothing
		case d.Delta(r) && d.Deleted[r.Name] == 0 && !d.doomed: // nothing can have gone
		case kojidb.Keyed(r):
			err = d.removeKeyed(ctx, r)
		case (r.Name == "maven_builds" || r.Name == "win_builds") && !partial(d.Snap.Manifest, r):
			err = d.removeWritten(ctx, r)
		case r.Name == "rpminfo" || r.Name == "archiveinfo":
			err = d.removeDoomed(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("remove %s: %w", r.Name, err)
		}
	}
	return nil
}

// wholeStates are the states of builds whose rows the snapshot has completely, tagged or not: everything has those of
// each complete build.
func (d *remover) wholeStates() string {
	if d.Snap.Manifest.Scope.Everything {
		return "0, 1, 3, 4"
	}
	return "0, 3, 4"
}

// mayBeDeleted is the FROM of rows that the snapshot may lack: of Koji's table (alias t), or of
// kojisnap.placed_RELATION (alias p). Where there is a base, those are the rows that production deleted since.
func (d *remover) mayBeDeleted(r *relation.Relation, a string) string {
	from := sqltext.QuoteIdent(r.Name)
	if a == "p" {
		from = book.PlacedKeys(r)
	}
	from += " " + a
	if d.Delta(r) {
		from = d.Table(loadtx.Deleted(r)) + " w JOIN " + from + " ON " + sqltext.Equal("w", a, r.Key)
	}
	return from
}

// findDoomed lists in ks_doomed the rpms or archives to delete, except those that staging's rows refer to.
func (d *remover) findDoomed(ctx context.Context, r *relation.Relation) error {
	if d.Delta(r) && d.Deleted[r.Name] == 0 && (d.Rows[r.Name] == 0 || r.Name != "rpminfo") {
		return nil
	}
	n, err := d.ExecSQL(ctx, r, `INSERT INTO ks_doomed SELECT {r}, t.id FROM {from} JOIN ks_covered_build c ON c.id = t.build_id
		WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} s WHERE {key}) AND NOT ({stays})`,
		"from", d.mayBeDeleted(r, "t"), "stays", d.missing.stays(r, "t"))
	if err != nil {
		return err
	}
	if r.Name == "rpminfo" {
		if err := d.checkReusedNames(ctx, r); err != nil {
			return err
		}
		// If production gave the name to another rpm, the old one is gone, whatever its build.
		more, err := d.ExecSQL(ctx, r, `INSERT INTO ks_doomed SELECT DISTINCT {r}, t.id FROM {t} t
			JOIN {s} s ON {nvra} AND t.id <> s.id`+d.notDraft("t")+d.notDraft("s")+`
			WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = t.id) AND NOT EXISTS (SELECT FROM ks_doomed d WHERE d.relation = {r} AND d.id = t.id)
				AND NOT EXISTS (SELECT FROM ks_held_build h WHERE h.id IN (t.build_id, s.build_id))`,
			"nvra", sqltext.Equal("t", "s", []string{"name", "version", "release", "arch", "external_repo_id"}))
		if err != nil {
			return err
		}
		n += more
	}
	if n == 0 {
		return nil
	}
	d.doomed = true
	keys, err := kojidb.Referencing(ctx, d.Tx, r.Name, "id")
	if err != nil {
		return err
	}
	for _, k := range keys {
		own := ""
		if child := relation.Get(k.Name); child != nil && !child.Optional {
			// Tables of old Koji releases (image_listing) refer to the children.
			further, err := kojidb.Referencing(ctx, d.Tx, k.Name, k.Column)
			if err != nil {
				return err
			}
			for _, f := range further {
				if err := d.spareReferred(ctx, r, f, ""); err != nil {
					return err
				}
			}
			if d.Mark.Adopted {
				continue // all of them count as production's
			}
			own = " AND NOT EXISTS (SELECT FROM " + book.PlacedKeys(child) + " p WHERE " + sqltext.Equal("p", "c", child.Key) + ")"
		} else if k.Name == "rpm_checksum" {
			continue // a cache, which is deleted with the rpms
		}
		if err := d.spareReferred(ctx, r, k, own); err != nil {
			return err
		}
	}
	_, err = d.ExecSQL(ctx, r, `INSERT INTO ks_touched_build SELECT DISTINCT t.build_id FROM {t} t JOIN ks_doomed d ON d.relation = {r} AND d.id = t.id WHERE t.build_id IS NOT NULL`)
	return err
}

// spareReferred takes rows off ks_doomed if a column k of another table refers to them, in a row c that meets
// own.
func (d *remover) spareReferred(ctx context.Context, r *relation.Relation, k kojidb.Reference, own string) error {
	_, err := d.ExecSQL(ctx, r, `WITH d AS (DELETE FROM ks_doomed d USING {c} c WHERE d.relation = {r} AND c.{col} = d.id`+own+` RETURNING d.id),
			a AS (INSERT INTO ks_deferred SELECT DISTINCT {r}, ARRAY[id::text] FROM d)
		INSERT INTO ks_kept SELECT DISTINCT {r}, 'id=' || id, {what} FROM d`,
		"c", k.Table, "col", sqltext.QuoteIdent(k.Column), "what", sqltext.QuoteLiteral("production deleted it, but staging's "+k.Name+" refers to it"))
	return err
}

// removeKeyed deletes rows of a keyed relation that a load wrote and production deleted, and those that belong
// to doomed rows. It takes several statements, so that each is a join that PostgreSQL can hash.
func (d *remover) removeKeyed(ctx context.Context, r *relation.Relation) error {
	sql := `
		CREATE TEMP TABLE {drop} ON COMMIT DROP AS SELECT {keys} FROM {from} WHERE {whole} AND NOT EXISTS (SELECT FROM {s} s WHERE {skey}) AND NOT ({stays});
		DELETE FROM {drop} p WHERE ({build} IN (SELECT id FROM ks_covered_build)) IS NOT TRUE;`
	for _, c := range r.Columns {
		if c.Ref == "rpminfo" || c.Ref == "archiveinfo" {
			sql += sqltext.Expand(`INSERT INTO {drop} SELECT {keys} FROM ks_doomed d JOIN {p} p ON d.relation = {ref} AND d.id = p.{c};`,
				"ref", sqltext.QuoteLiteral(c.Ref), "c", sqltext.QuoteIdent(c.Name), "drop", "{drop}", "keys", "{keys}", "p", "{p}")
		}
	}
	pairs := []string{"from", d.mayBeDeleted(r, "p"), "drop", sqltext.QuoteIdent("ks_dropped_" + r.Name), "keys", sqltext.Columns("p", r.Key), "p", book.PlacedKeys(r), "skey", sqltext.Equal("s", "p", r.Key),
		"build", kojidb.BuildOf(r, "p"), "pkey", sqltext.Equal("t", "p", r.Key),
		"whole", fmt.Sprint(!partial(d.Snap.Manifest, r)), "stays", d.missing.stays(r, "p")}
	if len(r.Key) == 1 {
		// Rows that unknown tables refer to stay.
		keys, err := kojidb.Referencing(ctx, d.Tx, r.Name, r.Key[0])
		if err != nil {
			return err
		}
		for _, k := range keys {
			sql += sqltext.Expand("DELETE FROM {drop} p USING {c} c WHERE c.{col} = p.{key};", "c", k.Table, "col", sqltext.QuoteIdent(k.Column), "key", sqltext.QuoteIdent(r.Key[0]), "drop", "{drop}")
		}
	}
	if _, err := d.ExecSQL(ctx, r, sql+`DELETE FROM {p} t USING {drop} p WHERE {pkey}`, pairs...); err != nil {
		return err
	}
	if some, err := d.HasRows(ctx, r, "{drop}", pairs...); err != nil || !some {
		return err
	}
	n, err := d.ExecSQL(ctx, r, `WITH u AS (DELETE FROM {t} t USING {drop} p WHERE {pkey} RETURNING t.*)
		INSERT INTO ks_touched_build SELECT {ubuild} FROM u`, append(pairs, "ubuild", kojidb.BuildOf(r, "u"))...)
	d.Counts.Of(r.Name).Deleted += n
	return err
}

// removeWritten does the same for relations whose rows kojisnap.placed knows, unless staging edited them.
func (d *remover) removeWritten(ctx context.Context, r *relation.Relation) error {
	since := ""
	if d.Delta(r) {
		since = d.ExpandSQL(r, " AND EXISTS (SELECT FROM {deleted} s WHERE {key})")
	}
	n, err := d.ExecSQL(ctx, r, `WITH u AS (DELETE FROM {t} t USING kojisnap.placed p WHERE p.relation = {r} AND p.id = t.build_id{since}
			AND NOT EXISTS (SELECT FROM {s} s WHERE {key}) AND NOT ({stays}) AND t.build_id IN (SELECT id FROM ks_covered_build)
			AND NOT EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r} AND e.id = t.build_id) RETURNING t.build_id),
		p AS (DELETE FROM kojisnap.placed p USING u WHERE p.relation = {r} AND p.id = u.build_id)
		INSERT INTO ks_touched_build SELECT build_id FROM u`, "since", since, "stays", d.missing.stays(r, "t"))
	d.Counts.Of(r.Name).Deleted += n
	return err
}

// removeDoomed deletes the rpms or archives in ks_doomed.
func (d *remover) removeDoomed(ctx context.Context, r *relation.Relation) error {
	var some bool
	if err := d.Tx.QueryRow(ctx, d.ExpandSQL(r, "SELECT EXISTS (SELECT FROM ks_doomed WHERE relation = {r})")).Scan(&some); err != nil || !some {
		return err
	}
	if _, ok := d.Schema.Tables["rpm_checksum"]; ok && r.Name == "rpminfo" {
		if _, err := d.Tx.Exec(ctx, `DELETE FROM rpm_checksum c USING ks_doomed d WHERE d.relation = 'rpminfo' AND d.id = c.rpm_id`); err != nil {
			return err
		}
	}
	if d.Mark.Adopted {
		// Rows of an adopted database may not be on the lists of what was placed.
		for _, child := range relation.All() {
			for _, c := range child.Columns {
				if kojidb.Keyed(child) && c.Ref == r.Name {
					if _, err := d.ExecSQL(ctx, child, `DELETE FROM {t} t USING ks_doomed d WHERE d.relation = {ref} AND d.id = t.{c}`, "ref", sqltext.QuoteLiteral(r.Name), "c", sqltext.QuoteIdent(c.Name)); err != nil {
						return err
					}
				}
			}
		}
	}
	n, err := d.ExecSQL(ctx, r, `DELETE FROM {t} t USING ks_doomed d WHERE d.relation = {r} AND d.id = t.id`)
	d.Counts.Of(r.Name).Deleted += n
	return err
}

// checkReusedNames asks for all rows if a new rpm has the name of another one of production's that was not
// deleted since the base: the snapshot may have both.
func (d *remover) checkReusedNames(ctx context.Context, r *relation.Relation) error {
	if d.Base == nil {
		return nil
	}
	var both bool
	err := d.Tx.QueryRow(ctx, d.ExpandSQL(r, `SELECT EXISTS (SELECT FROM {t} t JOIN {s} s ON {nvra} AND t.id <> s.id`+d.notDraft("t")+d.notDraft("s")+`
		WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = t.id) AND NOT EXISTS (SELECT FROM {deleted} w WHERE w.id = t.id))`,
		"nvra", sqltext.Equal("t", "s", []string{"name", "version", "release", "arch", "external_repo_id"}))).Scan(&both)
	if err == nil && both {
		return errNeedAllRows
	}
	return err
}

// coverChanges fills ks_covered_build, where there is a base: those builds below which production deleted
// rows, and whose rows the snapshot has completely.
func (d *remover) coverChanges(ctx context.Context) error {
	for _, r := range relation.All() {
		build := kojidb.BuildOf(r, "g")
		switch {
		case !d.Delta(r) || d.Deleted[r.Name] == 0 || build == "" || r.Name == "build":
			continue
		case r.Name == "rpminfo" || r.Name == "archiveinfo":
			build = d.ExpandSQL(r, "(SELECT t.build_id FROM {t} t WHERE t.id = g.id)")
		}
		if _, err := d.ExecSQL(ctx, r, "INSERT INTO ks_shrunk_build SELECT DISTINCT {build} FROM {deleted} g", "build", build); err != nil {
			return err
		}
	}
	listing := relation.Get("tag_listing")
	_, err := d.ExecSQL(ctx, listing, `DELETE FROM ks_shrunk_build l WHERE id IS NULL OR id >= {floor}
			OR EXISTS (SELECT FROM ks_held_build h WHERE h.id = l.id) OR EXISTS (SELECT FROM ks_deleted_build g WHERE g.id = l.id);
		INSERT INTO ks_covered_build SELECT DISTINCT l.id FROM ks_shrunk_build l
		WHERE l.id IN (SELECT id FROM ks_named_build)
			OR EXISTS (SELECT FROM {s} s WHERE s.build_id = l.id AND s.tag_id IN (SELECT tag_id FROM ks_scope_tag))
			OR EXISTS (SELECT FROM {t} t WHERE t.build_id = l.id AND t.tag_id IN (SELECT tag_id FROM ks_scope_tag) AND t.create_event < {floor}
				AND (t.active OR t.revoke_event >= {floor}))
			OR coalesce((SELECT s.state FROM ks_build s WHERE s.id = l.id), (SELECT v.state FROM kojisnap.placed_volume v WHERE v.build_id = l.id)) IN ({states})`, "states", d.wholeStates())
	return err
}

// cascade deletes rows of staging's and all rows that refer to them by foreign keys. ids is a query for their
// ids. Only Replace asks for it.
func (a *attempt) cascade(ctx context.Context, table, ids string) (int64, error) {
	rows, err := a.Tx.Query(ctx, ids)
	if err != nil {
		return 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return a.deleteRows(ctx, table, "id", list)
}

// deleteRows deletes the rows whose column holds one of the ids, children first. The children of a row without
// an id of its own refer to the same column that the row does.
func (a *attempt) deleteRows(ctx context.Context, table, column string, ids []int32) (int64, error) {
	own, key := ids, column
	if _, ok := a.Schema.Column(table, "id"); ok {
		rows, err := a.Tx.Query(ctx, sqltext.Expand("SELECT id FROM {t} WHERE {c} = ANY($1)", "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids)
		if err != nil {
			return 0, err
		}
		key = "id"
		if own, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil || len(own) == 0 {
			return 0, err
		}
	}
	keys, err := kojidb.Referencing(ctx, a.Tx, table, key)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		if _, err := a.deleteRows(ctx, k.Name, k.Column, own); err != nil {
			return 0, err
		}
	}
	if table == "tag_listing" {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("INSERT INTO ks_touched_tag SELECT tag_id FROM tag_listing WHERE {c} = ANY($1)", "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	r := relation.Get(table)
	if r != nil && kojidb.BuildOf(r, "x") != "" {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("INSERT INTO ks_touched_build SELECT DISTINCT {build} FROM {t} x WHERE {c} = ANY($1)", "build", kojidb.BuildOf(r, "x"), "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	if r != nil && kojidb.Keyed(r) {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("DELETE FROM {p} WHERE {c} = ANY($1)", "p", book.PlacedKeys(r), "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	tag, err := a.Tx.Exec(ctx, sqltext.Expand("DELETE FROM {t} WHERE {c} = ANY($1)", "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids)
	a.Counts.Of(table).Deleted += tag.RowsAffected()
	return tag.RowsAffected(), err
}
