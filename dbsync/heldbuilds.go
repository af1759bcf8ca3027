package dbsync

import (
	"context"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// heldBuilds are the builds of production's that staging made its own under production's id.
//
// It reads ks_build, ks_edited and kojisnap.placed_volume, and writes ks_held_build, ks_skipped, ks_kept and,
// by exclusions, ks_left_out.
type heldBuilds struct {
	*attempt
	out *exclusions
}

// findHeld fills ks_held_build with the builds that staging made its own under production's id: it resubmitted
// a failed build, deleted or reset one, or promoted a draft. Production's rows below them do not go in. With
// Replace, production's builds take their place.
func (h *heldBuilds) findHeld(ctx context.Context) error {
	r := relation.Get("build")
	// Also builds that are not in the snapshot: rows may move to them or from them, and rows below them may
	// have changed since the base though the build did not.
	if _, err := h.ExecSQL(ctx, r, `INSERT INTO ks_held_build
		SELECT t.id, {own} || ' (state ' || t.state || ', create_event ' || t.create_event || ')',
			t.create_event >= {floor} OR coalesce(t.state <> v.state, false)
		FROM {t} t LEFT JOIN {s} s ON {key} LEFT JOIN kojisnap.placed_volume v ON v.build_id = t.id
		WHERE t.id < {floor} AND (t.create_event >= {floor} OR t.state <> v.state {draft}) AND {differ}`,
		"own", sqltext.QuoteLiteral(madeOwn), "draft", h.draftHeld(), "differ", sqltext.Differ("t", "s", sqltext.Without(h.Usable(r), "volume_id"))); err != nil {
		return err
	}
	if err := h.heldNoMore(ctx); err != nil {
		return err
	}
	if h.opt.OnConflict == Replace {
		if _, err := h.ExecSQL(ctx, r, `DELETE FROM ks_held_build h WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = h.id)`); err != nil {
			return err
		}
		if _, err := h.ExecSQL(ctx, r, `DELETE FROM ks_edited e USING ks_held_build h WHERE e.relation = 'build' AND e.id = h.id`); err != nil {
			return err
		}
		for _, child := range []string{"archiveinfo", "rpminfo"} {
			if _, err := h.cascade(ctx, child, h.ExpandSQL(r, `SELECT c.id FROM {c} c JOIN ks_held_build h ON h.id = c.build_id WHERE c.id >= {floor}`, "c", child)); err != nil {
				return err
			}
		}
		if _, err := h.ExecSQL(ctx, r, `DELETE FROM kojisnap.placed_volume v USING ks_held_build h WHERE v.build_id = h.id`); err != nil {
			return err
		}
		_, err := h.Tx.Exec(ctx, "DELETE FROM ks_held_build")
		return err
	}
	n, err := h.ExecSQL(ctx, r, `INSERT INTO ks_skipped SELECT {r}, h.id FROM ks_held_build h WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = h.id)`)
	h.out.skipped[r.Name] = h.out.skipped[r.Name] || n > 0
	return err
}

// madeOwn is how the reason for such a build begins, also in kojisnap.kept and kojisnap.left_out.
const madeOwn = "staging made the build its own"

// heldNoMore asks for all rows if a build that staging had made its own is production's again. Loads passed
// over what production changed below it, so the difference to the base does not have that.
func (h *heldBuilds) heldNoMore(ctx context.Context) error {
	if h.Base == nil {
		return nil
	}
	var held, ended bool
	// Earlier loads reported such builds as conflicts if production had changed them, else as kept.
	if err := h.Tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ks_held_build), EXISTS (
			SELECT FROM (SELECT load_id, relation, key, reason FROM kojisnap.kept UNION ALL SELECT load_id, relation, key, reason FROM kojisnap.left_out) k
				JOIN kojisnap.load l ON l.id = k.load_id AND l.tags <@ $1
			WHERE k.relation = 'build' AND starts_with(k.reason, $2) AND NOT EXISTS (SELECT FROM ks_held_build h WHERE k.key = 'id=' || h.id))`, h.scope(), madeOwn).Scan(&held, &ended); err != nil {
		return err
	}
	if ended || held && h.opt.OnConflict == Replace {
		return errNeedAllRows
	}
	return nil
}

// draftHeld is the condition for drafts that staging promoted, if the tables have drafts.
func (h *heldBuilds) draftHeld() string {
	if _, ok := h.Schema.Column("build", "draft"); !ok {
		return ""
	}
	return "OR t.draft <> coalesce(s.draft, v.draft) AND EXISTS (SELECT FROM ks_edited e WHERE e.relation = 'build' AND e.id = t.id)"
}

// leaveOutHeld leaves out the builds that staging made its own, with all that refers to them. It is a conflict
// if production has changed the build, too.
func (h *heldBuilds) leaveOutHeld(ctx context.Context, r *relation.Relation) error {
	news := h.ExpandSQL(r, "NOT EXISTS (SELECT FROM kojisnap.placed p WHERE p.relation = {r} AND p.id = s.id AND p.hash = {hash})",
		"hash", loadtx.HashOf("s", h.Hashed(r)))
	// Tasks are not loaded, so the hash was made without one.
	if _, err := h.ExecSQL(ctx, r, "UPDATE {s} s SET task_id = NULL WHERE task_id IS NOT NULL AND s.id IN (SELECT id FROM ks_held_build)"); err != nil {
		return err
	}
	if _, err := h.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, h.reason || ': ' || {nvr}
		FROM {s} s JOIN ks_held_build h ON h.id = s.id WHERE NOT ({news})`, "keytext", sqltext.KeyText("s", r.Key), "nvr", kojidb.NVRText("s"), "news", news); err != nil {
		return err
	}
	if err := h.out.leaveOut(ctx, r, leaveOutRule{using: "ks_held_build h", where: "h.id = s.id AND " + news, conflict: true, reason: "h.reason || ': ' || " + kojidb.NVRText("s")}); err != nil {
		return err
	}
	return h.out.leaveOut(ctx, r, leaveOutRule{using: "ks_held_build h", where: "h.id = s.id", reason: "h.reason", noteIf: "false"})
}

// notDraft is a condition, with its AND, that an rpm is of no draft build, if the tables have drafts.
func (a *attempt) notDraft(alias string) string {
	if _, ok := a.Schema.Column("rpminfo", "draft"); !ok {
		return ""
	}
	return " AND " + alias + ".draft IS NOT TRUE"
}
