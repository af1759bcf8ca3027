package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// desiredRow is a row that an overlay wants.
type desiredRow struct {
	row   fields
	entry string // for people
}

// versionedTable is a versioned table that an overlay writes. subject are the columns that identify the
// subject of a row, data the columns with its values.
type versionedTable struct {
	name    string
	subject []string
	data    []string
	copied  map[string]string // by column: the expression that gives a new row its value from the row that it replaces, o
}

// columnType is the type of a column in PostgreSQL.
func columnType(column string) string {
	switch column {
	case "arches", "description", "key", "value", "url":
		return "text"
	case "capacity":
		return "double precision"
	}
	return "integer"
}

// ensure makes the desired rows the active ones. Other rows of the same subject are revoked, as Koji does to
// edit them; those that are not the overlay's own become active again once the entry is gone. It makes
// ks_desired_TABLE and ks_replaced_TABLE for itself.
func (w *rowWriter) ensure(ctx context.Context, t versionedTable, desired []desiredRow) error {
	if len(desired) == 0 {
		return nil
	}
	rows := make([]fields, len(desired))
	for i, w := range desired {
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
		defs = append(defs, sqltext.QuoteIdent(c)+" "+columnType(c))
	}
	for _, c := range t.subject {
		key = append(key, sqltext.QuoteLiteral(c)+", x."+sqltext.QuoteIdent(c))
	}
	touch := ""
	if r := relation.Get(t.name); r != nil && r.Index("tag_id") >= 0 {
		touch = ", g AS (INSERT INTO ks_touched_tag SELECT tag_id FROM n)"
	}
	into, from := "", ""
	for column, value := range t.copied {
		into, from = into+", "+sqltext.QuoteIdent(column), from+", "+value+" AS "+sqltext.QuoteIdent(column)
	}
	x := func(sql string) string {
		return sqltext.Expand(sqltext.Expand(sql, "same", "t.active AND {about} AND NOT ({differ})", "keyof", "jsonb_build_object('create_event', {event}, "+sqltext.Join(key)+")"),
			"t", sqltext.QuoteIdent(t.name), "r", sqltext.QuoteLiteral(t.name), "w", sqltext.QuoteIdent("ks_desired_"+t.name), "old", sqltext.QuoteIdent("ks_replaced_"+t.name), "defs", sqltext.Join(append(defs, "ks_entry text")),
			"about", sqltext.Equal("t", "x", t.subject), "oldabout", sqltext.Equal("o", "x", t.subject), "differ", sqltext.Differ("t", "x", t.data),
			"cols", sqltext.Columns("", columns), "xcols", sqltext.Columns("x", columns), "event", "{event}", "user", sqltext.Int(w.Mark.User),
			"into", into, "from", from, "touch", touch)
	}
	if _, err := w.Tx.Exec(ctx, x("CREATE TEMP TABLE {w} ({defs}) ON COMMIT DROP")); err != nil {
		return err
	}
	if _, err := w.Tx.Exec(ctx, x("INSERT INTO {w} SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS x({defs})"), string(body)); err != nil {
		return err
	}
	tag, err := w.Tx.Exec(ctx, sqltext.Expand(x("INSERT INTO ks_desired_key SELECT {r}, {keyof} FROM {w} x JOIN {t} t ON {same}"), "event", "t.create_event"))
	if err != nil || tag.RowsAffected() == int64(len(desired)) {
		return err
	}

	now, err := w.StagingEvent(ctx)
	if err != nil {
		return err
	}
	if _, err := w.Tx.Exec(ctx, sqltext.Expand(x(`CREATE TEMP TABLE {old} ON COMMIT DROP AS
		SELECT t.*, k.key AS ks_key, CASE WHEN v.key IS NULL THEN to_jsonb(t.create_event) ELSE v.before END AS ks_before
		FROM {w} x JOIN {t} t ON t.active AND {about} AND {differ} CROSS JOIN LATERAL (SELECT {keyof} AS key) k
			LEFT JOIN kojisnap.overlay v ON v.relation = {r} AND v.key = k.key`), "event", "t.create_event")); err != nil {
		return err
	}
	tag, err = w.Tx.Exec(ctx, sqltext.Expand(x("UPDATE {t} t SET active = NULL, revoke_event = {event}, revoker_id = {user} FROM {old} x WHERE t.create_event = x.create_event AND {about}"), "event", sqltext.Int(now)))
	if err != nil {
		return err
	}
	c := w.Counts.Of(t.name)
	c.Revoked += tag.RowsAffected()
	if err := w.tell(ctx, "remove", x("DELETE FROM kojisnap.overlay v USING {old} o WHERE v.relation = {r} AND v.key = o.ks_key RETURNING v.entry")); err != nil {
		return err
	}
	before := c.Inserted
	err = w.tell(ctx, "add", sqltext.Expand(x(`
		WITH n AS (SELECT x.*, o.ks_before {from} FROM {w} x LEFT JOIN {old} o ON {oldabout} WHERE NOT EXISTS (SELECT FROM {t} t WHERE t.active AND {about})),
			i AS (INSERT INTO {t} (create_event, creator_id, {cols} {into}) SELECT {event}, {user}, {cols} {into} FROM n),
			v AS (INSERT INTO kojisnap.overlay (relation, key, entry, before) SELECT {r}, {keyof}, x.ks_entry, x.ks_before FROM n x),
			k AS (INSERT INTO ks_desired_key SELECT {r}, {keyof} FROM n x) {touch}
		SELECT ks_entry FROM n`), "event", sqltext.Int(now)), &c.Inserted)
	if err == nil && c.Inserted == before {
		err = fmt.Errorf("%s: nothing was written", t.name)
	}
	return err
}
