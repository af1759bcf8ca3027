package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// BlockUsers blocks users in the snapshot's rows. A user whom an overlay no longer names is unblocked by
// production's row.
func (a *Applier) BlockUsers(ctx context.Context) error {
	_, err := a.Tx.Exec(ctx, `UPDATE ks_users SET status = 1 WHERE name = ANY($1)`, a.over.BlockUsers)
	return err
}

// ruledRelation is a relation whose rows an overlay changes by rules. (kojisnap.overruled is the stored name
// for the rows that rules changed.)
type ruledRelation struct {
	name  string
	data  []string
	rules string // the query for the rules; $1 is the overlay as JSON
	fits  string // the query for what a rule makes of the row s
	has   func(*overlay.Overlay) bool
}

var ruledRelations = []ruledRelation{
	{"external_repo_config", []string{"url"},
		`SELECT n, u->>'from' AS a, u->>'to' AS b FROM jsonb_array_elements($1::text::jsonb->'external_repo_url') WITH ORDINALITY AS x(u, n)`,
		// The first rule that matches applies.
		`SELECT u.b || substr(s.url, length(u.a) + 1) AS url FROM {rules} u WHERE starts_with(s.url, u.a) ORDER BY u.n LIMIT 1`, func(o *overlay.Overlay) bool { return len(o.ExternalRepoURL) > 0 }},
	{"build_target_config", []string{"build_tag", "dest_tag"},
		`SELECT t.id, b.id AS build_tag, d.id AS dest_tag FROM jsonb_array_elements($1::text::jsonb->'target') AS x(u)
			JOIN build_target t ON t.name = u->>'name' JOIN tag b ON b.name = u->>'build_tag' JOIN tag d ON d.name = u->>'dest_tag'`,
		`SELECT u.build_tag, u.dest_tag FROM {rules} u WHERE u.id = s.build_target_id`, func(o *overlay.Overlay) bool { return len(o.Targets) > 0 }},
	{"tag_extra", []string{"value"},
		`SELECT t.id, u->>'key' AS key, u->>'value' AS value FROM jsonb_array_elements($1::text::jsonb->'tag_extra') AS x(u) JOIN tag t ON t.name = u->>'tag'`,
		`SELECT u.value FROM {rules} u WHERE u.id = s.tag_id AND u.key = s.key`, func(o *overlay.Overlay) bool { return len(o.TagExtras) > 0 }},
}

// of expands SQL about the relation and its rules.
func (o ruledRelation) of(l *loadtx.Load, sql string, pairs ...string) string {
	r := relation.Get(o.name)
	object := func(alias string, columns []string) string {
		var parts []string
		for _, c := range columns {
			parts = append(parts, sqltext.QuoteLiteral(c)+", "+alias+"."+sqltext.QuoteIdent(c))
		}
		return "jsonb_build_object(" + sqltext.Join(parts) + ")"
	}
	return l.ExpandSQL(r, strings.ReplaceAll(sql, "{fits}", o.fits), append(pairs, "rules", sqltext.QuoteIdent("ks_rules_"+o.name), "ruled", sqltext.QuoteIdent("ks_ruled_"+o.name), "skey", object("s", r.Key),
		"keys", sqltext.Columns("s", r.Key), "was", object("s", o.data), "data", sqltext.Columns("u", o.data), "set", sqltext.Assign("n", o.data), "same", sqltext.Equal("s", "n", r.Key))...)
}

