package preflight

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
)

// checkSurroundings refuses a database whose row level security hides rows from the load. It finds the tables
// without a replica identity: if they are published, PostgreSQL refuses to change or delete their rows.
func (db *Database) checkSurroundings(ctx context.Context) error {
	rows, err := db.Tx.Query(ctx, `SELECT c.relname, row_security_active(c.oid),
			c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p')`, db.Schema.Namespace, append(kojidb.RelationNames(), kojidb.OtherTables...))
	if err != nil {
		return err
	}
	db.NoIdentity = map[string]bool{}
	var hidden []string
	var table string
	var secured, unnamed bool
	_, err = pgx.ForEachRow(rows, []any{&table, &secured, &unnamed}, func() error {
		if secured {
			hidden = append(hidden, table)
		}
		db.NoIdentity[table] = unnamed
		return nil
	})
	if err == nil && len(hidden) > 0 {
		err = fmt.Errorf("row level security hides rows of %s from this role: ALTER ROLE … BYPASSRLS, or let the tables' owner load without FORCE ROW LEVEL SECURITY", strings.Join(hidden, ", "))
	}
	return err
}
