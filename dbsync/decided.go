package dbsync

import (
	"context"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// readDecided finds the relations of which staging's removals are on record, less those that
// staging has undone by a row of its own.
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

// ownActive is the condition that a row h of a versioned relation is staging's own and holds.
const ownActive = "h.active AND h.create_event >= {floor}"

// remember keeps what staging removed where production's row, which showed it until now, gets
// production's revocation: a row by which production brings the same back stays hidden. A removal
// of staging's own row is the later one. What was hidden for another reason is no decision.
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
