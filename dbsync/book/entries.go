package book

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Entry is a row of production's that a report or a status mentions.
type Entry struct {
	Relation string `json:"relation"`
	Key      string `json:"key"` // "create_event=420 tag_id=2", in production's ids
	What     string `json:"what"`
}

// ReadEntries reads entries from a table with the columns relation, key and reason, in the catalogue's order.
func ReadEntries(ctx context.Context, db dbconn.Querier, from string, limit int) ([]Entry, error) {
	order := "array_position(ARRAY["
	for i, n := range kojidb.RelationNames() {
		if i > 0 {
			order += ", "
		}
		order += sqltext.QuoteLiteral(n)
	}
	rows, err := db.Query(ctx, fmt.Sprintf("SELECT relation, key, reason FROM %s ORDER BY %s], relation), length(key), key, reason LIMIT %d", from, order, limit))
	if err != nil {
		return nil, err
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Entry, err error) {
		err = row.Scan(&e.Relation, &e.Key, &e.What)
		return e, err
	})
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries, productionKeys(ctx, db, entries)
}

// productionKeys replaces staging's ids in keys by production's.
func productionKeys(ctx context.Context, db dbconn.Querier, entries []Entry) error {
	rows, err := db.Query(ctx, "SELECT relation, staging_id, prod_id FROM kojisnap.idmap WHERE staging_id <> prod_id")
	if err != nil {
		return err
	}
	type id struct {
		relation string
		id       int64
	}
	var staging id
	var prod int64
	ids := map[id]int64{}
	if _, err := pgx.ForEachRow(rows, []any{&staging.relation, &staging.id, &prod}, func() error { ids[staging] = prod; return nil }); err != nil {
		return err
	}
	for i, e := range entries {
		r := relation.Get(e.Relation)
		values, ok := e.values(r)
		if !ok {
			continue
		}
		for j, column := range r.Key {
			of := r.Columns[r.Index(column)].Ref
			if column == "id" {
				of = r.Name
			}
			if n, err := strconv.ParseInt(values[j], 10, 64); err == nil {
				if prod, ok := ids[id{of, n}]; ok {
					values[j] = strconv.FormatInt(prod, 10)
				}
			}
			values[j] = column + "=" + values[j]
		}
		entries[i].Key = strings.Join(values, " ")
	}
	return nil
}

// values splits a key into the values of the relation's key columns. A text can only be the last, so nothing
// in it is taken for another column.
func (e Entry) values(r *relation.Relation) (values []string, ok bool) {
	if r == nil {
		return nil, false
	}
	rest := e.Key
	for i, column := range r.Key {
		if rest, ok = strings.CutPrefix(rest, column+"="); !ok {
			return nil, false
		}
		value := rest
		if i < len(r.Key)-1 {
			if value, rest, ok = strings.Cut(rest, " "); !ok {
				return nil, false
			}
		}
		values = append(values, value)
	}
	return values, true
}

// Keys returns the columns of the key that hold numbers.
func (e Entry) Keys() map[string]int64 {
	keys := map[string]int64{}
	r := relation.Get(e.Relation)
	values, _ := e.values(r)
	for i, v := range values {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && r.Columns[r.Index(r.Key[i])].Type != relation.Text {
			keys[r.Key[i]] = n
		}
	}
	return keys
}

// Text returns a column of the key as text, empty if the key has none of that name.
func (e Entry) Text(column string) string {
	r := relation.Get(e.Relation)
	if values, ok := e.values(r); ok {
		if i := slices.Index(r.Key, column); i >= 0 {
			return values[i]
		}
	}
	return ""
}
