package dbsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// fields are columns with their values.
type fields map[string]any

// where gives "t.a = $1 AND t.b = $2" and the values, from the n-th parameter on.
func (f fields) where(alias string, n int) (string, []any) {
	var cond []string
	var args []any
	for _, k := range slices.Sorted(maps.Keys(f)) {
		cond = append(cond, fmt.Sprintf("%s.%s = $%d", alias, q(k), n+len(args)))
		args = append(args, f[k])
	}
	return strings.Join(cond, " AND "), args
}

// execMode puts the mode before a query's arguments, without which temporary tables of an
// earlier load would be in a cached plan.
func execMode(args []any) []any { return append([]any{pgx.QueryExecModeExec}, args...) }

// id looks up a name.
func (m *merger) id(ctx context.Context, table, name string) (id int32, err error) {
	err = m.tx.QueryRow(ctx, "SELECT id FROM "+q(table)+" WHERE name = $1", pgx.QueryExecModeExec, name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("there is no %s %q", strings.ReplaceAll(strings.TrimSuffix(table, "s"), "_", " "), name)
	}
	return id, err
}

// insert adds a row and records it as the overlay's.
func (m *merger) insert(ctx context.Context, table string, row, key fields, entry string, before any) error {
	names := slices.Sorted(maps.Keys(row))
	var args []any
	var holes []string
	for i, n := range names {
		args = append(args, row[n])
		holes = append(holes, fmt.Sprintf("$%d", i+1))
	}
	if _, err := m.tx.Exec(ctx, "INSERT INTO "+q(table)+" ("+list("", names)+") VALUES ("+join(holes)+")", execMode(args)...); err != nil {
		return err
	}
	m.counts.of(table).Inserted++
	return m.record(ctx, table, key, entry, before)
}

// record notes that a row is the overlay's, and what stood in its place.
func (m *merger) record(ctx context.Context, table string, key fields, entry string, before any) error {
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	b, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := m.want(ctx, table, key); err != nil {
		return err
	}
	_, err = m.tx.Exec(ctx, `INSERT INTO kojisnap.overlay VALUES ($1, $2::text::jsonb, $3, $4::text::jsonb) ON CONFLICT (relation, key) DO NOTHING`,
		pgx.QueryExecModeExec, table, string(k), entry, string(b))
	return err
}

// want notes that the overlay still names a row, whoever made it.
func (m *merger) want(ctx context.Context, table string, key fields) error {
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	_, err = m.tx.Exec(ctx, `INSERT INTO ks_wanted VALUES ($1, $2::text::jsonb)`, pgx.QueryExecModeExec, table, string(k))
	return err
}

