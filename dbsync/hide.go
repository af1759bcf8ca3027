package dbsync

import (
	"context"
	"slices"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// views writes the versioned relations, so that a loaded event shows production's rows, and the present shows
// staging's changes over them.
//
// A row of production's that is in the view at E, but that staging's own changes overrule now, is hidden: it
// goes in as revoked by an event of staging's. Such an event is above the floor, so it is after every E, and
// Koji's unique constraints bind only active rows. So the row is there at E, and is not there now.
//
// It reads ks_RELATION, ks_revoked_RELATION, ks_deleted_RELATION, ks_scope_tag, ks_scope_repo and
// ks_held_build, and writes Koji's versioned tables, kojisnap.decided, kojisnap.hidden, ks_removed_tag,
// ks_kept, ks_history_hole and ks_touched_tag. It makes ks_leaving_RELATION, ks_hidden_RELATION and
// ks_place_RELATION for itself.
type views struct {
	*attempt
	missing *missingRows
	decided map[string]bool      // relations for which staging's removals are on record
	removed bool                 // ks_removed_tag has rows
	hidden  []*relation.Relation // relations with rows that may show again
}

// hide lists in ks_hidden_RELATION the rows of the snapshot to hide, with the event and the user of staging's
// change that overrules them, and why. It reports whether there are any.
func (v *views) hide(ctx context.Context, r *relation.Relation) (bool, error) {
	var own, held bool
	err := v.Tx.QueryRow(ctx, v.ExpandSQL(r, `SELECT EXISTS (SELECT FROM {t} h WHERE {own}), EXISTS (SELECT FROM ks_held_build WHERE hides)`, "own", v.ExpandSQL(r, ownActive))).Scan(&own, &held)
	if err != nil {
		return false, err
	}
	held = held && r.Name == "tag_listing"
	tags := v.removed && len(kojidb.TagColumns(r)) > 0
	if !own && !held && !tags && !v.decided[r.Name] {
		return false, nil
	}
	pairs := []string{"hide", hiddenTable(r), "keys", sqltext.Columns("s", r.Key), "xkey", sqltext.Equal("x", "s", r.Key), "own", v.ExpandSQL(r, ownActive)}
	run := func(sql string, more ...string) (int64, error) {
		return v.ExecSQL(ctx, r, sql, append(more, pairs...)...)
	}
	if _, err := run(`CREATE TEMP TABLE {hide} ON COMMIT DROP AS SELECT {keys}, NULL::integer AS ks_event, NULL::integer AS ks_user, NULL::text AS ks_why FROM {s} s LIMIT 0`); err != nil {
		return false, err
	}
	const open = ` AND NOT EXISTS (SELECT FROM {hide} x WHERE {xkey}) AND NOT EXISTS (SELECT FROM {t} t WHERE {key} AND (t.active OR t.revoke_event >= {floor}))`
	if own {
		// A decision on the subject comes first: a row of another subject only takes the place.
		if _, err := run(`INSERT INTO {hide} SELECT {keys}, h.create_event, h.creator_id, 'own' FROM {s} s JOIN {t} h ON {same} AND {own} WHERE true`+open,
			"same", sqltext.Equal("h", "s", kojidb.Subject(r))); err != nil {
			return false, err
		}
	}
	if v.decided[r.Name] {
		if _, err := run(`INSERT INTO {hide} SELECT {keys}, d.event, d.user_id, 'removed' FROM {s} s
			JOIN kojisnap.decided d ON d.relation = {r} AND d.subject = {subject} WHERE true`+open, "subject", sqltext.KeyArray("s", kojidb.Subject(r))); err != nil {
			return false, err
		}
	}
	if own {
		for _, u := range r.Unique {
			if _, err := run(`INSERT INTO {hide} SELECT DISTINCT ON ({keys}) {keys}, h.create_event, h.creator_id, 'place' FROM {s} s JOIN {t} h ON {same} AND {own} WHERE true`+open,
				"same", sqltext.Equal("h", "s", sqltext.Without(u, "active"))); err != nil {
				return false, err
			}
		}
	}
	if held {
		if err := v.hideHeld(ctx, r, run, open); err != nil {
			return false, err
		}
	}
	for _, c := range kojidb.TagColumns(r) {
		if !tags {
			break
		}
		if _, err := run(`INSERT INTO {hide} SELECT {keys}, g.event, g.user_id, 'tag' FROM {s} s JOIN ks_removed_tag g ON g.tag_id = s.{c} WHERE true`+open, "c", sqltext.QuoteIdent(c)); err != nil {
			return false, err
		}
	}
	var some bool
	err = v.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+hiddenTable(r)+")").Scan(&some)
	return some, err
}

