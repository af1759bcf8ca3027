package dbsync

import (
	"context"
	"fmt"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// revoke revokes production's rows of the scope's tags that left the view: with production's event and user if
// a snapshot has them, else with E and the user kojisnap. It does the same with rows of any tag whose unique
// place a row of the snapshot takes, and with rows that staging had revoked before production did, as they are
// gone at E, too.
func (v *views) revoke(ctx context.Context) error {
	if err := v.readDecided(ctx); err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !r.Versioned || !v.Snap.Manifest.HasRelation(r) {
			continue
		}
		if !v.Delta(r) || v.Rows[r.Name]+v.Deleted[r.Name] > 0 {
			if err := v.revokeLeft(ctx, r); err != nil {
				return fmt.Errorf("revoke %s: %w", r.Name, err)
			}
		}
		if err := v.correctRevocations(ctx, r); err != nil {
			return fmt.Errorf("correct %s: %w", r.Name, err)
		}
	}
	return nil
}

// reveal gives way with all of staging's changes that hide production's rows if Replace asks for it; else it
// finds the relations that may have rows to show again.
func (v *views) reveal(ctx context.Context) (err error) {
	if v.opt.OnConflict != Replace {
		v.hidden, err = v.RelationsIn(ctx, "kojisnap.hidden")
		return err
	}
	if err := v.findRemovedTags(ctx); err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		if err := v.giveBack(ctx, r); err != nil {
			return fmt.Errorf("give way in %s: %w", r.Name, err)
		}
	}
	return nil
}

