package kojidb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/sqltext"
)

// IDColumn is a column whose values come from a sequence, with one such sequence.
type IDColumn struct {
	Table, Column string // bare
	sequence      string // quoted, qualified; empty if the default does not depend on one
	Next          string // the expression that gives the next value
}

// IDColumns finds what gives out the ids of Koji's tables: the sequence that a column's default uses, whether
// the column owns it or not (a clone of a database may have lost that); that of an identity; that which a
// column owns; and TABLE_id_seq, from which Koji's hub takes ids by that name.
func IDColumns(ctx context.Context, db dbconn.Querier) ([]IDColumn, error) {
	rows, err := db.Query(ctx, `
		WITH col AS (
			SELECT c.oid, c.relname, c.relnamespace, a.attname, a.attnum, a.attidentity, d.oid AS def
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
					AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
				LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'rpminfo'::regclass)),
		uses AS (SELECT p.objid AS def, p.refobjid AS seq FROM pg_depend p JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
			WHERE p.classid = 'pg_attrdef'::regclass AND p.refclassid = 'pg_class'::regclass),
		gives AS (
			SELECT col.*, u.seq FROM col JOIN uses u ON u.def = col.def
			UNION SELECT col.*, p.objid FROM col JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
				AND p.refobjid = col.oid AND p.refobjsubid = col.attnum AND p.deptype IN ('a', 'i')
			UNION SELECT col.*, s.oid FROM col JOIN pg_class s ON s.relnamespace = col.relnamespace AND s.relname = col.relname || '_id_seq' WHERE col.attname = 'id')
		SELECT x.relname, x.attname, x.seq, CASE WHEN x.attidentity = '' THEN coalesce(pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END
		FROM (SELECT g.relname, g.attname, s.oid::regclass::text AS seq, g.attidentity, g.def FROM gives g JOIN pg_class s ON s.oid = g.seq AND s.relkind = 'S'
			UNION SELECT relname, attname, '', attidentity, def FROM col WHERE attname = 'id' AND def IS NOT NULL AND attidentity = '' AND def NOT IN (SELECT def FROM uses)) x
			LEFT JOIN pg_attrdef d ON d.oid = x.def
		ORDER BY 1, 2, 3 DESC`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c IDColumn, err error) {
		if err = row.Scan(&c.Table, &c.Column, &c.sequence, &c.Next); err == nil && c.Next == "" {
			c.Next = c.sequenceNext()
		}
		return c, err
	})
}

// RaiseSequences makes every sequence give ids at or above the floor, and above those that its table has. It
// never lowers one. As a proof it takes the last id before them.
func RaiseSequences(ctx context.Context, tx pgx.Tx, floor int64) error {
	all, err := IDColumns(ctx, tx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.sequence == "" {
			continue
		}
		if _, err := tx.Exec(ctx, sqltext.Expand(`SELECT setval({lit}::regclass, greatest({floor} - 1, (SELECT last_value + is_called::integer FROM {s}),
			(SELECT coalesce(max({c}), 0) FROM {t})), false)`,
			"lit", sqltext.QuoteLiteral(c.sequence), "s", c.sequence, "floor", sqltext.Int(floor), "c", sqltext.QuoteIdent(c.Column), "t", sqltext.QuoteIdent(c.Table))); err != nil {
			return fmt.Errorf("sequence %s: %w", c.sequence, err)
		}
	}
	proven := map[string]bool{}
	for _, c := range all {
		for _, next := range []string{c.Next, c.sequenceNext()} {
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

func (c *IDColumn) sequenceNext() string {
	if c.sequence == "" {
		return ""
	}
	return "nextval(" + sqltext.QuoteLiteral(c.sequence) + "::regclass)"
}

// prove takes an id, and returns an error if it is below the lowest.
func (c *IDColumn) prove(ctx context.Context, db dbconn.Querier, next string, lowest int64) error {
	var id int64
	if err := db.QueryRow(ctx, "SELECT ("+next+")::bigint").Scan(&id); err != nil {
		return fmt.Errorf("take an id for %s.%s: %w", c.Table, c.Column, err)
	}
	if id < lowest {
		return fmt.Errorf("%s.%s gets the id %d from %s, below the floor: let its default take ids of a sequence", c.Table, c.Column, id, next)
	}
	return nil
}

// CheckSequences refuses a database whose sequences would give ids of production's. Tables that came with an
// upgrade after init may begin at 1: no snapshot has their rows. Where a default names no sequence, it takes
// an id, if the transaction may write.
func CheckSequences(ctx context.Context, db dbconn.Querier, all []IDColumn, floor int64) error {
	var readOnly bool
	if err := db.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil {
		return err
	}
	known := append(RelationNames(), OtherTables...)
	var reads []string
	for i, c := range all {
		switch {
		case !slices.Contains(known, c.Table):
		case c.sequence != "":
			reads = append(reads, fmt.Sprintf("SELECT %d, last_value + is_called::integer FROM %s", i, c.sequence))
		case !readOnly:
			if err := c.prove(ctx, db, c.Next, floor); err != nil {
				return err
			}
		}
	}
	if len(reads) == 0 {
		return nil
	}
	rows, err := db.Query(ctx, strings.Join(reads, " UNION ALL ")+" ORDER BY 1")
	if err != nil {
		return err
	}
	var i int
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&i, &next}, func() error {
		if c := all[i]; next < floor {
			return fmt.Errorf("sequence %s would give %d to %s.%s, below the floor %d: someone set it back, or made it since; set it to the floor or above", c.sequence, next, c.Table, c.Column, floor)
		}
		return nil
	})
	return err
}