// hideHeld hides the taggings of builds that staging made its own: the tags now hold staging's build, not
// production's. A reset deletes the rows and leaves no time, so the event is this load's.
func (v *views) hideHeld(ctx context.Context, r *relation.Relation, run func(string, ...string) (int64, error), open string) error {
	n, err := run(`INSERT INTO {hide} SELECT {keys}, NULL, {user}, 'held' FROM {s} s JOIN ks_held_build h ON h.id = s.build_id AND h.hides WHERE true` + open)
	if err != nil || n == 0 {
		return err
	}
	event, err := v.StagingEvent(ctx)
	if err != nil {
		return err
	}
	_, err = run("UPDATE {hide} SET ks_event = {event} WHERE ks_event IS NULL", "event", sqltext.Int(event))
	return err
}

// findRemovedTags lists the tags whose config staging removed, with the event and the user. To Koji's hub such
// a tag does not exist, so rows that lead to it must not be active.
func (v *views) findRemovedTags(ctx context.Context) error {
	config := relation.Get("tag_config")
	if _, err := v.ExecSQL(ctx, config, `DELETE FROM ks_removed_tag;
		INSERT INTO ks_removed_tag SELECT DISTINCT ON (tag_id) tag_id, revoke_event, revoker_id FROM {t} t
			WHERE revoke_event >= {floor} AND NOT EXISTS (SELECT FROM {t} o WHERE o.tag_id = t.tag_id AND o.active) ORDER BY tag_id, revoke_event DESC`); err != nil {
		return err
	}
	return v.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ks_removed_tag)").Scan(&v.removed)
}

// leadsToRemoved is the condition that a row t leads to a tag that staging removed. more is a further
// condition on the tag g, with its AND.
func leadsToRemoved(r *relation.Relation, more string) string {
	out := "(false"
	for _, c := range kojidb.TagColumns(r) {
		out += " OR EXISTS (SELECT FROM ks_removed_tag g WHERE g.tag_id = t." + sqltext.QuoteIdent(c) + more + ")"
	}
	return out + ")"
}

// hiddenTable names the temporary table of the rows that are to be hidden.
func hiddenTable(r *relation.Relation) string { return sqltext.QuoteIdent("ks_hidden_" + r.Name) }

// hasKey is the condition that a row of Koji's table has the key that is in an array of texts.
func hasKey(alias, array string, r *relation.Relation) string {
	out := make([]string, len(r.Key))
	for i, k := range r.Key {
		out[i] = sqltext.Expand("{a}.{c} = {k}[{n}]::{type}", "a", alias, "c", sqltext.QuoteIdent(k), "k", array, "n", sqltext.Int(int64(i+1)), "type", kojidb.SQLType(r.Columns[r.Index(k)].Type))
	}
	return strings.Join(out, " AND ")
}

// placesFree is the condition that no active row has a unique value that the row t needs.
func placesFree(r *relation.Relation) string {
	out := make([]string, len(r.Unique))
	for i, u := range r.Unique {
		out[i] = sqltext.Expand("NOT EXISTS (SELECT FROM {t} h WHERE h.active AND {same})", "t", sqltext.QuoteIdent(r.Name), "same", sqltext.Equal("h", "t", sqltext.Without(u, "active")))
	}
	return strings.Join(out, " AND ")
}

