package dbsync

import (
	"context"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// findHeld lists the builds that staging made its own under production's id: it resubmitted
// a failed one, deleted or reset one, promoted a draft. What production has below them cannot
// go in. With Replace production's take their place.
func (m *merger) findHeld(ctx context.Context) error {
	r := relation.Get("build")
	// They may be out of the snapshot: rows may move to them or from them, and since the base, rows
	// below builds that did not change themselves may have changed.
	if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_held_build
		SELECT t.id, {own} || ' (state ' || t.state || ', create_event ' || t.create_event || ')',
			t.create_event >= {floor} OR coalesce(t.state <> v.state, false)
		FROM {t} t LEFT JOIN {s} s ON {key} LEFT JOIN kojisnap.placed_volume v ON v.build_id = t.id
		WHERE t.id < {floor} AND (t.create_event >= {floor} OR t.state <> v.state {draft}) AND {differ}`,
		"own", sqltext.QuoteLiteral(madeOwn), "draft", m.draftHeld(), "differ", sqltext.Differ("t", "s", sqltext.Without(m.Usable(r), "volume_id"))); err != nil {
		return err
	}
	if err := m.heldNoMore(ctx); err != nil {
		return err
	}
	if m.opt.OnConflict == Replace {
		if _, err := m.ExecSQL(ctx, r, `DELETE FROM ks_held_build h WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = h.id)`); err != nil {
			return err
		}
		if _, err := m.ExecSQL(ctx, r, `DELETE FROM ks_edited e USING ks_held_build h WHERE e.relation = 'build' AND e.id = h.id`); err != nil {
			return err
		}
		for _, child := range []string{"archiveinfo", "rpminfo"} {
			if _, err := m.cascade(ctx, child, m.ExpandSQL(r, `SELECT c.id FROM {c} c JOIN ks_held_build h ON h.id = c.build_id WHERE c.id >= {floor}`, "c", child)); err != nil {
				return err
			}
		}
		if _, err := m.ExecSQL(ctx, r, `DELETE FROM kojisnap.placed_volume v USING ks_held_build h WHERE v.build_id = h.id`); err != nil {
			return err
		}
		_, err := m.Tx.Exec(ctx, "DELETE FROM ks_held_build")
		return err
	}
	n, err := m.ExecSQL(ctx, r, `INSERT INTO ks_skipped SELECT {r}, h.id FROM ks_held_build h WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = h.id)`)
	m.skipped[r.Name] = m.skipped[r.Name] || n > 0
	return err
}

// madeOwn begins what is noted of such a build.
const madeOwn = "staging made the build its own"

// heldNoMore asks for all rows where a build that staging had made its own is production's again: what
// changed below it meanwhile was passed over, and is not among what changed since the base.
func (m *merger) heldNoMore(ctx context.Context) error {
	if m.Base == nil {
		return nil
	}
	var held, ended bool
	// The last loads noted those that production changed since as conflicts, the others as kept.
	if err := m.Tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ks_held_build), EXISTS (
			SELECT FROM (SELECT load_id, relation, key, reason FROM kojisnap.kept UNION ALL SELECT load_id, relation, key, reason FROM kojisnap.left_out) k
				JOIN kojisnap.load l ON l.id = k.load_id AND l.tags <@ $1
			WHERE k.relation = 'build' AND starts_with(k.reason, $2) AND NOT EXISTS (SELECT FROM ks_held_build h WHERE k.key = 'id=' || h.id))`, m.scope(), madeOwn).Scan(&held, &ended); err != nil {
		return err
	}
	if ended || held && m.opt.OnConflict == Replace {
		return errNeedAllRows
	}
	return nil
}

// draftHeld adds the drafts that staging promoted.
func (m *merger) draftHeld() string {
	if _, ok := m.Schema.Column("build", "draft"); !ok {
		return ""
	}
	return "OR t.draft <> coalesce(s.draft, v.draft) AND EXISTS (SELECT FROM ks_edited e WHERE e.relation = 'build' AND e.id = t.id)"
}

// tellEdits reports also those decisions of staging about rows of production's that the snapshot does
// not have or, since the base, production has not changed.
func (m *merger) tellEdits(ctx context.Context) error {
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
			if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, h.reason || {what} FROM ks_held_build h JOIN {t} t ON t.id = h.id WHERE true`+untold, pairs...); err != nil {
				return err
			}
		}
		if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, 'staging changed it' || {what} FROM ks_edited e JOIN {t} t ON t.{id} = e.id
				JOIN kojisnap.placed p ON p.relation = {r} AND p.id = e.id
			WHERE e.relation = {r} AND e.id < {floor}`+untold, pairs...); err != nil {
			return err
		}
	}
	return nil
}

