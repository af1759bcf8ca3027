package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// revertOverlay reverts the rows of earlier overlays that this one does not name, names last.
func (w *rowWriter) revertOverlay(ctx context.Context) error {
	rows, err := w.Tx.Query(ctx, `WITH gone AS (DELETE FROM kojisnap.overlay o
			WHERE NOT EXISTS (SELECT FROM ks_desired_key w WHERE w.relation = o.relation AND w.key = o.key) RETURNING *)
		SELECT relation, key::text, entry, coalesce(before, 'null')::text FROM gone
		ORDER BY relation = 'users', relation = 'channels', entry, key`)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[overlayRow])
	if err != nil {
		return err
	}
	for _, was := range list {
		n, err := w.revertRow(ctx, was)
		if err != nil {
			return fmt.Errorf("take back %s (%s %s): %w", was.Entry, was.Table, was.Key, err)
		}
		if n > 0 {
			w.report("remove", was.Entry)
		}
	}
	return nil
}

// overlayRow is a row of kojisnap.overlay.
type overlayRow struct{ Table, Key, Entry, Before string }

// revertRow reverts one row and returns how many rows that changed: none, if staging's admins have changed it
// since.
func (w *rowWriter) revertRow(ctx context.Context, was overlayRow) (int64, error) {
	key := fields{}
	dec := json.NewDecoder(strings.NewReader(was.Key))
	dec.UseNumber()
	if err := dec.Decode(&key); err != nil {
		return 0, err
	}
	for k, v := range key {
		if n, ok := v.(json.Number); ok {
			i, err := n.Int64()
			if err != nil {
				return 0, err
			}
			key[k] = i
		}
	}
	var before *int64
	if err := json.Unmarshal([]byte(was.Before), &before); err != nil {
		return 0, err
	}
	run := func(count *int64, sql string, args ...any) (int64, error) {
		tag, err := w.Tx.Exec(ctx, sql, args...)
		*count += tag.RowsAffected()
		return tag.RowsAffected(), err
	}
	c := w.Counts.Of(was.Table)
	switch was.Table {
	case "user_krb_principals":
		cond, args := key.where("t", 1)
		return run(&c.Deleted, "DELETE FROM user_krb_principals t WHERE "+cond, args...)
	case "users":
		// Users are never deleted, as history refers to them. One that production has by now stays.
		return run(&c.Updated, `UPDATE users SET status = 1 WHERE id = $1 AND status <> 1
			AND NOT EXISTS (SELECT FROM kojisnap.idmap WHERE relation = 'users' AND staging_id = $1)`, key["id"])
	case book.BlockUsers:
		// A user that an overlay made, and that this one does not name, stays blocked.
		return run(&w.Counts.Of("users").Updated, `UPDATE users SET status = $2 WHERE id = $1 AND status <> $2 AND (
			NOT EXISTS (SELECT FROM kojisnap.overlay_made WHERE relation = 'users' AND id = $1)
			OR EXISTS (SELECT FROM ks_desired_key WHERE relation = 'users' AND key = jsonb_build_object('id', $1)))`, key["id"], before)
	case "channels":
		if _, ok := w.Schema.Column("channels", "enabled"); !ok {
			return 0, nil
		}
		return run(&c.Updated, `UPDATE channels SET enabled = false WHERE id = $1 AND enabled
			AND NOT EXISTS (SELECT FROM host_channels WHERE channel_id = $1 AND active)`, key["id"])
	case "permissions", "content_generator":
		return 0, nil // nobody has them any more
	}
	created := key["create_event"].(int64)
	delete(key, "create_event")
	cond, args := key.where("t", 2)
	var stands bool
	err := w.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+sqltext.QuoteIdent(was.Table)+" t WHERE active AND create_event = $1 AND "+cond+")",
		append([]any{created}, args...)...).Scan(&stands)
	if err != nil || !stands {
		return 0, err
	}
	now, err := w.StagingEvent(ctx)
	if err != nil {
		return 0, err
	}
	cond, args = key.where("t", 4)
	n, err := run(&c.Revoked, "UPDATE "+sqltext.QuoteIdent(was.Table)+" t SET active = NULL, revoke_event = $1, revoker_id = $2 WHERE active AND create_event = $3 AND "+cond,
		append([]any{now, w.Mark.User, created}, args...)...)
	if err != nil {
		return n, err
	}
	if r := relation.Get(was.Table); r != nil && r.Index("tag_id") >= 0 {
		if _, err := w.Tx.Exec(ctx, "INSERT INTO ks_touched_tag VALUES ($1)", key["tag_id"]); err != nil {
			return n, err
		}
	}
	if before == nil {
		return n, nil
	}
	cond, args = key.where("t", 3)
	_, err = run(&c.Unrevoked, "UPDATE "+sqltext.QuoteIdent(was.Table)+" t SET active = true, revoke_event = NULL, revoker_id = NULL WHERE create_event = $1 AND revoker_id = $2 AND "+cond,
		append([]any{*before, w.Mark.User}, args...)...)
	return n, err
}

// where gives "t.a = $1 AND t.b = $2" and the values, from the n-th parameter on.
func (f fields) where(alias string, n int) (string, []any) {
	var cond []string
	var args []any
	for _, k := range slices.Sorted(maps.Keys(f)) {
		cond = append(cond, fmt.Sprintf("%s.%s = $%d", alias, sqltext.QuoteIdent(k), n+len(args)))
		args = append(args, f[k])
	}
	return strings.Join(cond, " AND "), args
}
