package dbsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// remove deletes the unversioned rows that production deleted: a reset build's rpms and
// archives, removed signatures. It looks only below builds of which the snapshot has all rows:
// those tagged in the scope, those asked for by name, and those that are not complete and so have no others.
func (m *merger) remove(ctx context.Context) error {
	if m.base != nil {
		if err := m.coverChanges(ctx); err != nil {
			return err
		}
	} else if _, err := m.tx.Exec(ctx, `INSERT INTO ks_covered
		(SELECT build_id FROM ks_tag_listing WHERE tag_id IN (SELECT tag_id FROM ks_scope) UNION SELECT id FROM ks_named UNION SELECT id FROM ks_build WHERE state IN (0, 3, 4))
		EXCEPT SELECT id FROM ks_held; ANALYZE ks_covered`); err != nil {
		return err
	}
	for _, name := range []string{"rpminfo", "archiveinfo"} {
		if partial(m.snap.Manifest, relation.Get(name)) {
			continue
		}
		if err := m.doom(ctx, relation.Get(name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	all := relation.All()
	for i := len(all) - 1; i >= 0; i-- {
		r := all[i]
		var err error
		switch {
		case !m.snap.Manifest.HasRelation(r): // that no row of it is there says nothing
		case keyed(r):
			err = m.removeKeyed(ctx, r)
		case (r.Name == "maven_builds" || r.Name == "win_builds") && !partial(m.snap.Manifest, r):
			err = m.removePlaced(ctx, r)
		case r.Name == "rpminfo" || r.Name == "archiveinfo":
			err = m.removeDoomed(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("remove %s: %w", r.Name, err)
		}
	}
	return nil
}

// mayGo is the FROM of the rows, alias a, that the snapshot may not have any more: those of
// Koji's table (t), or those that are known as placed (p). Since the base they are those that went.
func (m *merger) mayGo(r *relation.Relation, a string) string {
	from := q(r.Name)
	if a == "p" {
		from = placedKeys(r)
	}
	from += " " + a
	if m.delta(r) {
		from = went(r) + " w JOIN " + from + " ON " + equal("w", a, r.Key)
	}
	return from
}

// doom lists in ks_del the rpms or archives that go, less those that rows of staging's refer
// to.
func (m *merger) doom(ctx context.Context, r *relation.Relation) error {
	n, err := m.exec(ctx, r, `INSERT INTO ks_del SELECT {r}, t.id FROM {from} JOIN ks_covered c ON c.id = t.build_id
		WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} s WHERE {key}) AND NOT ({stays})`,
		"from", m.mayGo(r, "t"), "stays", m.stays(r, "t"))
	if err != nil {
		return err
	}
	if r.Name == "rpminfo" {
		if err := m.checkNames(ctx, r); err != nil {
			return err
		}
		// Production has given the name to another rpm: its old row is gone, wherever it was.
		more, err := m.exec(ctx, r, `INSERT INTO ks_del SELECT DISTINCT {r}, t.id FROM {t} t
			JOIN {s} s ON {nvra} AND t.id <> s.id`+m.notDraft("t")+m.notDraft("s")+`
			WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = t.id) AND NOT EXISTS (SELECT FROM ks_del d WHERE d.relation = {r} AND d.id = t.id)
				AND NOT EXISTS (SELECT FROM ks_held h WHERE h.id IN (t.build_id, s.build_id))`,
			"nvra", equal("t", "s", []string{"name", "version", "release", "arch", "external_repo_id"}))
		if err != nil {
			return err
		}
		n += more
	}
	if n == 0 {
		return nil
	}
	keys, err := referencing(ctx, m.tx, r.Name, "id")
	if err != nil {
		return err
	}
	for _, k := range keys {
		own := ""
		if child := relation.Get(k.name); child != nil {
			// Old leftovers (image_listing) refer to the children.
			further, err := referencing(ctx, m.tx, k.name, k.column)
			if err != nil {
				return err
			}
			for _, f := range further {
				if err := m.spare(ctx, r, f, ""); err != nil {
					return err
				}
			}
			if m.mark.Adopted {
				continue // they are all taken for production's
			}
			own = " AND NOT EXISTS (SELECT FROM " + placedKeys(child) + " p WHERE " + equal("p", "c", child.Key) + ")"
		} else if k.name == "rpm_checksum" {
			continue // a cache, which goes along
		}
		if err := m.spare(ctx, r, k, own); err != nil {
			return err
		}
	}
	_, err = m.exec(ctx, r, `INSERT INTO ks_touched_build SELECT DISTINCT t.build_id FROM {t} t JOIN ks_del d ON d.relation = {r} AND d.id = t.id WHERE t.build_id IS NOT NULL`)
	return err
}

// spare keeps those rows in spite of their doom to which a column refers in rows that meet own.
func (m *merger) spare(ctx context.Context, r *relation.Relation, k reference, own string) error {
	_, err := m.exec(ctx, r, `WITH d AS (DELETE FROM ks_del d USING {c} c WHERE d.relation = {r} AND c.{col} = d.id`+own+` RETURNING d.id),
			a AS (INSERT INTO ks_aside SELECT DISTINCT {r}, ARRAY[id::text] FROM d)
		INSERT INTO ks_kept SELECT DISTINCT {r}, 'id=' || id, {what} FROM d`,
		"c", k.table, "col", q(k.column), "what", lit("production deleted it, but staging's "+k.name+" refers to it"))
	return err
}

// removeKeyed deletes a keyed relation's rows that a load placed and production deleted, and
// those below what is doomed. The steps are apart so that each is a join that PostgreSQL can
// hash.
func (m *merger) removeKeyed(ctx context.Context, r *relation.Relation) error {
	sql := `
		CREATE TEMP TABLE {drop} ON COMMIT DROP AS SELECT {keys} FROM {from} WHERE {whole} AND NOT EXISTS (SELECT FROM {s} s WHERE {skey}) AND NOT ({stays});
		DELETE FROM {drop} p WHERE ({build} IN (SELECT id FROM ks_covered)) IS NOT TRUE;`
	for _, c := range r.Columns {
		if c.Ref == "rpminfo" || c.Ref == "archiveinfo" {
			sql += expand(`INSERT INTO {drop} SELECT {keys} FROM ks_del d JOIN {p} p ON d.relation = {ref} AND d.id = p.{c};`,
				"ref", lit(c.Ref), "c", q(c.Name), "drop", "{drop}", "keys", "{keys}", "p", "{p}")
		}
	}
	pairs := []string{"from", m.mayGo(r, "p"), "drop", q("ks_drop_" + r.Name), "keys", list("p", r.Key), "p", placedKeys(r), "skey", equal("s", "p", r.Key),
		"build", buildOf(r, "p"), "pkey", equal("t", "p", r.Key),
		"whole", fmt.Sprint(!partial(m.snap.Manifest, r)), "stays", m.stays(r, "p")}
	if len(r.Key) == 1 {
		// What tables that we do not know refer to stays.
		keys, err := referencing(ctx, m.tx, r.Name, r.Key[0])
		if err != nil {
			return err
		}
		for _, k := range keys {
			sql += expand("DELETE FROM {drop} p USING {c} c WHERE c.{col} = p.{key};", "c", k.table, "col", q(k.column), "key", q(r.Key[0]), "drop", "{drop}")
		}
	}
	if _, err := m.exec(ctx, r, sql+`DELETE FROM {p} t USING {drop} p WHERE {pkey}`, pairs...); err != nil {
		return err
	}
	if some, err := m.some(ctx, r, "{drop}", pairs...); err != nil || !some {
		return err
	}
	n, err := m.exec(ctx, r, `WITH u AS (DELETE FROM {t} t USING {drop} p WHERE {pkey} RETURNING t.*)
		INSERT INTO ks_touched_build SELECT {ubuild} FROM u`, append(pairs, "ubuild", buildOf(r, "u"))...)
	m.counts.of(r.Name).Deleted += n
	return err
}

// removePlaced does the same where kojisnap.placed knows the rows, unless staging changed them.
func (m *merger) removePlaced(ctx context.Context, r *relation.Relation) error {
	since := ""
	if m.delta(r) {
		since = m.x(r, " AND EXISTS (SELECT FROM {went} s WHERE {key})")
	}
	n, err := m.exec(ctx, r, `WITH u AS (DELETE FROM {t} t USING kojisnap.placed p WHERE p.relation = {r} AND p.id = t.build_id{since}
			AND NOT EXISTS (SELECT FROM {s} s WHERE {key}) AND NOT ({stays}) AND t.build_id IN (SELECT id FROM ks_covered)
			AND NOT EXISTS (SELECT FROM ks_edit e WHERE e.relation = {r} AND e.id = t.build_id) RETURNING t.build_id),
		p AS (DELETE FROM kojisnap.placed p USING u WHERE p.relation = {r} AND p.id = u.build_id)
		INSERT INTO ks_touched_build SELECT build_id FROM u`, "since", since, "stays", m.stays(r, "t"))
	m.counts.of(r.Name).Deleted += n
	return err
}

func (m *merger) removeDoomed(ctx context.Context, r *relation.Relation) error {
	var some bool
	if err := m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM ks_del WHERE relation = {r})"), pgx.QueryExecModeExec).Scan(&some); err != nil || !some {
		return err
	}
	if _, ok := m.schema.tables["rpm_checksum"]; ok && r.Name == "rpminfo" {
		if _, err := m.tx.Exec(ctx, `DELETE FROM rpm_checksum c USING ks_del d WHERE d.relation = 'rpminfo' AND d.id = c.rpm_id`); err != nil {
			return err
		}
	}
	if m.mark.Adopted {
		// Rows of an adopted database may not be on the lists of what was placed.
		for _, child := range relation.All() {
			for _, c := range child.Columns {
				if keyed(child) && c.Ref == r.Name {
					if _, err := m.exec(ctx, child, `DELETE FROM {t} t USING ks_del d WHERE d.relation = {ref} AND d.id = t.{c}`, "ref", lit(r.Name), "c", q(c.Name)); err != nil {
						return err
					}
				}
			}
		}
	}
	n, err := m.exec(ctx, r, `DELETE FROM {t} t USING ks_del d WHERE d.relation = {r} AND d.id = t.id`)
	m.counts.of(r.Name).Deleted += n
	return err
}
