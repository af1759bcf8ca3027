package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/dbsource"
)

// PrivilegeError says which columns of production the role may not read.
type PrivilegeError struct {
	Database, Role string
	Missing        []string // tables, with the columns if not all of those wanted are missing
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("database %q: the role %q may not read %s: run scripts/grants-source.sql there", e.Database, e.Role, strings.Join(e.Missing, ", "))
}

// tables lists the tables of the database, with their columns and whether the role may read these. Only PostgreSQL's
// own catalogue is read.
const tables = `
	SELECT n.nspname, c.relname, CASE WHEN c.reltuples > 0 THEN c.reltuples::bigint ELSE -1 END,
		has_schema_privilege(n.oid, 'USAGE'), n.oid = koji.oid,
		coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '{}'),
		coalesce(array_agg(has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '{}')
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	CROSS JOIN (SELECT c.relnamespace AS oid FROM pg_catalog.pg_class c WHERE c.oid = $1) koji
	LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE (c.relkind IN ('r', 'p', 'f') OR n.oid = koji.oid AND c.relkind IN ('v', 'm')) AND NOT c.relispartition AND c.relpersistence <> 't'
		AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'
	GROUP BY n.oid, n.nspname, c.oid, c.relname, c.reltuples, koji.oid ORDER BY n.oid = koji.oid DESC, n.nspname, c.relname`

// kojis finds the table by which Koji's schema is known. A role's search path may hide it.
const kojis = `
	SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relname = 'rpminfo' AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
	ORDER BY pg_catalog.pg_table_is_visible(c.oid) DESC, n.nspname = 'public' DESC, n.nspname LIMIT 1`

// describe finds out what the database has. It refuses a staging database, and a role that may not read what is
// wanted.
func (s *Source) describe(ctx context.Context, tx pgx.Tx) error {
	var marked bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'kojisnap' AND c.relname = 'mark')`).Scan(&marked)
	if err != nil {
		return err
	}
	if marked {
		return &MarkedError{s.name}
	}
	var koji uint32
	rows, err := tx.Query(ctx, kojis)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("database %q has no table rpminfo: is it a Koji database?", s.name)
	}
	koji = found[0]
	var role string
	if err := tx.QueryRow(ctx, `SELECT current_user`).Scan(&role); err != nil {
		return err
	}
	s.desc = &dbsource.Description{Kind: kind, Columns: map[string][]string{}}
	denied := &PrivilegeError{Database: s.name, Role: role}
	rows, err = tx.Query(ctx, tables, koji)
	if err != nil {
		return err
	}
	var schema, table string
	var estimate int64
	var usage, isKojis bool
	var columns []string
	var readable []bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &estimate, &usage, &isKojis, &columns, &readable}, func() error {
		if !isKojis {
			s.desc.Tables = append(s.desc.Tables, dbsource.Table{Name: schema + "." + table, Class: dbsource.Unknown, Rows: estimate})
			return nil
		}
		s.schema = schema
		s.desc.Tables = append(s.desc.Tables, dbsource.Table{Name: table, Class: dbsource.Classify(table), Rows: estimate})
		wanted := dbsource.WantedColumns(table)
		var have, missing []string
		for i, column := range columns {
			switch {
			case !slices.Contains(wanted, column):
			case usage && readable[i]:
				have = append(have, column)
			default:
				missing = append(missing, column)
			}
		}
		switch {
		case len(missing) > 0 && len(have) == 0:
			denied.Missing = append(denied.Missing, table)
		case len(missing) > 0:
			denied.Missing = append(denied.Missing, fmt.Sprintf("%s (%s)", table, strings.Join(missing, ", ")))
		case len(have) > 0:
			s.desc.Columns[table] = have
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(s.desc.Tables, func(a, b dbsource.Table) int { return strings.Compare(a.Name, b.Name) })
	if len(denied.Missing) > 0 {
		return denied
	}
	return nil
}
