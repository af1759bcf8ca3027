package dbsync

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// fields are columns with their values.
type fields map[string]any

// wish is a row that the overlay wants.
type wish struct {
	row   fields
	entry string // for people
}

// versionedTable is one of those that an overlay has rows of: a row is about the columns of
// subject, and says those of data.
type versionedTable struct {
	name    string
	subject []string
	data    []string
	carry   map[string]string // columns that a row inherits from the one before it, o
}

// wishType is the type of a wish's column.
func wishType(column string) string {
	switch column {
	case "arches", "description", "key", "value", "url":
		return "text"
	case "capacity":
		return "double precision"
	}
	return "integer"
}

// ensure makes rows with the wanted data the active ones. Others about the same are revoked, as
// Koji edits; if they are not the overlay's own, they are active again when the entry goes.
func (m *merger) ensure(ctx context.Context, t versionedTable, wishes []wish) error {
	if len(wishes) == 0 {
		return nil
	}
	rows := make([]fields, len(wishes))
	for i, w := range wishes {
		rows[i] = w.row
		rows[i]["ks_entry"] = w.entry
	}
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	columns := slices.Concat(t.subject, t.data)
	var defs, key []string
	for _, c := range columns {
		defs = append(defs, sqltext.QuoteIdent(c)+" "+wishType(c))
	}
	for _, c := range t.subject {
		key = append(key, sqltext.QuoteLiteral(c)+", x."+sqltext.QuoteIdent(c))
	}
	touch := ""
	if r := relation.Get(t.name); r != nil && r.Index("tag_id") >= 0 {
		touch = ", g AS (INSERT INTO ks_touched SELECT tag_id FROM n)"
	}
	into, from := "", ""
	for column, value := range t.carry {
		into, from = into+", "+sqltext.QuoteIdent(column), from+", "+value+" AS "+sqltext.QuoteIdent(column)
	}
	x := func(sql string) string {
		return sqltext.Expand(sqltext.Expand(sql, "same", "t.active AND {about} AND NOT ({differ})", "keyof", "jsonb_build_object('create_event', {event}, "+sqltext.Join(key)+")"),
			"t", sqltext.QuoteIdent(t.name), "r", sqltext.QuoteLiteral(t.name), "w", sqltext.QuoteIdent("ks_wish_"+t.name), "old", sqltext.QuoteIdent("ks_old_"+t.name), "defs", sqltext.Join(append(defs, "ks_entry text")),
			"about", sqltext.Equal("t", "x", t.subject), "oldabout", sqltext.Equal("o", "x", t.subject), "differ", sqltext.Differ("t", "x", t.data),
			"cols", sqltext.Columns("", columns), "xcols", sqltext.Columns("x", columns), "event", "{event}", "user", sqltext.Int(m.mark.User),
			"into", into, "from", from, "carry", into, "touch", touch)
	}
	if _, err := m.tx.Exec(ctx, x("CREATE TEMP TABLE {w} ({defs}) ON COMMIT DROP")); err != nil {
		return err
	}
	if _, err := m.tx.Exec(ctx, x("INSERT INTO {w} SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS x({defs})"), string(body)); err != nil {
		return err
	}
	tag, err := m.tx.Exec(ctx, sqltext.Expand(x("INSERT INTO ks_wanted SELECT {r}, {keyof} FROM {w} x JOIN {t} t ON {same}"), "event", "t.create_event"))
	if err != nil || tag.RowsAffected() == int64(len(wishes)) {
		return err
	}

	now, err := m.stagingEvent(ctx)
	if err != nil {
		return err
	}
	if _, err := m.tx.Exec(ctx, sqltext.Expand(x(`CREATE TEMP TABLE {old} ON COMMIT DROP AS
		SELECT t.*, k.key AS ks_key, CASE WHEN v.key IS NULL THEN to_jsonb(t.create_event) ELSE v.before END AS ks_before
		FROM {w} x JOIN {t} t ON t.active AND {about} AND {differ} CROSS JOIN LATERAL (SELECT {keyof} AS key) k
			LEFT JOIN kojisnap.overlay v ON v.relation = {r} AND v.key = k.key`), "event", "t.create_event")); err != nil {
		return err
	}
	tag, err = m.tx.Exec(ctx, sqltext.Expand(x("UPDATE {t} t SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {old} x WHERE t.create_event = x.create_event AND {about}"), "event", sqltext.Int(now)))
	if err != nil {
		return err
	}
	c := m.counts.of(t.name)
	c.Revoked += tag.RowsAffected()
	if err := m.tell(ctx, "remove", x("DELETE FROM kojisnap.overlay v USING {old} o WHERE v.relation = {r} AND v.key = o.ks_key RETURNING v.entry")); err != nil {
		return err
	}
	before := c.Inserted
	err = m.tell(ctx, "add", sqltext.Expand(x(`
		WITH n AS (SELECT x.*, o.ks_before {from} FROM {w} x LEFT JOIN {old} o ON {oldabout} WHERE NOT EXISTS (SELECT FROM {t} t WHERE t.active AND {about})),
			i AS (INSERT INTO {t} (create_event, creator_id, {cols} {into}) SELECT {event}, {user}, {cols} {carry} FROM n),
			v AS (INSERT INTO kojisnap.overlay (relation, key, entry, before) SELECT {r}, {keyof}, x.ks_entry, x.ks_before FROM n x),
			k AS (INSERT INTO ks_wanted SELECT {r}, {keyof} FROM n x) {touch}
		SELECT ks_entry FROM n`), "event", sqltext.Int(now)), &c.Inserted)
	if err == nil && c.Inserted == before {
		err = fmt.Errorf("%s: nothing was written", t.name)
	}
	return err
}

// tell runs a statement that returns entries of the overlay, and reports them.
func (m *merger) tell(ctx context.Context, action, sql string, count ...*int64) error {
	rows, err := m.tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	entries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(entries)
	for _, e := range entries {
		m.report(action, e)
	}
	for _, n := range count {
		*n += int64(len(entries))
	}
	return err
}

// report notes what the overlay did.
func (m *merger) report(action, entry string) {
	if len(m.rep.Overlay) < book.MaxEntries {
		m.rep.Overlay = append(m.rep.Overlay, book.OverlayChange{Action: action, Entry: entry})
	}
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
	_, err = m.tx.Exec(ctx, `INSERT INTO kojisnap.overlay VALUES ($1, $2::text::jsonb, $3, $4::text::jsonb) ON CONFLICT (relation, key) DO NOTHING`, table, string(k), entry, string(b))
	return err
}

// want notes that the overlay still names a row, whoever made it.
func (m *merger) want(ctx context.Context, table string, key fields) error {
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	_, err = m.tx.Exec(ctx, `INSERT INTO ks_wanted VALUES ($1, $2::text::jsonb)`, table, string(k))
	return err
}