// ensure makes a versioned row about subject with this data the active one. Another one is
// revoked, as Koji edits; if it is production's, it is active again when the entry goes. A row
// that is made gets the columns carry too.
func (m *merger) ensure(ctx context.Context, table string, subject, data, carry fields, entry string) error {
	cond, args := subject.where("t", 1)
	same := "true"
	if len(data) > 0 {
		var more []any
		same, more = data.where("t", 1+len(args))
		same = "coalesce(" + same + ", false)"
		args = append(args, more...)
	}
	key := maps.Clone(subject)
	var event int64
	var equal bool
	err := m.tx.QueryRow(ctx, "SELECT create_event, "+same+" FROM "+q(table)+" t WHERE active AND "+cond, execMode(args)...).Scan(&event, &equal)
	var before any
	switch {
	case err == nil && equal:
		key["create_event"] = event
		return m.want(ctx, table, key)
	case err == nil:
		if event < m.mark.Floor {
			before = event
		}
		if err := m.revokeRow(ctx, table, subject, event); err != nil {
			return err
		}
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	now, err := m.stagingEvent(ctx)
	if err != nil {
		return err
	}
	row := maps.Clone(subject)
	maps.Copy(row, carry)
	maps.Copy(row, data)
	row["create_event"], row["creator_id"], key["create_event"] = now, m.mark.user, now
	if err := m.touchTag(ctx, table, subject); err != nil {
		return err
	}
	return m.insert(ctx, table, row, key, entry, before)
}

// revokeRow revokes one active row at this load's event.
func (m *merger) revokeRow(ctx context.Context, table string, subject fields, created int64) error {
	now, err := m.stagingEvent(ctx)
	if err != nil {
		return err
	}
	cond, args := subject.where("t", 4)
	tag, err := m.tx.Exec(ctx, "UPDATE "+q(table)+" t SET active = NULL, revoke_event = $1, revoker_id = $2 WHERE active AND create_event = $3 AND "+cond,
		execMode(append([]any{now, m.mark.user, created}, args...))...)
	m.counts.of(table).Revoked += tag.RowsAffected()
	if err == nil && tag.RowsAffected() > 0 {
		err = m.touchTag(ctx, table, subject)
	}
	return err
}

func (m *merger) touchTag(ctx context.Context, table string, subject fields) error {
	if r := relation.Get(table); r == nil || r.Index("tag_id") < 0 {
		return nil
	}
	_, err := m.tx.Exec(ctx, "INSERT INTO ks_touched VALUES ($1)", pgx.QueryExecModeExec, subject["tag_id"])
	return err
}

// withdraw takes back what an earlier overlay put there and this one does not name.
func (m *merger) withdraw(ctx context.Context) error {
	rows, err := m.tx.Query(ctx, `DELETE FROM kojisnap.overlay o WHERE NOT EXISTS (SELECT FROM ks_wanted w WHERE w.relation = o.relation AND w.key = o.key)
		RETURNING relation, key::text, coalesce(before, 'null')::text`, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Key, Before string }])
	if err != nil {
		return err
	}
	for _, g := range list {
		if err := m.undo(ctx, g.Table, g.Key, g.Before); err != nil {
			return fmt.Errorf("%s %s: %w", g.Table, g.Key, err)
		}
	}
	return nil
}

func (m *merger) undo(ctx context.Context, table, keyJSON, beforeJSON string) error {
	dec := json.NewDecoder(strings.NewReader(keyJSON))
	dec.UseNumber()
	key := fields{}
	if err := dec.Decode(&key); err != nil {
		return err
	}
	for k, v := range key {
		if n, ok := v.(json.Number); ok {
			i, err := n.Int64()
			if err != nil {
				return err
			}
			key[k] = i
		}
	}
	var before *int64
	if err := json.Unmarshal([]byte(beforeJSON), &before); err != nil {
		return err
	}
	c := m.counts.of(table)
	switch table {
	case "user_krb_principals":
		cond, args := key.where("t", 1)
		tag, err := m.tx.Exec(ctx, "DELETE FROM user_krb_principals t WHERE "+cond, execMode(args)...)
		c.Deleted += tag.RowsAffected()
		return err
	case "users":
		// Users are never deleted: what they did refers to them. One that the overlay made is
		// blocked; one that it blocked gets its status back.
		status := int64(1)
		if before != nil {
			status = *before
		}
		tag, err := m.tx.Exec(ctx, "UPDATE users SET status = $2 WHERE id = $1 AND status <> $2", pgx.QueryExecModeExec, key["id"], status)
		c.Updated += tag.RowsAffected()
		return err
	}
	created := key["create_event"].(int64)
	delete(key, "create_event")
	if err := m.revokeRow(ctx, table, key, created); err != nil || before == nil {
		return err
	}
	cond, args := key.where("t", 2)
	taken, _ := key.where("o", 2)
	tag, err := m.tx.Exec(ctx, "UPDATE "+q(table)+" t SET active = true, revoke_event = NULL, revoker_id = NULL WHERE create_event = $1 AND revoke_event >= "+itoa(m.mark.Floor)+
		" AND "+cond+" AND NOT EXISTS (SELECT FROM "+q(table)+" o WHERE o.active AND "+taken+")", execMode(append([]any{*before}, args...))...)
	c.Unrevoked += tag.RowsAffected()
	return err
}
