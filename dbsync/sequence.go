package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// idColumn is a column of Koji's whose values a sequence gives, with one such sequence.
type idColumn struct {
	table, column string // bare
	sequence      string // quoted, qualified; empty if only the default's own words tell
	next          string // the expression that gives the next value
}

// idColumns finds what gives out the ids of Koji's tables. That is what a column's default uses, whether
// the column owns it or not (a clone of a database may have lost that), what an identity uses, what
// a column owns, and TABLE_id_seq, which Koji's hub takes ids from by that name.
func idColumns(ctx context.Context, db querier) ([]idColumn, error) {
	rows, err := db.Query(ctx, `
		WITH col AS (
			SELECT c.oid, c.relname, c.relnamespace, a.attname, a.attnum, a.attidentity, d.oid AS def, pg_get_expr(d.adbin, d.adrelid) AS expr
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
					AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
				LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'rpminfo'::regclass)),
		gives AS (
			SELECT col.*, p.refobjid AS seq FROM col JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = col.def AND p.refclassid = 'pg_class'::regclass
			UNION SELECT col.*, p.objid FROM col JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
				AND p.refobjid = col.oid AND p.refobjsubid = col.attnum AND p.deptype IN ('a', 'i')
			UNION SELECT col.*, s.oid FROM col JOIN pg_class s ON s.relnamespace = col.relnamespace AND s.relname = col.relname || '_id_seq' WHERE col.attname = 'id')
		SELECT g.relname, g.attname, s.oid::regclass::text, CASE WHEN attidentity = '' THEN coalesce(expr, '') ELSE '' END
			FROM gives g JOIN pg_class s ON s.oid = g.seq AND s.relkind = 'S'
		UNION SELECT relname, attname, '', expr FROM col WHERE attname = 'id' AND expr IS NOT NULL AND attidentity = ''
			AND NOT EXISTS (SELECT FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
				WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = col.def AND p.refclassid = 'pg_class'::regclass)
		ORDER BY 1, 2, 3 DESC`, pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c idColumn, err error) {
		if err = row.Scan(&c.table, &c.column, &c.sequence, &c.next); err == nil && c.next == "" {
			c.next = c.sequenceNext()
		}
		return c, err
	})
}

// raiseSequences makes every sequence give ids at or above the floor, and above those that
// its table has there. It never lowers one. That it does is proven by taking an id, the last one before them.
func raiseSequences(ctx context.Context, tx pgx.Tx, floor int64) error {
	all, err := idColumns(ctx, tx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.sequence == "" {
			continue
		}
		if _, err := tx.Exec(ctx, expand(`SELECT setval({lit}::regclass, greatest({floor} - 1, (SELECT last_value + is_called::integer FROM {s}),
			(SELECT coalesce(max({c}), 0) FROM {t})), false)`,
			"lit", lit(c.sequence), "s", c.sequence, "floor", itoa(floor), "c", q(c.column), "t", q(c.table))); err != nil {
			return fmt.Errorf("sequence %s: %w", c.sequence, err)
		}
	}
	proven := map[string]bool{}
	for _, c := range all {
		for _, next := range []string{c.next, c.sequenceNext()} {
			if next == "" || proven[next] {
				continue
			}
			proven[next] = true
			if err := c.prove(ctx, tx, next, floor-1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *idColumn) sequenceNext() string {
	if c.sequence == "" {
		return ""
	}
	return "nextval(" + lit(c.sequence) + "::regclass)"
}

// prove takes an id, which must not be below the lowest.
func (c *idColumn) prove(ctx context.Context, db querier, next string, lowest int64) error {
	var id int64
	if err := db.QueryRow(ctx, "SELECT ("+next+")::bigint", pgx.QueryExecModeExec).Scan(&id); err != nil {
		return fmt.Errorf("take an id for %s.%s: %w", c.table, c.column, err)
	}
	if id < lowest {
		return fmt.Errorf("%s.%s gets the id %d from %s, below the floor: let its default take ids of a sequence", c.table, c.column, id, next)
	}
	return nil
}

// checkSequences refuses a database whose sequences would give ids of production's. Those of
// tables that came with an upgrade after init begin at 1, and may: no snapshot has such rows.
// A default that names no sequence is asked for an id, if the transaction may write.
func checkSequences(ctx context.Context, db querier, all []idColumn, floor int64) error {
	var readOnly bool
	if err := db.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean", pgx.QueryExecModeExec).Scan(&readOnly); err != nil {
		return err
	}
	known := append(relationNames(), others...)
	for _, c := range all {
		if !slices.Contains(known, c.table) {
			continue
		}
		if c.sequence == "" {
			if !readOnly {
				if err := c.prove(ctx, db, c.next, floor); err != nil {
					return err
				}
			}
			continue
		}
		var next int64
		if err := db.QueryRow(ctx, "SELECT last_value + is_called::integer FROM "+c.sequence, pgx.QueryExecModeExec).Scan(&next); err != nil {
			return err
		}
		if next < floor {
			return fmt.Errorf("sequence %s would give %d to %s.%s, below the floor %d: someone set it back, or made it since; set it to the floor or above", c.sequence, next, c.table, c.column, floor)
		}
	}
	return nil
}

// nextID is the expression that gives a new id of a relation.
func (m *merger) nextID(r *relation.Relation) (string, error) {
	for _, c := range m.idColumns {
		if c.table == r.Name && c.column == "id" {
			return c.next, nil
		}
	}
	return "", fmt.Errorf("no sequence gives ids of %s", r.Name)
}

func itoa(n int64) string        { return strconv.FormatInt(n, 10) }
func join(parts []string) string { return strings.Join(parts, ", ") }
