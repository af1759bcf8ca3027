package dbsync

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// move gives the rows of a relation that stand below the floor and are no seeds new ids
// above it. All foreign keys of Koji's are checked at once, so the old row is renamed, a copy
// with the new id inserted, every reference repointed, and the old row deleted.
func (i *initer) move(ctx context.Context, r *relation.Relation) error {
	if r.Columns[0].Name != "id" {
		return nil
	}
	table, named := q(r.Name), r.Named()
	name := "''"
	if named {
		name = "name"
	}
	if _, err := i.tx.Exec(ctx, expand(`
		CREATE TEMP TABLE IF NOT EXISTS ks_move (old_id integer PRIMARY KEY, new_id integer NOT NULL, name text) ON COMMIT DROP;
		DELETE FROM ks_move;
		INSERT INTO ks_move
		SELECT id, (SELECT greatest(max(id), {floor} - 1) FROM {t}) + row_number() OVER (ORDER BY id), {name}
		FROM {t} WHERE id < {floor} AND id NOT IN (SELECT id FROM kojisnap.seed WHERE relation = {r})`,
		"t", table, "floor", itoa(i.opt.Floor), "name", name, "r", lit(r.Name))); err != nil {
		return err
	}
	rows, err := i.tx.Query(ctx, "SELECT old_id, new_id, name FROM ks_move ORDER BY old_id", pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	m := Move{Relation: r.Name}
	moved := 0
	_, err = pgx.ForEachRow(rows, []any{&m.From, &m.To, &m.Name}, func() error {
		i.rep.Moved = append(i.rep.Moved, m)
		moved++
		return nil
	})
	if err != nil || moved == 0 {
		return err
	}
	if named {
		if _, err := i.tx.Exec(ctx, expand("UPDATE {t} SET name = 'kojisnap-moving-' || id WHERE id IN (SELECT old_id FROM ks_move)", "t", table)); err != nil {
			return err
		}
	}
	var into, from []string
	for _, c := range i.schema.tables[r.Name] {
		into = append(into, q(c.name))
		switch {
		case c.name == "id":
			from = append(from, "m.new_id")
		case named && c.name == "name":
			from = append(from, "m.name")
		default:
			from = append(from, "t."+q(c.name))
		}
	}
	if _, err := i.tx.Exec(ctx, expand("INSERT INTO {t} ({into}) OVERRIDING SYSTEM VALUE SELECT {from} FROM {t} t JOIN ks_move m ON m.old_id = t.id",
		"t", table, "into", join(into), "from", join(from))); err != nil {
		return err
	}
	keys, err := referencing(ctx, i.tx, r.Name, "id")
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := i.tx.Exec(ctx, expand("UPDATE {c} SET {col} = m.new_id FROM ks_move m WHERE {c}.{col} = m.old_id",
			"c", k.table, "col", q(k.column))); err != nil {
			return err
		}
	}
	_, err = i.tx.Exec(ctx, expand("DELETE FROM {t} t USING ks_move m WHERE m.old_id = t.id", "t", table))
	return err
}

// reference is a column that holds another table's ids.
type reference struct {
	table  string // quoted
	name   string
	column string
}

// referencing returns the columns that foreign keys, simple and composite, bind to a table's column.
func referencing(ctx context.Context, db querier, table, column string) ([]reference, error) {
	rows, err := db.Query(ctx, `
		SELECT c.conrelid::regclass::text, r.relname, a.attname
		FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid,
			unnest(c.conkey, c.confkey) AS k(child, parent)
			JOIN pg_attribute a ON a.attnum = k.child
			JOIN pg_attribute p ON p.attnum = k.parent
		WHERE c.contype = 'f' AND c.confrelid = $1::text::regclass AND a.attrelid = c.conrelid AND p.attrelid = c.confrelid
			AND p.attname = $2
		ORDER BY 1, 3`, pgx.QueryExecModeExec, q(table), column)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k reference, err error) {
		err = row.Scan(&k.table, &k.name, &k.column)
		return k, err
	})
}
