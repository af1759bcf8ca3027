package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/relation"
)

// versionColumns are those that say since when and until when a row of a versioned relation
// holds, and by whom.
var versionColumns = []string{"create_event", "revoke_event", "creator_id", "revoker_id", "active"}

// revoke revokes production's rows that left the view, in the tags of the scope: with
// production's own event and user where the snapshot has them, else E and the user kojisnap.
// So it does with rows whose place a row of the snapshot takes, wherever they are.
func (m *merger) revoke(ctx context.Context) error {
	for _, r := range relation.All() {
		if !r.Versioned || m.delta(r) && m.rows[r.Name]+m.lost[r.Name] == 0 {
			continue
		}
		if err := m.leaving(ctx, r); err != nil {
			return fmt.Errorf("revoke %s: %w", r.Name, err)
		}
		n, err := m.exec(ctx, r, `WITH u AS (UPDATE {t} t SET active = NULL, revoke_event = coalesce(s.revoke_event, {E}), revoker_id = coalesce(s.revoker_id, {user})
			FROM {go} s WHERE {key} RETURNING t.*)`+touches(r), "go", q("ks_go_"+r.Name))
		if err != nil {
			return fmt.Errorf("revoke %s: %w", r.Name, err)
		}
		m.counts.of(r.Name).Revoked += n
	}
	return nil
}

// leaving lists the rows of one relation that are to be revoked. The steps are apart so that
// each is a join that PostgreSQL can hash.
func (m *merger) leaving(ctx context.Context, r *relation.Relation) error {
	stays := []string{}
	for _, u := range r.Unique {
		stays = append(stays, m.x(r, "NOT EXISTS (SELECT FROM {s} s WHERE {same})", "same", equal("t", "s", without(u, "active"))))
	}
	for _, c := range r.Columns {
		if c.Ref == "tag" && !m.partial(r) && (c.Name == "tag_id" || r.Name == "build_target_config") {
			stays = append(stays, "t."+q(c.Name)+" NOT IN (SELECT tag_id FROM ks_scope)")
		}
	}
	if r.Name == "external_repo_config" && !m.partial(r) {
		stays = append(stays, "t.external_repo_id NOT IN (SELECT id FROM ks_external_repo)")
	}
	// Since the base they are those that went, and those whose place a row takes that changed.
	from := []string{"{t} t"}
	if m.delta(r) {
		from = []string{"{t} t JOIN {went} s ON {key}"}
		for _, u := range r.Unique {
			from = append(from, "{t} t JOIN {s} s ON "+equal("t", "s", without(u, "active")))
		}
	}
	rows := make([]string, len(from))
	for i, f := range from {
		rows[i] = m.x(r, "SELECT {data}, NULL::integer AS revoke_event, NULL::integer AS revoker_id FROM "+f+
			" WHERE t.active AND t.create_event < {floor} AND NOT EXISTS (SELECT FROM {s} s WHERE {key})",
			"data", list("t", without(m.usable(r), "revoke_event", "revoker_id", "active")))
	}
	_, err := m.exec(ctx, r, `
		CREATE TEMP TABLE {go} ON COMMIT DROP AS {rows};
		DELETE FROM {go} t WHERE {stays};
		UPDATE {go} t SET revoke_event = s.revoke_event, revoker_id = s.revoker_id FROM {left} s
			WHERE {key} AND EXISTS (SELECT FROM events e WHERE e.id = s.revoke_event) AND EXISTS (SELECT FROM users v WHERE v.id = s.revoker_id)`,
		"go", q("ks_go_"+r.Name), "rows", strings.Join(rows, " UNION "), "stays", strings.Join(stays, " AND "))
	return err
}

// touches ends a statement whose changed rows are u by noting their tags.
func touches(r *relation.Relation) string {
	switch {
	case r.Index("tag_id") >= 0:
		return " INSERT INTO ks_touched SELECT tag_id FROM u"
	case r.Name == "external_repo_config":
		return ` , g AS (INSERT INTO ks_touched SELECT x.tag_id FROM u JOIN tag_external_repos x USING (external_repo_id) WHERE x.active)
			SELECT FROM u`
	}
	return " SELECT FROM u"
}

