package dbsync

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// cascade deletes rows of staging's and all rows that refer to them by foreign keys. ids is a query for their
// ids. Only Replace asks for it.
func (a *attempt) cascade(ctx context.Context, table, ids string) (int64, error) {
	rows, err := a.Tx.Query(ctx, ids)
	if err != nil {
		return 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return a.deleteRows(ctx, table, "id", list)
}

// deleteRows deletes the rows whose column holds one of the ids, children first. The children of a row without
// an id of its own refer to the same column that the row does.
func (a *attempt) deleteRows(ctx context.Context, table, column string, ids []int32) (int64, error) {
	own, key := ids, column
	if _, ok := a.Schema.Column(table, "id"); ok {
		rows, err := a.Tx.Query(ctx, sqltext.Expand("SELECT id FROM {t} WHERE {c} = ANY($1)", "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids)
		if err != nil {
			return 0, err
		}
		key = "id"
		if own, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil || len(own) == 0 {
			return 0, err
		}
	}
	keys, err := kojidb.Referencing(ctx, a.Tx, table, key)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		if _, err := a.deleteRows(ctx, k.Name, k.Column, own); err != nil {
			return 0, err
		}
	}
	if table == "tag_listing" {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("INSERT INTO ks_touched_tag SELECT tag_id FROM tag_listing WHERE {c} = ANY($1)", "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	r := relation.Get(table)
	if r != nil && kojidb.BuildOf(r, "x") != "" {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("INSERT INTO ks_touched_build SELECT DISTINCT {build} FROM {t} x WHERE {c} = ANY($1)", "build", kojidb.BuildOf(r, "x"), "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	if r != nil && kojidb.Keyed(r) {
		if _, err := a.Tx.Exec(ctx, sqltext.Expand("DELETE FROM {p} WHERE {c} = ANY($1)", "p", book.PlacedKeys(r), "c", sqltext.QuoteIdent(column)), ids); err != nil {
			return 0, err
		}
	}
	tag, err := a.Tx.Exec(ctx, sqltext.Expand("DELETE FROM {t} WHERE {c} = ANY($1)", "t", sqltext.QuoteIdent(table), "c", sqltext.QuoteIdent(column)), ids)
	a.Counts.Of(table).Deleted += tag.RowsAffected()
	return tag.RowsAffected(), err
}