// revokeLeft revokes the rows of one relation that left the view.
func (v *views) revokeLeft(ctx context.Context, r *relation.Relation) error {
	pairs := []string{"leaving", sqltext.QuoteIdent("ks_leaving_" + r.Name)}
	if err := v.listLeaving(ctx, r); err != nil {
		return err
	}
	var active, hidden, all int64
	if err := v.Tx.QueryRow(ctx, v.ExpandSQL(r, "SELECT count(*) FILTER (WHERE revoke_event IS NULL), count(*) FILTER (WHERE revoke_event >= {floor}), count(*) FROM {leaving}", pairs...)).Scan(&active, &hidden, &all); err != nil {
		return err
	}
	if hidden > 0 {
		if err := v.remember(ctx, r); err != nil {
			return err
		}
	}
	if all == 0 {
		return nil
	}
	_, err := v.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} t SET active = NULL, revoke_event = coalesce(s.ks_event, {E}), revoker_id = coalesce(s.ks_user, {user})
		FROM {leaving} s WHERE {key} RETURNING t.*, s.revoke_event IS NULL AS ks_shown)`+loadtx.NoteTagsWhere(r, "ks_shown"), pairs...)
	if err == nil && r.Index("tag_id") >= 0 { // the row seems to be there until E, though production revoked it before
		_, err = v.ExecSQL(ctx, r, "INSERT INTO ks_history_hole SELECT DISTINCT tag_id, {E} FROM {leaving} WHERE ks_event IS NULL", pairs...)
	}
	c := v.Counts.Of(r.Name)
	c.Revoked += active
	c.Updated += all - active
	return err
}

// listLeaving lists in ks_leaving_RELATION the rows of one relation that production has no more, with
// staging's revocation, if any, and production's (ks_event, ks_user), if known. It takes several statements,
// so that each is a join that PostgreSQL can hash.
func (v *views) listLeaving(ctx context.Context, r *relation.Relation) error {
	var stays, outside []string
	for _, u := range r.Unique {
		stays = append(stays, v.ExpandSQL(r, "NOT EXISTS (SELECT FROM {s} s WHERE {same})", "same", sqltext.Equal("t", "s", sqltext.Without(u, "active"))))
	}
	for _, c := range r.Columns {
		if c.Ref == "tag" && (c.Name == "tag_id" || r.Name == "build_target_config") {
			outside = append(outside, "t."+sqltext.QuoteIdent(c.Name)+" NOT IN (SELECT tag_id FROM ks_scope_tag)")
		}
	}
	if r.Name == "external_repo_config" {
		outside = append(outside, "t.external_repo_id NOT IN (SELECT id FROM ks_scope_repo)")
	}
	if !partial(v.Snap.Manifest, r) {
		stays = append(stays, "("+strings.Join(outside, " AND ")+" OR "+v.missing.stays(r, "t")+")")
	}
	// Where there is a base: those that production deleted, and those whose place a changed row takes.
	from := []string{"{t} t"}
	if v.Delta(r) {
		from = []string{"{t} t JOIN {deleted} s ON {key}"}
		for _, u := range r.Unique {
			from = append(from, "{t} t JOIN {s} s ON "+sqltext.Equal("t", "s", sqltext.Without(u, "active")))
		}
	}
	rows := make([]string, len(from))
	for i, f := range from {
		rows[i] = v.ExpandSQL(r, "SELECT {data}, NULL::integer AS ks_event, NULL::integer AS ks_user FROM "+f+
			// A revocation after E below the floor comes from a load of a later event, which this one goes back behind.
			" WHERE (t.active OR t.revoke_event >= {floor} OR t.revoke_event > {E} AND t.create_event <= {E}) AND t.create_event < {floor} AND NOT EXISTS (SELECT FROM {s} s WHERE {key})",
			"data", sqltext.Columns("t", sqltext.Without(v.Usable(r), "active")))
	}
	sql := `CREATE TEMP TABLE {leaving} ON COMMIT DROP AS {rows};
		DELETE FROM {leaving} t WHERE {stays};`
	if v.Filled[loadtx.Revoked(r)] {
		sql += `UPDATE {leaving} t SET ks_event = s.revoke_event, ks_user = (SELECT v.id FROM users v WHERE v.id = s.revoker_id) FROM {revoked} s
			WHERE {key} AND EXISTS (SELECT FROM events e WHERE e.id = s.revoke_event);`
	}
	_, err := v.ExecSQL(ctx, r, sql, "leaving", sqltext.QuoteIdent("ks_leaving_"+r.Name), "rows", strings.Join(rows, " UNION "), "stays", strings.Join(stays, " AND "))
	return err
}

// correctRevocations writes production's event and user where an earlier load knew only that a row was gone.
func (v *views) correctRevocations(ctx context.Context, r *relation.Relation) error {
	if !v.Filled[loadtx.Revoked(r)] {
		return nil
	}
	n, err := v.ExecSQL(ctx, r, `UPDATE {t} t SET revoke_event = s.revoke_event, revoker_id = s.revoker_id FROM {revoked} s
			WHERE {key} AND t.revoker_id = {user} AND t.revoke_event < {floor}
				AND EXISTS (SELECT FROM events e WHERE e.id = s.revoke_event) AND EXISTS (SELECT FROM users v WHERE v.id = s.revoker_id)
				AND ROW(t.revoke_event, t.revoker_id) <> ROW(s.revoke_event, s.revoker_id)`)
	if err != nil {
		return err
	}
	v.Counts.Of(r.Name).Updated += n
	return nil
}

// readDecided finds the relations for which kojisnap.decided has removals by staging, and drops those removals
// that staging has undone by a new row of its own.
func (v *views) readDecided(ctx context.Context) error {
	v.decided = map[string]bool{}
	noted, err := v.RelationsIn(ctx, "kojisnap.decided")
	if err != nil {
		return err
	}
	for _, r := range noted {
		v.decided[r.Name] = true
		if _, err := v.ExecSQL(ctx, r, `DELETE FROM kojisnap.decided d USING {t} h WHERE d.relation = {r} AND d.subject = {subject} AND {own}`,
			"subject", sqltext.KeyArray("h", kojidb.Subject(r)), "own", v.ExpandSQL(r, ownActive)); err != nil {
			return err
		}
	}
	return nil
}

// ownActive is the condition that a row h of a versioned relation is staging's own and active.
const ownActive = "h.active AND h.create_event >= {floor}"

// remember stores in kojisnap.decided what staging removed, before production's revocation overwrites
// staging's in the row. If production brings the same subject back, the new row is hidden, too. If staging had
// a row of its own and removed that as well, the later removal counts. Rows that were hidden for another
// reason are no decision of staging's.
func (v *views) remember(ctx context.Context, r *relation.Relation) error {
	pairs := []string{"leaving", sqltext.QuoteIdent("ks_leaving_" + r.Name), "subject", sqltext.KeyArray("g", kojidb.Subject(r)), "same", sqltext.Equal("h", "g", kojidb.Subject(r)), "own", v.ExpandSQL(r, ownActive),
		"gkey", sqltext.KeyArray("g", r.Key)}
	n, err := v.ExecSQL(ctx, r, `INSERT INTO kojisnap.decided AS d (relation, subject, event, user_id)
		SELECT DISTINCT ON (1, 2) {r}, {subject}, coalesce(o.revoke_event, g.revoke_event), coalesce(o.revoker_id, g.revoker_id)
		FROM {leaving} g LEFT JOIN LATERAL (SELECT h.revoke_event, h.revoker_id FROM {t} h
				WHERE {same} AND h.create_event >= {floor} AND h.active IS NULL AND h.revoke_event > greatest(h.create_event, g.revoke_event)
				ORDER BY h.revoke_event DESC LIMIT 1) o ON true
		WHERE g.revoke_event >= {floor}
			AND NOT EXISTS (SELECT FROM kojisnap.hidden k WHERE k.relation = {r} AND k.key = {gkey})
			AND NOT EXISTS (SELECT FROM {t} h WHERE {same} AND {own})
		ORDER BY 1, 2, 3 DESC
		ON CONFLICT (relation, subject) DO UPDATE SET event = excluded.event, user_id = excluded.user_id WHERE excluded.event > d.event`, pairs...)
	if err != nil {
		return err
	}
	v.decided[r.Name] = v.decided[r.Name] || n > 0
	_, err = v.ExecSQL(ctx, r, `DELETE FROM kojisnap.hidden k USING {leaving} g WHERE k.relation = {r} AND k.key = {gkey}`, pairs...)
	return err
}