// versioned brings in the rows of a versioned relation that are in the view at E.
func (m *merger) versioned(ctx context.Context, r *relation.Relation) error {
	// What staging revoked stays revoked.
	standing := m.x(r, "{key} AND t.active IS NULL AND t.revoke_event >= {floor}")
	if _, err := m.exec(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, 'staging revoked it: ' || {named} FROM {s} s JOIN {t} t ON {standing}`,
		"named", named(r, "s", without(r.Unique[0], "active")), "keytext", keyText("s", r.Key), "standing", standing); err != nil {
		return err
	}
	if _, err := m.exec(ctx, r, `WITH s AS (DELETE FROM {s} s USING {t} t WHERE {standing} RETURNING {cols})
		INSERT INTO ks_aside SELECT {r}, {array} FROM s`, "standing", standing, "cols", list("s", r.Key), "array", keyArray("s", r.Key)); err != nil {
		return err
	}
	for _, u := range r.Unique {
		if err := m.occupied(ctx, r, without(u, "active")); err != nil {
			return err
		}
	}
	c := m.counts.of(r.Name)
	n, err := m.exec(ctx, r, `WITH u AS (UPDATE {t} t SET active = true, revoke_event = NULL, revoker_id = NULL FROM {s} s
		WHERE {key} AND t.active IS NULL AND t.revoke_event < {floor} RETURNING t.*)`+touches(r))
	if err != nil {
		return err
	}
	c.Unrevoked += n
	// An older hub or schema may have kept a column from an earlier load.
	if payload := without(m.given(r), slices.Concat(r.Key, versionColumns)...); len(payload) > 0 {
		n, err := m.exec(ctx, r, `WITH u AS (UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} RETURNING t.*)`+touches(r),
			"set", assign("s", payload), "differ", differ("t", "s", payload))
		if err != nil {
			return err
		}
		c.Updated += n
	}
	n, err = m.exec(ctx, r, `WITH u AS (INSERT INTO {t} ({cols}) SELECT {scols} FROM {s} s
		WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key}) RETURNING *)`+touches(r),
		"cols", list("", m.usable(r)), "scols", list("s", m.usable(r)))
	c.Inserted += n
	return err
}

// occupied finds the rows whose place an active row of staging's holds.
func (m *merger) occupied(ctx context.Context, r *relation.Relation, subject []string) error {
	meets := m.x(r, "h.active AND {same} AND NOT ({hkey})", "same", equal("h", "s", subject), "hkey", equal("h", "s", r.Key))
	if err := m.overlaid(ctx, r, meets); err != nil {
		return err
	}
	if m.opt.OnConflict == Replace {
		var some bool
		if err := m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM {s} s JOIN {t} h ON {meets})", "meets", meets)).Scan(&some); err != nil || !some {
			return err
		}
		event, err := m.stagingEvent(ctx)
		if err != nil {
			return err
		}
		n, err := m.exec(ctx, r, `WITH u AS (UPDATE {t} h SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {s} s WHERE {meets} RETURNING h.*)`+touches(r),
			"event", itoa(event), "meets", meets)
		m.counts.of(r.Name).Revoked += n
		return err
	}
	return m.leaveOut(ctx, r, leave{using: q(r.Name) + " h", where: meets, conflict: true,
		reason: named(r, "s", subject) + expand(" || ': staging has an active row for the same {what}, create_event=' || h.create_event", "what", strings.Join(subject, ", "))})
}

// overlaid revokes rows of the overlay's where production has one by now, which the overlay
// has overruled.
func (m *merger) overlaid(ctx context.Context, r *relation.Relation, meets string) error {
	if r.Name != "tag_extra" && r.Name != "build_target_config" {
		return nil
	}
	var key []string
	for _, k := range r.Key {
		key = append(key, lit(k)+", h."+q(k))
	}
	rows := m.x(r, "{meets} AND EXISTS (SELECT FROM kojisnap.overlay o WHERE o.relation = {r} AND o.key = jsonb_build_object({k}))", "meets", meets, "k", join(key))
	var some bool
	if err := m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM {s} s JOIN {t} h ON {rows})", "rows", rows)).Scan(&some); err != nil || !some {
		return err
	}
	event, err := m.stagingEvent(ctx)
	if err != nil {
		return err
	}
	n, err := m.exec(ctx, r, `WITH u AS (UPDATE {t} h SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {s} s WHERE {rows} RETURNING h.*)`+touches(r),
		"event", itoa(event), "rows", rows)
	m.counts.of(r.Name).Revoked += n
	return err
}
