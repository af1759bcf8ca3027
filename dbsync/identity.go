package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// identities brings in the relations whose rows are known by name, and maps production's ids to staging's.
//
// It reads and writes ks_RELATION, ks_revoked_RELATION and ks_deleted_RELATION, whose ids are staging's
// afterwards, and kojisnap.idmap. It fills ks_scope_tag, ks_scope_repo and ks_named_build.
type identities struct {
	*attempt
	edits     *edits
	conflicts *nameConflicts
	write     *writer
	mapped    map[string]bool // relations where some ids differ from production's
}

// insertEvents inserts the events that the snapshot's rows refer to, and E itself.
func (i *identities) insertEvents(ctx context.Context) error {
	r := relation.Get("events")
	n, err := i.ExecSQL(ctx, r, `INSERT INTO {t} (id, time) OVERRIDING SYSTEM VALUE SELECT id, time FROM {s} s WHERE NOT EXISTS (SELECT FROM {t} t WHERE {key})`)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	tag, err := i.Tx.Exec(ctx, `INSERT INTO events (id, time) OVERRIDING SYSTEM VALUE VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		int32(i.Snap.Manifest.Event), i.Snap.Manifest.EventTime)
	i.Counts.Of("events").Inserted = n + tag.RowsAffected()
	return err
}

// mergeNames merges the relations whose rows are known by name. Afterwards kojisnap.idmap has an entry for
// each id of production's whose row has another id here, or whose row is staging's.
func (i *identities) mergeNames(ctx context.Context) error {
	// Before rows that staging edited or has itself are taken out: those are in the scope, too.
	if _, err := i.Tx.Exec(ctx, "INSERT INTO ks_scope_repo SELECT id FROM ks_external_repo"); err != nil {
		return err
	}
	same, err := i.findSame(ctx)
	if err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !r.Named() || r.Name == "volume" {
			continue
		}
		if same[r.Name] {
			i.Counts.Of(r.Name) // on record as looked at
			continue
		}
		for _, step := range []func(context.Context, *relation.Relation) error{i.identify, i.conflicts.giveWay, i.edits.keepStagingEdits, i.conflicts.resolveNameConflicts, i.write.upsert} {
			if err := step(ctx, r); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		}
	}
	return nil
}

// findSame returns the named relations for which the steps of mergeNames would find nothing to do, by one statement
// for all, as those take a dozen for each and names seldom change: every row of the snapshot is in Koji's table under
// its id with the same values and on record as written, or it is the same name of staging's; no id is mapped to
// another, no entry of kojisnap.idmap is stale or missing, and staging has edited none. Names that are staging's it
// takes out of the snapshot's rows, as identify does.
func (i *identities) findSame(ctx context.Context) (map[string]bool, error) {
	same := map[string]bool{}
	if i.opt.OnConflict == Replace {
		return same, nil // staging's names give way
	}
	var looks []string
	for _, r := range relation.All() {
		if !r.Named() || r.Name == "volume" {
			continue
		}
		written, join, more := "false", "", ""
		if r.InPlace {
			written, join = "p.id IS NULL", "LEFT JOIN kojisnap.placed p ON p.relation = {r} AND p.id = s.id"
			more = " AND NOT EXISTS (SELECT FROM ks_edited e WHERE e.relation = {r})"
		}
		if r.Name == "external_repo" {
			more = " AND EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {r} AND i.prod_id = 0)"
		}
		looks = append(looks, i.ExpandSQL(r, `SELECT {r}, EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {r} AND NOT i.made)
			WHERE NOT EXISTS (SELECT FROM {s} s LEFT JOIN {t} t ON {key} LEFT JOIN kojisnap.idmap i ON i.relation = {r} AND i.prod_id = s.id `+join+`
					WHERE CASE WHEN NOT i.made THEN t.name IS DISTINCT FROM s.name
						ELSE t.id IS NULL OR {differ} OR `+written+` OR i.prod_id IS NULL AND EXISTS (SELECT FROM kojisnap.seed d WHERE d.relation = {r} AND d.id = s.id) END)
				AND NOT EXISTS (SELECT FROM kojisnap.idmap i LEFT JOIN {t} t ON t.id = i.staging_id WHERE i.relation = {r} AND (t.id IS NULL OR i.staging_id <> i.prod_id))`+more,
			"differ", sqltext.Differ("t", "s", i.Usable(r))))
	}
	rows, err := i.Tx.Query(ctx, strings.Join(looks, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	var name, takeOut string
	var own bool
	_, err = pgx.ForEachRow(rows, []any{&name, &own}, func() error {
		same[name] = true
		if own {
			takeOut += i.ExpandSQL(relation.Get(name), deleteOwn) + ";"
		}
		return nil
	})
	if err == nil && takeOut != "" {
		_, err = i.Tx.Exec(ctx, takeOut)
	}
	return same, err
}

// deleteOwn takes the names that are staging's out of the snapshot's rows.
const deleteOwn = "DELETE FROM {s} s USING kojisnap.idmap i WHERE i.relation = {r} AND i.staging_id = s.id AND NOT i.made"

// isStagings is the condition that a row of a relation is staging's: it is at or above the floor and, for
// named relations, no load made it; or it is a seed.
func (a *attempt) isStagings(r *relation.Relation, alias string) string {
	if !r.Named() {
		return a.ExpandSQL(r, "{a}.id >= {floor}", "a", alias)
	}
	return a.ExpandSQL(r, `(EXISTS (SELECT FROM kojisnap.seed d WHERE d.relation = {r} AND d.id = {a}.id)
		OR {a}.id >= {floor} AND NOT EXISTS (SELECT FROM kojisnap.idmap o WHERE o.relation = {r} AND o.staging_id = {a}.id AND o.made))`, "a", alias)
}

// identify maps production's id to staging's where staging has a row of the same name, or where a seed has the
// id. Then it rewrites the ids of the snapshot's rows.
func (i *identities) identify(ctx context.Context, r *relation.Relation) error {
	// Staging may have deleted a row since.
	n, err := i.ExecSQL(ctx, r, `DELETE FROM kojisnap.idmap i WHERE relation = {r} AND NOT EXISTS (SELECT FROM {t} t WHERE t.id = i.staging_id)`)
	if err != nil {
		return err
	}
	if n > 0 && i.Base != nil {
		return errNeedAllRows // what referred to it may not have changed
	}
	// The same name, unless the id is loaded already: then production renamed its row, and
	// resolveNameConflicts decides.
	if _, err := i.ExecSQL(ctx, r, `INSERT INTO kojisnap.idmap (relation, prod_id, staging_id, made)
		SELECT {r}, s.id, t.id, false FROM {s} s JOIN {t} t ON t.name = s.name
		WHERE {own}
			AND NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {r} AND (i.prod_id = s.id OR i.staging_id = t.id))
			AND NOT EXISTS (SELECT FROM {t} h WHERE h.id = s.id AND NOT {ownh})`,
		"own", i.isStagings(r, "t"), "ownh", i.isStagings(r, "h")); err != nil {
		return err
	}
	// Koji's code knows the external repo 0 (INTERNAL) by its id.
	if r.Name == "external_repo" {
		if _, err := i.ExecSQL(ctx, r, `INSERT INTO kojisnap.idmap (relation, prod_id, staging_id, made) VALUES ({r}, 0, 0, false) ON CONFLICT DO NOTHING`); err != nil {
			return err
		}
	}
	next, err := i.nextID(r)
	if err != nil {
		return err
	}
	if _, err := i.ExecSQL(ctx, r, `INSERT INTO kojisnap.idmap (relation, prod_id, staging_id, made)
		SELECT {r}, s.id, {next}, true FROM {s} s
			JOIN kojisnap.seed d ON d.relation = {r} AND d.id = s.id
		WHERE NOT EXISTS (SELECT FROM kojisnap.idmap i WHERE i.relation = {r} AND i.prod_id = s.id)
		ORDER BY s.id`, "next", next); err != nil {
		return err
	}
	n, err = i.ExecSQL(ctx, r, `UPDATE {s} s SET id = i.staging_id FROM kojisnap.idmap i
		WHERE i.relation = {r} AND i.prod_id = s.id AND i.staging_id <> s.id`)
	if err != nil {
		return err
	}
	var differs bool
	if err := i.Tx.QueryRow(ctx, i.ExpandSQL(r, "SELECT EXISTS (SELECT FROM kojisnap.idmap WHERE relation = {r} AND staging_id <> prod_id)")).Scan(&differs); err != nil {
		return err
	}
	i.mapped[r.Name] = n > 0 || differs
	// A row of staging's own stays as it is, whatever production does with its row of that name.
	if _, err := i.ExecSQL(ctx, r, `INSERT INTO ks_kept SELECT {r}, 'id=' || t.id, 'it is staging''s ' || quote_literal(t.name) || ', production''s is ' || quote_literal(s.name) || ' now'
		FROM {s} s JOIN kojisnap.idmap i ON i.relation = {r} AND i.staging_id = s.id AND NOT i.made JOIN {t} t ON t.id = s.id WHERE t.name <> s.name`); err != nil {
		return err
	}
	_, err = i.ExecSQL(ctx, r, deleteOwn)
	return err
}

// rewrite turns production's ids into staging's in all columns that refer to mapped relations.
func (i *identities) rewrite(ctx context.Context) error {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			if !i.mapped[c.Ref] || c.Ref == "volume" {
				continue
			}
			tables := []string{loadtx.Staged(r)}
			if r.Versioned {
				tables = append(tables, loadtx.Revoked(r))
			}
			if i.Delta(r) && slices.Contains(r.Key, c.Name) {
				tables = append(tables, loadtx.Deleted(r))
			}
			for _, table := range tables {
				if !i.Filled[table] {
					continue
				}
				if _, err := i.ExecSQL(ctx, r, `UPDATE {table} s SET {c} = i.staging_id FROM kojisnap.idmap i
					WHERE i.relation = {ref} AND i.prod_id = s.{c} AND i.staging_id <> i.prod_id`,
					"table", table, "c", sqltext.QuoteIdent(c.Name), "ref", sqltext.QuoteLiteral(c.Ref)); err != nil {
					return fmt.Errorf("%s.%s: %w", r.Name, c.Name, err)
				}
			}
		}
	}
	if err := i.rewriteSideTags(ctx); err != nil {
		return fmt.Errorf("tag_extra: %w", err)
	}
	// Everything tells of each tag that was ever loaded: one that it does not have is deleted.
	_, err := i.Tx.Exec(ctx, `INSERT INTO ks_scope_tag SELECT coalesce(i.staging_id, s.id)
		FROM (SELECT unnest($1::integer[]) UNION SELECT tag_id FROM kojisnap.tag WHERE $2) AS s(id)
		LEFT JOIN kojisnap.idmap i ON i.relation = 'tag' AND i.prod_id = s.id`, i.scope(), i.Snap.Manifest.Scope.Everything)
	if err != nil {
		return err
	}
	if _, err := i.Tx.Exec(ctx, "INSERT INTO ks_named_build SELECT * FROM unnest($1::integer[])", i.namedBuilds()); err != nil {
		return err
	}
	_, err = i.Tx.Exec(ctx, `UPDATE ks_scope_repo s SET id = i.staging_id FROM kojisnap.idmap i WHERE i.relation = 'external_repo' AND i.prod_id = s.id`)
	return err
}

// rewriteSideTags does the same for the owners of side tags. Koji's plugin sidetag_hub keeps a user's id as
// JSON in the tag's extra "sidetag_user_id", and lets only that user edit or remove the tag.
func (i *identities) rewriteSideTags(ctx context.Context) error {
	r := relation.Get("tag_extra")
	for _, table := range []string{loadtx.Staged(r), loadtx.Revoked(r)} {
		if !i.mapped["users"] || !i.Filled[table] {
			continue
		}
		if _, err := i.ExecSQL(ctx, r, `UPDATE {table} s SET value = i.staging_id::text FROM kojisnap.idmap i
			WHERE i.relation = 'users' AND s.key = 'sidetag_user_id' AND s.value = i.prod_id::text AND i.staging_id <> i.prod_id`, "table", table); err != nil {
			return err
		}
	}
	return nil
}

// nextID is the expression that gives a new id for a relation.
func (i *identities) nextID(r *relation.Relation) (string, error) {
	for _, c := range i.IDColumns {
		if c.Table == r.Name && c.Column == "id" {
			return c.Next, nil
		}
	}
	return "", fmt.Errorf("no sequence gives ids of %s", r.Name)
}
