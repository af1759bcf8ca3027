package dbsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// checkSurroundings refuses a database in which rows would be hidden from a load, and finds the
// published tables whose rows PostgreSQL does not let anyone change or delete.
func (m *merger) checkSurroundings(ctx context.Context) error {
	rows, err := m.tx.Query(ctx, `SELECT c.relname, row_security_active(c.oid),
			c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p')`,
		pgx.QueryExecModeExec, m.schema.namespace, append(relationNames(), others...))
	if err != nil {
		return err
	}
	m.unnamed = map[string]bool{}
	var hidden []string
	var table string
	var secured, unnamed bool
	_, err = pgx.ForEachRow(rows, []any{&table, &secured, &unnamed}, func() error {
		if secured {
			hidden = append(hidden, table)
		}
		m.unnamed[table] = unnamed
		return nil
	})
	if err == nil && len(hidden) > 0 {
		err = fmt.Errorf("row level security hides rows of %s from this role: ALTER ROLE … BYPASSRLS, or let the tables' owner load without FORCE ROW LEVEL SECURITY", strings.Join(hidden, ", "))
	}
	return err
}

// some reports whether a change or deletion of rows of a relation, of which from gives the rows, has
// anything to do, where asking matters: on a published table without a replica identity PostgreSQL
// refuses the statement itself.
func (m *merger) some(ctx context.Context, r *relation.Relation, from string, pairs ...string) (bool, error) {
	if !m.unnamed[r.Name] {
		return true, nil
	}
	var some bool
	err := m.tx.QueryRow(ctx, m.x(r, "SELECT EXISTS (SELECT FROM "+from+")", pairs...), pgx.QueryExecModeExec).Scan(&some)
	return some, err
}
