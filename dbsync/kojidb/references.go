package kojidb

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/sqltext"
)

// Reference is a column that holds ids of another table.
type Reference struct {
	Table  string // quoted
	Name   string
	Column string
}

// Referencing returns the columns that foreign keys, simple or composite, bind to a column of a table.
func Referencing(ctx context.Context, db dbconn.Querier, table, column string) ([]Reference, error) {
	rows, err := db.Query(ctx, `
		SELECT c.conrelid::regclass::text, r.relname, a.attname
		FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid,
			unnest(c.conkey, c.confkey) AS k(child, parent)
			JOIN pg_attribute a ON a.attnum = k.child
			JOIN pg_attribute p ON p.attnum = k.parent
		WHERE c.contype = 'f' AND c.confrelid = $1::text::regclass AND a.attrelid = c.conrelid AND p.attrelid = c.confrelid
			AND p.attname = $2
		ORDER BY 1, 3`, sqltext.QuoteIdent(table), column)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k Reference, err error) {
		err = row.Scan(&k.Table, &k.Name, &k.Column)
		return k, err
	})
}
