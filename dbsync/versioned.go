package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// writeVersioned inserts all rows of a versioned relation that are in the view at E: active, or hidden where
// staging's own changes overrule them.
func (v *views) writeVersioned(ctx context.Context, r *relation.Relation) error {
	if err := v.revokeOverlaid(ctx, r); err != nil {
		return err
	}
	pairs := []string{"hide", hiddenTable(r), "xkey", sqltext.Equal("x", "s", r.Key), "tkey", sqltext.Equal("t", "x", r.Key), "cols", sqltext.Columns("", v.Usable(r)), "scols", sqltext.Columns("s", v.Usable(r))}
	run := func(count *int64, sql string, more ...string) error {
		n, err := v.ExecSQL(ctx, r, sql, append(more, pairs...)...)
		*count += n
		return err
	}
	some, err := v.hide(ctx, r)
	if err != nil {
		return err
	}
	c := v.Counts.Of(r.Name)
	shown, values := "", ""
	if some {
		shown = " AND NOT EXISTS (SELECT FROM {hide} x WHERE {xkey})"
		if err := run(&c.Updated, `UPDATE {t} t SET revoke_event = x.ks_event, revoker_id = x.ks_user FROM {hide} x
			WHERE {tkey} AND t.active IS NULL AND t.revoke_event < {floor}`); err != nil {
			return err
		}
		values = `UPDATE {s} s SET active = NULL, revoke_event = x.ks_event, revoker_id = x.ks_user FROM {hide} x WHERE {xkey};
			INSERT INTO kojisnap.hidden SELECT {r}, {xarray} FROM {hide} x WHERE x.ks_why IN ('place', 'held', 'tag') ON CONFLICT DO NOTHING`
		if _, err := v.ExecSQL(ctx, r, values, append([]string{"xarray", sqltext.KeyArray("x", r.Key)}, pairs...)...); err != nil {
			return err
		}
	}
	if err := run(&c.Unrevoked, `WITH u AS (UPDATE {t} t SET active = true, revoke_event = NULL, revoker_id = NULL FROM {s} s
		WHERE {key} AND t.active IS NULL AND t.revoke_event < {floor}`+shown+` RETURNING t.*)`+loadtx.NoteTags(r)); err != nil {
		return err
	}
	// An older hub or schema may have kept a column from an earlier load.
	if payload := sqltext.Without(v.Given(r), slices.Concat(r.Key, kojidb.VersionColumns)...); len(payload) > 0 {
		if err := run(&c.Updated, `WITH u AS (UPDATE {t} t SET {set} FROM {s} s WHERE {key} AND {differ} RETURNING t.*)`+loadtx.NoteTags(r),
			"set", sqltext.Assign("s", payload), "differ", sqltext.Differ("t", "s", payload)); err != nil {
			return err
		}
	}
	if err := run(&c.Inserted, `WITH u AS (INSERT INTO {t} ({cols}) SELECT {scols} FROM {s} s
		WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key}) RETURNING *)`+loadtx.NoteTags(r)); err != nil {
		return err
	}
	return v.tellHidden(ctx, r)
}

// tellHidden reports the rows of the snapshot that staging's changes hide.
func (v *views) tellHidden(ctx context.Context, r *relation.Relation) error {
	removed := ""
	for _, c := range kojidb.TagColumns(r) {
		if v.removed {
			removed += sqltext.Expand(`WHEN EXISTS (SELECT FROM ks_removed_tag g WHERE g.tag_id = s.{c})
				THEN 'staging removed tag ' || (SELECT v.name FROM tag v WHERE v.id = s.{c}) `, "c", sqltext.QuoteIdent(c))
		}
	}
	_, err := v.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, {keytext}, {named} || ': ' || CASE WHEN o.create_event IS NOT NULL
				THEN 'staging has its own, create_event=' || o.create_event {removed}ELSE 'staging removed it' END || {by}
		FROM {s} s JOIN {t} t ON {key} AND t.active IS NULL AND t.revoke_event >= {floor}
			LEFT JOIN {t} o ON {same} AND o.active AND o.create_event >= {floor}`,
		"keytext", sqltext.KeyText("s", r.Key), "named", kojidb.RefText(r, "s", kojidb.Subject(r)), "same", sqltext.Equal("o", "s", kojidb.Subject(r)), "removed", removed,
		"by", `' (event ' || t.revoke_event || ', by ' || coalesce((SELECT v.name FROM users v WHERE v.id = t.revoker_id), t.revoker_id::text) || ')'`)
	return err
}

// revokeOverlaid revokes rows that the overlay made where production has a row of its own now, which the
// overlay's rules have changed already.
func (v *views) revokeOverlaid(ctx context.Context, r *relation.Relation) error {
	if r.Name != "tag_extra" && r.Name != "build_target_config" {
		return nil
	}
	var key []string
	for _, k := range r.Key {
		key = append(key, sqltext.QuoteLiteral(k)+", h."+sqltext.QuoteIdent(k))
	}
	meets := make([]string, len(r.Unique))
	for i, u := range r.Unique {
		meets[i] = sqltext.Equal("h", "s", sqltext.Without(u, "active"))
	}
	rows := v.ExpandSQL(r, `h.active AND ({meets}) AND NOT ({hkey}) AND EXISTS (SELECT FROM kojisnap.overlay o WHERE o.relation = {r} AND o.key = jsonb_build_object({k}))`,
		"meets", strings.Join(meets, " OR "), "hkey", sqltext.Equal("h", "s", r.Key), "k", sqltext.Join(key))
	var some bool
	if err := v.Tx.QueryRow(ctx, v.ExpandSQL(r, "SELECT EXISTS (SELECT FROM {s} s JOIN {t} h ON {rows})", "rows", rows)).Scan(&some); err != nil || !some {
		return err
	}
	event, err := v.StagingEvent(ctx)
	if err != nil {
		return err
	}
	n, err := v.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} h SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {s} s WHERE {rows} RETURNING h.*)`+loadtx.NoteTagsWhere(r, "true"),
		"event", sqltext.Int(event), "rows", rows)
	if err != nil {
		return fmt.Errorf("what the overlay put there: %w", err)
	}
	v.Counts.Of(r.Name).Revoked += n
	return nil
}