// findNew lists the builds that this load will insert, so that others are known as touched.
func (m *merger) findNew(ctx context.Context) error {
	r := relation.Get("build")
	if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_new_build SELECT id FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key})`); err != nil {
		return err
	}
	if m.Base != nil {
		m.oldBuilds = true
		return nil
	}
	return m.Tx.QueryRow(ctx, m.ExpandSQL(r, "SELECT (SELECT count(*) FROM {s}) > (SELECT count(*) FROM ks_new_build)")).Scan(&m.oldBuilds)
}

// builds merges the builds.
func (m *merger) builds(ctx context.Context, r *relation.Relation) error {
	if err := m.leaveOutHeld(ctx, r); err != nil {
		return err
	}
	// Where production's files are is news also of a build that staging edited.
	if _, err := m.ExecSQL(ctx, r, `UPDATE kojisnap.placed_volume v SET production = s.ks_production FROM {s} s
		WHERE v.build_id = s.id AND v.production <> s.ks_production`); err != nil {
		return err
	}
	if err := m.giveWay(ctx, r); err != nil {
		return err
	}
	if err := m.keepStagingEdits(ctx, r); err != nil {
		return err
	}
	if err := m.resolveNameConflicts(ctx, r); err != nil {
		return err
	}
	if err := m.promotions(ctx, r); err != nil {
		return err
	}
	if err := m.upsert(ctx, r); err != nil {
		return err
	}
	_, err := m.ExecSQL(ctx, r, `INSERT INTO kojisnap.placed_volume AS v (build_id, production, volume_id, state, draft)
		SELECT s.id, s.ks_production, t.volume_id, s.state, s.draft FROM {s} s JOIN {t} t ON {key}
		ON CONFLICT (build_id) DO UPDATE SET production = excluded.production, state = excluded.state, draft = excluded.draft
			WHERE (v.production, v.state, v.draft) IS DISTINCT FROM (excluded.production, excluded.state, excluded.draft)`)
	return err
}

// leaveOutHeld leaves out the builds that are staging's now, with all that hangs on them. It is a
// conflict where production has changed its build too.
func (m *merger) leaveOutHeld(ctx context.Context, r *relation.Relation) error {
	news := m.ExpandSQL(r, "NOT EXISTS (SELECT FROM kojisnap.placed p WHERE p.relation = {r} AND p.id = s.id AND p.hash = {hash})",
		"hash", hashOf("s", m.hashed(r)))
	// Production's task is not loaded: what was placed had none.
	if _, err := m.ExecSQL(ctx, r, "UPDATE {s} s SET task_id = NULL WHERE task_id IS NOT NULL AND s.id IN (SELECT id FROM ks_held_build)"); err != nil {
		return err
	}
	if _, err := m.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, h.reason || ': ' || {nvr}
		FROM {s} s JOIN ks_held_build h ON h.id = s.id WHERE NOT ({news})`, "keytext", sqltext.KeyText("s", r.Key), "nvr", kojidb.NVRText("s"), "news", news); err != nil {
		return err
	}
	if err := m.leaveOut(ctx, r, leaveOutRule{using: "ks_held_build h", where: "h.id = s.id AND " + news, conflict: true, reason: "h.reason || ': ' || " + kojidb.NVRText("s")}); err != nil {
		return err
	}
	return m.leaveOut(ctx, r, leaveOutRule{using: "ks_held_build h", where: "h.id = s.id", reason: "h.reason", noteIf: "false"})
}

// promotions leaves out the promotion of a draft whose rpms staging has under the same names,
// unless those are to give way.
func (m *merger) promotions(ctx context.Context, r *relation.Relation) error {
	if _, ok := m.Schema.Column("build", "draft"); !ok {
		return nil
	}
	meets := `t.id = s.id AND t.draft AND NOT s.draft AND p.build_id = t.id AND h.id <> p.id AND h.draft IS NOT TRUE
		AND ROW(h.name, h.version, h.release, h.arch, h.external_repo_id) = ROW(p.name, p.version, p.release, p.arch, p.external_repo_id)`
	if m.opt.OnConflict == Replace {
		_, err := m.cascade(ctx, "rpminfo", m.ExpandSQL(r, "SELECT h.id FROM {s} s, build t, rpminfo p, rpminfo h WHERE {meets}", "meets", meets))
		return err
	}
	return m.leaveOut(ctx, r, leaveOutRule{
		using:  "build t, rpminfo p, rpminfo h",
		where:  meets,
		reason: kojidb.NVRText("s") + " || ': it is promoted, but its rpm ' || " + kojidb.RPMText("h") + " || ' is staging''s id ' || h.id", conflict: true})
}

// rpms merges the rpms: a name, version, release and arch is unique among those of a
// repository that are no drafts.
func (m *merger) rpms(ctx context.Context, r *relation.Relation) error {
	nvra := []string{"name", "version", "release", "arch", "external_repo_id"}
	meets := sqltext.Equal("h", "s", nvra) + " AND h.id <> s.id" + m.notDraft("h") + m.notDraft("s")
	// A pull that has not swept an image yet may still have an rpm that was made again since.
	again := sqltext.Equal("x", "s", nvra) + " AND x.id > s.id" + m.notDraft("x") + m.notDraft("s") + m.ExpandSQL(r, " AND NOT EXISTS (SELECT FROM {t} t WHERE {key})")
	if err := m.leaveOut(ctx, r, leaveOutRule{using: loadtx.Staged(r) + " x", where: again, conflict: true,
		reason: kojidb.RPMText("s") + " || ' is id ' || x.id || ' by now'"}); err != nil {
		return err
	}
	if m.opt.OnConflict == Replace {
		// One that production deleted was kept as staging refers to it, but stands in the way.
		if _, err := m.ExecSQL(ctx, r, `DELETE FROM ks_kept k USING {s} s, {t} h WHERE {meets} AND k.relation = {r} AND k.key = 'id=' || h.id`, "meets", meets); err != nil {
			return err
		}
		if _, err := m.cascade(ctx, "rpminfo", m.ExpandSQL(r, "SELECT h.id FROM {t} h JOIN {s} s ON {meets} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = h.id)", "meets", meets)); err != nil {
			return err
		}
	}
	if err := m.leaveOut(ctx, r, leaveOutRule{using: "rpminfo h", where: meets, conflict: true,
		reason: kojidb.RPMText("s") + " || ' is staging''s id ' || h.id"}); err != nil {
		return err
	}
	return m.upsert(ctx, r)
}

func (m *merger) notDraft(alias string) string {
	if _, ok := m.Schema.Column("rpminfo", "draft"); !ok {
		return ""
	}
	return " AND " + alias + ".draft IS NOT TRUE"
}
