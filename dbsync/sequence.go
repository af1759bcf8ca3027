package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sequence is a sequence that a column of Koji's owns.
type sequence struct {
	name   string // quoted, qualified
	table  string // quoted
	owner  string // the table's bare name
	column string
	last   int64 // 0 while it was never used
}

func sequences(ctx context.Context, db querier) ([]sequence, error) {
	rows, err := db.Query(ctx, `
		SELECT d.objid::regclass::text, d.refobjid::regclass::text, t.relname, a.attname, coalesce(pg_sequence_last_value(d.objid), 0)
		FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
			JOIN pg_class t ON t.oid = d.refobjid
			JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
			AND s.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'rpminfo'::regclass)
		ORDER BY 1`, pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s sequence, err error) {
		err = row.Scan(&s.name, &s.table, &s.owner, &s.column, &s.last)
		return s, err
	})
}

// raiseSequences makes every sequence give ids at or above the floor, and above those that
// its table has there. It never lowers one.
func raiseSequences(ctx context.Context, tx pgx.Tx, floor int64) error {
	all, err := sequences(ctx, tx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if _, err := tx.Exec(ctx, expand(`SELECT setval({s}::regclass, greatest({floor}, {last} + 1,
			(SELECT coalesce(max({c}), 0) + 1 FROM {t})), false)`,
			"s", lit(s.name), "floor", itoa(floor), "last", itoa(s.last), "c", q(s.column), "t", s.table)); err != nil {
			return fmt.Errorf("sequence %s: %w", s.name, err)
		}
	}
	return nil
}

// checkSequences refuses a database whose sequences would give ids of production's. Those of
// tables that came with an upgrade after init begin at 1, and may: no snapshot has such rows.
func checkSequences(ctx context.Context, db querier, floor int64) error {
	all, err := sequences(ctx, db)
	if err != nil {
		return err
	}
	known := append(relationNames(), others...)
	for _, s := range all {
		if !slices.Contains(known, s.owner) {
			continue
		}
		var next int64
		if err := db.QueryRow(ctx, "SELECT last_value + is_called::integer FROM "+s.name, pgx.QueryExecModeExec).Scan(&next); err != nil {
			return err
		}
		if next < floor {
			return fmt.Errorf("sequence %s would give %d, below the floor %d: someone set it back; set it to the floor or above", s.name, next, floor)
		}
	}
	return nil
}

func itoa(n int64) string        { return strconv.FormatInt(n, 10) }
func join(parts []string) string { return strings.Join(parts, ", ") }