// showAgain makes hidden rows active again where the reason is gone: the place is free, the tag is back, or
// the build is production's again. Where staging has decided on the subject since, they stay hidden for that.
// It runs before the relation's new rows go in and, for other relations, after those of tag_config, which may
// bring tags back.
func (v *views) showAgain(ctx context.Context, r *relation.Relation) error {
	if v.opt.OnConflict == Replace || !slices.Contains(v.hidden, r) {
		return nil // giveBack has done it
	}
	pairs := []string{"tagged", "NOT " + leadsToRemoved(r, ""), "is", hasKey("t", "k.key", r), "free", placesFree(r), "same", sqltext.Equal("h", "t", kojidb.Subject(r)), "own", v.ExpandSQL(r, ownActive),
		"hidden", v.ExpandSQL(r, "t.active IS NULL AND t.revoke_event >= {floor}"), "held", "true"}
	if r.Index("build_id") >= 0 {
		pairs[len(pairs)-1] = "NOT EXISTS (SELECT FROM ks_held_build h WHERE h.id = t.build_id AND h.hides)"
	}
	if _, err := v.ExecSQL(ctx, r, `DELETE FROM kojisnap.hidden k WHERE relation = {r} AND NOT EXISTS (SELECT FROM {t} t WHERE {is} AND {hidden}
		AND NOT EXISTS (SELECT FROM {t} h WHERE {same} AND {own}))`, pairs...); err != nil {
		return err
	}
	n, err := v.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} t SET active = true, revoke_event = NULL, revoker_id = NULL FROM kojisnap.hidden k
		WHERE k.relation = {r} AND {is} AND {hidden} AND {free} AND {held} AND {tagged} RETURNING t.*)`+loadtx.NoteTags(r), pairs...)
	if err != nil || n == 0 {
		return err
	}
	v.Counts.Of(r.Name).Unrevoked += n
	_, err = v.ExecSQL(ctx, r, `DELETE FROM kojisnap.hidden k USING {t} t WHERE k.relation = {r} AND {is} AND t.active`, pairs...)
	return err
}

// giveBack makes production's hidden rows of the scope active, and revokes staging's own rows that are in the
// way of them or of the snapshot's. Afterwards both views are the same for all keys that production has. Only
// Replace asks for it.
func (v *views) giveBack(ctx context.Context, r *relation.Relation) error {
	inScope := "t.tag_id IN (SELECT tag_id FROM ks_scope_tag)"
	switch r.Name {
	case "build_target_config":
		inScope = "(t.build_tag IN (SELECT tag_id FROM ks_scope_tag) OR t.dest_tag IN (SELECT tag_id FROM ks_scope_tag))"
	case "external_repo_config":
		inScope = "t.external_repo_id IN (SELECT id FROM ks_scope_repo)"
	}
	// A removed tag that is out of the scope stays removed, and what leads to it stays hidden.
	removed := leadsToRemoved(r, " AND g.tag_id NOT IN (SELECT tag_id FROM ks_scope_tag)")
	all := v.ExpandSQL(r, "t.active IS NULL AND t.revoke_event >= {floor} AND t.create_event < {floor} AND ") + inScope
	if v.removed {
		if _, err := v.ExecSQL(ctx, r, "INSERT INTO kojisnap.hidden SELECT {r}, {array} FROM {t} t WHERE {all} AND {removed} ON CONFLICT DO NOTHING",
			"array", sqltext.KeyArray("t", r.Key), "all", all, "removed", removed); err != nil {
			return err
		}
	}
	pairs := []string{"back", sqltext.QuoteIdent("ks_place_" + r.Name), "own", v.ExpandSQL(r, ownActive), "places", sqltext.Columns("", columnsOf(r.Unique)), "splaces", sqltext.Columns("s", columnsOf(r.Unique)),
		"tplaces", sqltext.Columns("t", columnsOf(r.Unique)), "hidden", all + " AND NOT " + removed}
	if _, err := v.ExecSQL(ctx, r, `CREATE TEMP TABLE {back} ON COMMIT DROP AS SELECT {splaces} FROM {s} s UNION SELECT {tplaces} FROM {t} t WHERE {hidden}`, pairs...); err != nil {
		return err
	}
	c := v.Counts.Of(r.Name)
	for _, u := range r.Unique {
		same := sqltext.Equal("h", "b", sqltext.Without(u, "active"))
		var some bool
		if err := v.Tx.QueryRow(ctx, v.ExpandSQL(r, "SELECT EXISTS (SELECT FROM {back} b JOIN {t} h ON {same} AND {own})", append(pairs, "same", same)...)).Scan(&some); err != nil {
			return err
		}
		if !some {
			continue
		}
		event, err := v.StagingEvent(ctx)
		if err != nil {
			return err
		}
		n, err := v.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} h SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {back} b WHERE {same} AND {own} RETURNING h.*)`+loadtx.NoteTagsWhere(r, "true"),
			append(pairs, "same", same, "event", sqltext.Int(event))...)
		if err != nil {
			return err
		}
		c.Revoked += n
	}
	n, err := v.ExecSQL(ctx, r, `WITH u AS (UPDATE {t} t SET active = true, revoke_event = NULL, revoker_id = NULL WHERE {hidden} RETURNING t.*)`+loadtx.NoteTags(r), pairs...)
	if err != nil {
		return err
	}
	c.Unrevoked += n
	_, err = v.ExecSQL(ctx, r, `DELETE FROM kojisnap.hidden k USING {t} t WHERE k.relation = {r} AND {is} AND t.active;
		DELETE FROM kojisnap.decided d USING {t} t WHERE d.relation = {r} AND d.subject = {subject} AND t.create_event < {floor} AND {inScope}`,
		"is", hasKey("t", "k.key", r), "subject", sqltext.KeyArray("t", kojidb.Subject(r)), "inScope", inScope)
	v.decided[r.Name] = false
	return err
}

// columnsOf returns the columns of unique constraints, each once, without active.
func columnsOf(sets [][]string) (out []string) {
	for _, u := range sets {
		out = append(out, sqltext.Without(u, append(out, "active")...)...)
	}
	return out
}
