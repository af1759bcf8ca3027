package dbsync

import (
	"context"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// writer inserts and updates the rows of unversioned relations.
//
// It reads ks_RELATION, from which all has been taken that must not be written, and ks_parked. It writes Koji's
// tables, kojisnap.placed, the lists of keyed relations (kojisnap.placed_RELATION), kojisnap.placed_volume,
// ks_overwritten, ks_kept, ks_deferred, ks_touched_tag and ks_touched_build.
type writer struct {
	*attempt
	out       *exclusions
	edits     *edits
	conflicts *nameConflicts
	held      *heldBuilds
	touches   *touches
}

// upsert inserts the rows of a relation that are missing, and updates those that differ.
func (w *writer) upsert(ctx context.Context, r *relation.Relation) error {
	if r.InPlace && !r.Named() && r.Name != "build" {
		if err := w.edits.keepStagingEdits(ctx, r); err != nil {
			return err
		}
	}
	set := sqltext.Without(w.Given(r), r.Key...)
	switch r.Name {
	case "build":
		set = sqltext.Without(set, "volume_id") // repoint decides
	case "rpminfo":
		set = sqltext.Without(set, "draft") // follows the build's, by its foreign key
	}
	if w.Mark.Adopted {
		foreign := "true"
		if r.InPlace {
			foreign = w.ExpandSQL(r, "NOT EXISTS (SELECT FROM kojisnap.placed p WHERE p.relation = {r} AND p.id = t.{id})", "id", sqltext.QuoteIdent(r.Columns[0].Name))
		}
		if _, err := w.ExecSQL(ctx, r, `INSERT INTO ks_overwritten SELECT {r}, {keytext}, 'it was ' || ROW({tcols})::text FROM {s} s JOIN {t} t ON {key}
			WHERE {differ} AND {foreign}`,
			"keytext", sqltext.KeyText("s", r.Key), "tcols", sqltext.Columns("t", w.Usable(r)), "differ", sqltext.Differ("t", "s", set), "foreign", foreign); err != nil {
			return err
		}
	}
	c := w.Counts.Of(r.Name)
	if err := w.touches.touchInserts(ctx, r, "true"); err != nil {
		return err
	}
	n, err := w.ExecSQL(ctx, r, `INSERT INTO {t} ({cols}) OVERRIDING SYSTEM VALUE SELECT {scols} FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key})`,
		"cols", sqltext.Columns("", w.Usable(r)), "scols", sqltext.Columns("s", w.Usable(r)))
	if err != nil {
		return err
	}
	c.Inserted += n
	if len(set) > 0 {
		n, err = w.update(ctx, r, set, "true")
		if err != nil {
			return err
		}
		c.Updated += n
	}
	if !r.InPlace {
		return nil
	}
	return w.edits.recordWritten(ctx, r)
}

// update sets columns of the rows that differ, and notes the tags or builds that this changes.
func (w *writer) update(ctx context.Context, r *relation.Relation, set []string, where string) (n int64, err error) {
	into := "SELECT"
	switch {
	case r.Name == "build":
		if err := w.touches.touchBuilds(ctx, r, set, where); err != nil {
			return 0, err
		}
	case r.Name == "tag":
		into = "INSERT INTO ks_touched_tag SELECT id"
	case kojidb.BuildOf(r, "s") != "":
		into = "INSERT INTO ks_touched_build SELECT " + kojidb.BuildOf(r, "u")
	}
	if into == "SELECT" {
		return w.ExecSQL(ctx, r, `UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} AND {where}`,
			"set", sqltext.Assign("s", set), "differ", sqltext.Differ("t", "s", set), "where", where)
	}
	return w.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} AND {where} RETURNING t.*) `+into+` FROM u`,
		"set", sqltext.Assign("s", set), "differ", sqltext.Differ("t", "s", set), "where", where)
}

// writeBuilds merges the builds.
func (w *writer) writeBuilds(ctx context.Context, r *relation.Relation) error {
	if err := w.held.leaveOutHeld(ctx, r); err != nil {
		return err
	}
	// The volume of production's files is updated also for builds that staging edited.
	if _, err := w.ExecSQL(ctx, r, `UPDATE kojisnap.placed_volume v SET production = s.ks_production FROM {s} s
		WHERE v.build_id = s.id AND v.production <> s.ks_production`); err != nil {
		return err
	}
	if err := w.conflicts.giveWay(ctx, r); err != nil {
		return err
	}
	if err := w.edits.keepStagingEdits(ctx, r); err != nil {
		return err
	}
	if err := w.conflicts.resolveNameConflicts(ctx, r); err != nil {
		return err
	}
	if err := w.promotions(ctx, r); err != nil {
		return err
	}
	if err := w.upsert(ctx, r); err != nil {
		return err
	}
	_, err := w.ExecSQL(ctx, r, `INSERT INTO kojisnap.placed_volume AS v (build_id, production, volume_id, state, draft)
		SELECT s.id, s.ks_production, t.volume_id, s.state, s.draft FROM {s} s JOIN {t} t ON {key}
		ON CONFLICT (build_id) DO UPDATE SET production = excluded.production, state = excluded.state, draft = excluded.draft
			WHERE (v.production, v.state, v.draft) IS DISTINCT FROM (excluded.production, excluded.state, excluded.draft)`)
	return err
}

// promotions leaves out the promotion of a draft if staging has its rpms under the same names; with Replace it
// deletes staging's.
func (w *writer) promotions(ctx context.Context, r *relation.Relation) error {
	if _, ok := w.Schema.Column("build", "draft"); !ok {
		return nil
	}
	meets := `t.id = s.id AND t.draft AND NOT s.draft AND p.build_id = t.id AND h.id <> p.id AND h.draft IS NOT TRUE
		AND ROW(h.name, h.version, h.release, h.arch, h.external_repo_id) = ROW(p.name, p.version, p.release, p.arch, p.external_repo_id)`
	if w.opt.OnConflict == Replace {
		_, err := w.cascade(ctx, "rpminfo", w.ExpandSQL(r, "SELECT h.id FROM {s} s, build t, rpminfo p, rpminfo h WHERE {meets}", "meets", meets))
		return err
	}
	return w.out.leaveOut(ctx, r, leaveOutRule{
		using:  "build t, rpminfo p, rpminfo h",
		where:  meets,
		reason: kojidb.NVRText("s") + " || ': it is promoted, but its rpm ' || " + kojidb.RPMText("h") + " || ' is staging''s id ' || h.id", conflict: true})
}

// writeRPMs merges the rpms. Name, version, release and arch are unique among the rpms of one repository that
// are of no draft.
func (w *writer) writeRPMs(ctx context.Context, r *relation.Relation) error {
	nvra := []string{"name", "version", "release", "arch", "external_repo_id"}
	meets := sqltext.Equal("h", "s", nvra) + " AND h.id <> s.id" + w.notDraft("h") + w.notDraft("s")
	// Until a pull sweeps an image, it may still list an rpm that was made again since.
	again := sqltext.Equal("x", "s", nvra) + " AND x.id > s.id" + w.notDraft("x") + w.notDraft("s") + w.ExpandSQL(r, " AND NOT EXISTS (SELECT FROM {t} t WHERE {key})")
	if err := w.out.leaveOut(ctx, r, leaveOutRule{using: w.Table(loadtx.Staged(r)) + " x", where: again, conflict: true,
		reason: kojidb.RPMText("s") + " || ' is id ' || x.id || ' by now'"}); err != nil {
		return err
	}
	if w.opt.OnConflict == Replace {
		// Such an rpm may be one that production deleted and that stayed as staging refers to it.
		if _, err := w.ExecSQL(ctx, r, `DELETE FROM ks_kept k USING {s} s, {t} h WHERE {meets} AND k.relation = {r} AND k.key = 'id=' || h.id`, "meets", meets); err != nil {
			return err
		}
		if _, err := w.cascade(ctx, "rpminfo", w.ExpandSQL(r, "SELECT h.id FROM {t} h JOIN {s} s ON {meets} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = h.id)", "meets", meets)); err != nil {
			return err
		}
	}
	if err := w.out.leaveOut(ctx, r, leaveOutRule{using: "rpminfo h", where: meets, conflict: true,
		reason: kojidb.RPMText("s") + " || ' is staging''s id ' || h.id"}); err != nil {
		return err
	}
	return w.upsert(ctx, r)
}

// writeKeyed merges a relation whose rows have neither an id nor an event. The list of what loads wrote,
// kojisnap.placed_RELATION, tells a row that staging deleted, which stays deleted, from a new one, and a row
// that staging made, which stays as it is, from production's.
func (w *writer) writeKeyed(ctx context.Context, r *relation.Relation) error {
	pairs := []string{"p", book.PlacedKeys(r), "keys", sqltext.Columns("s", r.Key), "pkey", sqltext.Equal("p", "s", r.Key), "keytext", sqltext.KeyText("s", r.Key),
		"array", sqltext.KeyArray("s", r.Key), "cols", sqltext.Columns("", w.Usable(r)), "scols", sqltext.Columns("s", w.Usable(r)), "names", sqltext.Columns("", r.Key)}
	run := func(sql string) (int64, error) { return w.ExecSQL(ctx, r, sql, pairs...) }
	missing := "NOT EXISTS (SELECT FROM {t} t WHERE {key})"
	known := "EXISTS (SELECT FROM {p} p WHERE {pkey})"
	data := sqltext.Without(w.Usable(r), r.Key...)
	c := w.Counts.Of(r.Name)

	// keep reports rows where staging's decision stays, and defers production's.
	keep := func(what, where string) error {
		_, err := run(`WITH s AS (SELECT s.* FROM {s} s WHERE ` + where + `), a AS (INSERT INTO ks_deferred SELECT {r}, {array} FROM s RETURNING 1)
			INSERT INTO ks_kept SELECT {r}, {keytext}, ` + sqltext.QuoteLiteral(what) + ` FROM s`)
		return err
	}
	if err := keep("staging deleted it", missing+" AND "+known); err != nil {
		return err
	}
	if w.Mark.Adopted {
		if _, err := run(`INSERT INTO {p} SELECT {keys} FROM {s} s JOIN {t} t ON {key} WHERE NOT ` + known); err != nil {
			return err
		}
	}
	if len(data) > 0 {
		if err := keep("staging has one of its own", "EXISTS (SELECT FROM {t} t WHERE {key} AND "+sqltext.Differ("t", "s", data)+") AND NOT "+known); err != nil {
			return err
		}
		some, err := w.HasRows(ctx, r, "{t} t JOIN {s} s ON {key} WHERE {differ}", "differ", sqltext.Differ("t", "s", data))
		if err != nil {
			return err
		}
		if some {
			n, err := w.update(ctx, r, data, w.ExpandSQL(r, known, pairs...))
			if err != nil {
				return err
			}
			c.Updated += n
		}
	}
	if err := w.touches.touchInserts(ctx, r, "NOT "+w.ExpandSQL(r, known, pairs...)); err != nil { // what staging deleted stays deleted
		return err
	}
	n, err := run(`WITH n AS (INSERT INTO {t} ({cols}) SELECT {scols} FROM {s} s WHERE ` + missing + ` AND NOT ` + known + ` RETURNING {names})
		INSERT INTO {p} SELECT * FROM n`)
	c.Inserted += n
	return err
}
