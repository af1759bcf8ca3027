package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
)

// rowWriter writes rows of an overlay, and keeps the list of them, kojisnap.overlay.
type rowWriter struct{ *loadtx.Load }

// fields are columns with their values.
type fields map[string]any

// tell runs a statement that returns entries of the overlay, and reports them. Their number is added to the
// counts.
func (w *rowWriter) tell(ctx context.Context, action, sql string, count ...*int64) error {
	rows, err := w.Tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	entries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	slices.Sort(entries)
	for _, e := range entries {
		w.report(action, e)
	}
	for _, n := range count {
		*n += int64(len(entries))
	}
	return err
}

// report adds to the report what the overlay changed.
func (w *rowWriter) report(action, entry string) {
	if len(w.Report.Overlay) < book.MaxEntries {
		w.Report.Overlay = append(w.Report.Overlay, book.OverlayChange{Action: action, Entry: entry})
	}
}

// record adds a row to the overlay's list, with what was in its place before.
func (w *rowWriter) record(ctx context.Context, table string, key fields, entry string, before any) error {
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	b, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := w.want(ctx, table, key); err != nil {
		return err
	}
	_, err = w.Tx.Exec(ctx, `INSERT INTO kojisnap.overlay VALUES ($1, $2::text::jsonb, $3, $4::text::jsonb) ON CONFLICT (relation, key) DO NOTHING`, table, string(k), entry, string(b))
	return err
}

// want notes in ks_desired_key that this overlay names a row.
func (w *rowWriter) want(ctx context.Context, table string, key fields) error {
	k, err := json.Marshal(key)
	if err != nil {
		return err
	}
	_, err = w.Tx.Exec(ctx, `INSERT INTO ks_desired_key VALUES ($1, $2::text::jsonb)`, table, string(k))
	return err
}

// made returns the ids of names in a table. It inserts names that are not there. A name that an earlier
// overlay inserted, and that the last one did not have, is brought back by setting revive.
func (w *rowWriter) made(ctx context.Context, table, kind string, rows []fields, revive string) (map[string]int32, error) {
	var names []string
	for _, r := range rows {
		names = append(names, r["name"].(string))
	}
	ids := map[string]int32{}
	if len(names) == 0 {
		return ids, nil
	}
	type row struct {
		Name       string
		ID         int32
		Made, Held bool
	}
	found, err := w.Tx.Query(ctx, sqltext.Expand(`SELECT t.name, t.id, EXISTS (SELECT FROM kojisnap.overlay_made d WHERE d.relation = {r} AND d.id = t.id),
			EXISTS (SELECT FROM kojisnap.overlay v WHERE v.relation = {r} AND v.key = jsonb_build_object('id', t.id))
		FROM {t} t WHERE name = ANY($1)`, "t", sqltext.QuoteIdent(table), "r", sqltext.QuoteLiteral(table)), names)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, err
	}
	c := w.Counts.Of(table)
	for _, r := range list {
		ids[r.Name] = r.ID
		switch {
		case r.Made && r.Held:
			err = w.want(ctx, table, fields{"id": r.ID})
		case r.Made:
			if revive != "" {
				tag, err := w.Tx.Exec(ctx, "UPDATE "+sqltext.QuoteIdent(table)+" SET "+revive+" WHERE id = $1 AND NOT ("+revive+")", r.ID)
				if err != nil {
					return nil, err
				}
				c.Updated += tag.RowsAffected()
			}
			w.report("add", kind+" "+r.Name)
			err = w.record(ctx, table, fields{"id": r.ID}, kind+" "+r.Name, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		name := r["name"].(string)
		if _, ok := ids[name]; ok {
			continue
		}
		id, err := w.insert(ctx, table, r)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", kind, name, err)
		}
		ids[name] = id
		if _, err := w.Tx.Exec(ctx, "INSERT INTO kojisnap.overlay_made (relation, id) VALUES ($1, $2)", table, id); err != nil {
			return nil, err
		}
		w.report("add", kind+" "+name)
		if err := w.record(ctx, table, fields{"id": id}, kind+" "+name, nil); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// insert adds a row and returns its id.
func (w *rowWriter) insert(ctx context.Context, table string, row fields) (id int32, err error) {
	columns := slices.Sorted(maps.Keys(row))
	var args []any
	var holes []string
	for i, c := range columns {
		args = append(args, row[c])
		holes = append(holes, fmt.Sprintf("$%d", i+1))
	}
	err = w.Tx.QueryRow(ctx, "INSERT INTO "+sqltext.QuoteIdent(table)+" ("+sqltext.Columns("", columns)+") VALUES ("+sqltext.Join(holes)+") RETURNING id", args...).Scan(&id)
	w.Counts.Of(table).Inserted++
	return id, err
}