// ApplyRules changes the snapshot's rows of other relations by the overlay's rules, once ids are staging's,
// and stores what production had. It makes ks_rules_RELATION and ks_ruled_RELATION.
func (a *Applier) ApplyRules(ctx context.Context) error {
	body, err := json.Marshal(a.over)
	if err != nil {
		return err
	}
	ruled, err := a.RelationsIn(ctx, "kojisnap.overruled")
	if err != nil {
		return err
	}
	for _, o := range ruledRelations {
		r := relation.Get(o.name)
		if !o.has(a.over) && !slices.Contains(ruled, r) {
			continue // no rule changes anything, or did
		}
		a.ruled = append(a.ruled, o)
		if a.Base != nil && !a.Filled[loadtx.Staged(r)] {
			continue // there is no row to change
		}
		if _, err := a.Tx.Exec(ctx, o.of(a.Load, "CREATE TEMP TABLE {rules} ON COMMIT DROP AS "+o.rules), string(body)); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if _, err := a.Tx.Exec(ctx, o.of(a.Load, `
			CREATE TEMP TABLE {ruled} ON COMMIT DROP AS SELECT {keys}, {was} AS was, {data} FROM {s} s CROSS JOIN LATERAL ({fits}) u;
			INSERT INTO kojisnap.overruled AS o SELECT {r}, {skey}, was FROM {ruled} s
				ON CONFLICT (relation, key) DO UPDATE SET was = excluded.was WHERE o.was <> excluded.was;
			DELETE FROM kojisnap.overruled o USING {s} s WHERE o.relation = {r} AND o.key = {skey} AND NOT EXISTS (SELECT FROM {ruled} n WHERE {same});
			UPDATE {s} s SET {set} FROM {ruled} n WHERE {same}`)); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// SettleOutside changes rows that an earlier load's rules changed and that this snapshot does not have: they
// become what this overlay's rules make of them, or what production had. It makes ks_outside_RELATION and
// ks_settled_RELATION.
func (a *Applier) SettleOutside(ctx context.Context) error {
	for _, o := range a.ruled {
		r := relation.Get(o.name)
		var on, had, now []string
		for _, k := range r.Key {
			on = append(on, fmt.Sprintf("t.%s = (v.key->>%s)::%s", sqltext.QuoteIdent(k), sqltext.QuoteLiteral(k), columnType(k)))
		}
		for _, c := range o.data {
			had = append(had, fmt.Sprintf("%s = (ks_was->>%s)::%s", sqltext.QuoteIdent(c), sqltext.QuoteLiteral(c), columnType(c)))
			now = append(now, fmt.Sprintf("coalesce(u.%s, s.%[1]s) AS %[1]s", sqltext.QuoteIdent(c)))
		}
		run := func(sql string) (int64, error) {
			tag, err := a.Tx.Exec(ctx, o.of(a.Load, sql, "old", sqltext.QuoteIdent("ks_outside_"+o.name), "settled", sqltext.QuoteIdent("ks_settled_"+o.name), "had", sqltext.Join(had), "now", sqltext.Join(now),
				"on", strings.Join(on, " AND "), "setnow", sqltext.Assign("s", o.data), "differ", sqltext.Differ("t", "s", o.data)))
			return tag.RowsAffected(), err
		}
		if _, err := run("DELETE FROM kojisnap.overruled v WHERE v.relation = {r} AND NOT EXISTS (SELECT FROM {t} t WHERE t.active AND {on})"); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if a.Base != nil {
			continue // the overlay has not changed since the last load
		}
		if _, err := run(`
			CREATE TEMP TABLE {old} ON COMMIT DROP AS SELECT t.*, v.key AS ks_key, v.was AS ks_was FROM kojisnap.overruled v JOIN {t} t ON {on}
				WHERE v.relation = {r} AND t.active AND NOT EXISTS (SELECT FROM {s} s WHERE {key});
			UPDATE {old} SET {had};
			CREATE TEMP TABLE {settled} ON COMMIT DROP AS SELECT {keys}, s.ks_key, u.ks_fits, {now}
				FROM {old} s LEFT JOIN LATERAL (SELECT true AS ks_fits, f.* FROM ({fits}) f) u ON true;
			DELETE FROM kojisnap.overruled v USING {settled} s WHERE v.relation = {r} AND v.key = s.ks_key AND s.ks_fits IS NULL`); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		n, err := run("WITH u AS (UPDATE {t} t SET {setnow} FROM {settled} s WHERE {key} AND {differ} RETURNING t.*)" + loadtx.NoteTags(r))
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		a.Counts.Of(o.name).Updated += n
	}
	return nil
}
