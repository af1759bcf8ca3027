package fullimport

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
)

// object is an index or a constraint that the import drops and makes again.
type object struct {
	ID                    int
	Kind                  kind
	Table                 string // quoted, with its schema
	Name                  string // bare
	Definition            string
	Validated             bool
	Comment, IndexComment *string
	Done                  bool // it is there
}

// kind is what an object is.
type kind string

// The kinds, in the order in which they are made.
const (
	index      kind = "index"
	constraint kind = "constraint" // a primary key or a unique constraint, on an index of its name
	foreign    kind = "foreign"
)

// saveObjects records what is to be dropped: all foreign keys from and to the tables, and the indexes that can be made
// again from their definition alone. An index with something that this lacks (a tablespace, a replica identity, …)
// or on which something depends stays; the copy is slower then.
func saveObjects(ctx context.Context, l *loadtx.Load) error {
	_, err := l.Tx.Exec(ctx, `WITH t AS (SELECT DISTINCT unnest($1::text[])::regclass AS oid),
		x AS (SELECT i.indexrelid, i.indrelid, c.relname AS name, k.oid AS con, k.contype, k.condeferrable, k.condeferred
			FROM pg_index i JOIN t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
				LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
			WHERE i.indisvalid AND i.indislive AND NOT i.indisclustered AND NOT i.indisreplident AND c.reltablespace = 0 AND k.contype IS DISTINCT FROM 'x'
				AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0)
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid AND d.deptype = 'n')
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.deptype IN ('e', 'x'))
				AND NOT EXISTS (SELECT FROM pg_depend d LEFT JOIN pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid AND f.contype = 'f'
					WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indexrelid AND d.deptype = 'n' AND f.oid IS NULL)),
		o AS (SELECT 1 AS turn, 'index' AS kind, indrelid AS rel, name, pg_get_indexdef(indexrelid) AS def, true AS validated,
				NULL::text AS comment, obj_description(indexrelid, 'pg_class') AS index_comment FROM x
			UNION ALL SELECT 2, 'constraint', indrelid, name, CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END || ' USING INDEX ' || quote_ident(name)
				|| CASE WHEN condeferrable THEN ' DEFERRABLE' ELSE '' END || CASE WHEN condeferred THEN ' INITIALLY DEFERRED' ELSE '' END, true,
				obj_description(con, 'pg_constraint'), NULL FROM x WHERE con IS NOT NULL
			UNION ALL SELECT 3, 'foreign', conrelid, conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint'), NULL
				FROM pg_constraint WHERE contype = 'f' AND (conrelid IN (SELECT oid FROM t) OR confrelid IN (SELECT oid FROM t)))
		INSERT INTO kojisnap.import_object (id, kind, tab, name, definition, validated, comment, index_comment, done)
		SELECT row_number() OVER (ORDER BY o.turn, o.rel::regclass::text, o.name), o.kind, format('%I.%I', n.nspname, c.relname), o.name, o.def, o.validated, o.comment, o.index_comment, true
			FROM o JOIN pg_class c ON c.oid = o.rel JOIN pg_namespace n ON n.oid = c.relnamespace`, tables(l))
	return err
}

// readObjects returns the recorded objects, in the order in which they are made.
func readObjects(ctx context.Context, tx pgx.Tx) ([]object, error) {
	rows, err := tx.Query(ctx, "SELECT id, kind, tab, name, definition, validated, comment, index_comment, done FROM kojisnap.import_object ORDER BY id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o object, err error) {
		err = row.Scan(&o.ID, &o.Kind, &o.Table, &o.Name, &o.Definition, &o.Validated, &o.Comment, &o.IndexComment, &o.Done)
		return o, err
	})
}

// dropObjects drops the recorded objects, whichever are there: a session that was broken off may have made one since
// this transaction began to look.
func dropObjects(ctx context.Context, tx pgx.Tx) error {
	all, err := readObjects(ctx, tx)
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- { // constraints before their indexes
		o := all[i]
		sql := sqltext.Expand("ALTER TABLE {t} DROP CONSTRAINT IF EXISTS {n}", "t", o.Table, "n", sqltext.QuoteIdent(o.Name))
		if o.Kind == index {
			sql = "DROP INDEX IF EXISTS " + o.indexName()
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("drop %s %q of %s: %w", o.Kind, o.Name, o.Table, err)
		}
	}
	_, err = tx.Exec(ctx, "UPDATE kojisnap.import_object SET done = false; UPDATE kojisnap.import SET dropped = true")
	return err
}

// indexName is the index's name with the schema of its table.
func (o *object) indexName() string {
	return o.Table[:strings.LastIndexByte(o.Table, '.')] + "." + sqltext.QuoteIdent(o.Name)
}

// make makes an object again. A foreign key is not validated by that.
func (o *object) make(ctx context.Context, tx pgx.Tx) error {
	sql := o.Definition
	if o.Kind != index {
		sql = sqltext.Expand("ALTER TABLE {t} ADD CONSTRAINT {n} ", "t", o.Table, "n", sqltext.QuoteIdent(o.Name)) + o.Definition
	}
	if o.Kind == foreign && o.Validated {
		sql += " NOT VALID"
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return err
	}
	if o.Comment != nil {
		if _, err := tx.Exec(ctx, sqltext.Expand("COMMENT ON CONSTRAINT {n} ON {t} IS ", "n", sqltext.QuoteIdent(o.Name), "t", o.Table)+sqltext.QuoteLiteral(*o.Comment)); err != nil {
			return err
		}
	}
	if o.IndexComment != nil {
		if _, err := tx.Exec(ctx, "COMMENT ON INDEX "+o.indexName()+" IS "+sqltext.QuoteLiteral(*o.IndexComment)); err != nil {
			return err
		}
	}
	if o.Kind == foreign && o.Validated {
		return nil
	}
	return o.record(ctx, tx)
}

// validate validates a foreign key.
func (o *object) validate(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, sqltext.Expand("ALTER TABLE {t} VALIDATE CONSTRAINT {n}", "t", o.Table, "n", sqltext.QuoteIdent(o.Name))); err != nil {
		return err
	}
	return o.record(ctx, tx)
}

// record says that an object is there.
func (o *object) record(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "UPDATE kojisnap.import_object SET done = true WHERE id = $1", o.ID)
	return err
}
