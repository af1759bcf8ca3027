package setup

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// low returns the relations that have rows below the floor which are no seeds.
func (i *initer) low(ctx context.Context) (out []*relation.Relation, err error) {
	var has []string
	for _, r := range relation.All() {
		if r.Columns[0].Name == "id" {
			has = append(has, sqltext.Expand("SELECT {r} WHERE EXISTS (SELECT FROM {t} WHERE "+below+")",
				"t", sqltext.QuoteIdent(r.Name), "floor", sqltext.Int(i.opt.Floor), "r", sqltext.QuoteLiteral(r.Name)))
		}
	}
	rows, err := i.tx.Query(ctx, strings.Join(has, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, r := range relation.All() {
		if slices.Contains(names, r.Name) {
			out = append(out, r)
		}
	}
	return out, err
}

// below is the condition of the rows that are to be moved.
const below = "id < {floor} AND id NOT IN (SELECT id FROM kojisnap.seed WHERE relation = {r})"

// move gives the rows of a relation that are below the floor and no seeds new ids above it. Koji's foreign
// keys are checked at once, so the old row is renamed, a copy with the new id is inserted, every reference is
// changed, and the old row is deleted.
func (i *initer) move(ctx context.Context, r *relation.Relation) error {
	table, named := sqltext.QuoteIdent(r.Name), r.Named()
	name := "''"
	if named {
		name = "name"
	}
	if _, err := i.tx.Exec(ctx, sqltext.Expand(`
		CREATE TEMP TABLE IF NOT EXISTS ks_move (old_id integer PRIMARY KEY, new_id integer NOT NULL, name text) ON COMMIT DROP;
		DELETE FROM ks_move;
		INSERT INTO ks_move
		SELECT id, (SELECT greatest(max(id), {floor} - 1) FROM {t}) + row_number() OVER (ORDER BY id), {name}
		FROM {t} WHERE `+below,
		"t", table, "floor", sqltext.Int(i.opt.Floor), "name", name, "r", sqltext.QuoteLiteral(r.Name))); err != nil {
		return err
	}
	rows, err := i.tx.Query(ctx, "SELECT old_id, new_id, name FROM ks_move ORDER BY old_id")
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
		if _, err := i.tx.Exec(ctx, sqltext.Expand("UPDATE {t} SET name = 'kojisnap-moving-' || id WHERE id IN (SELECT old_id FROM ks_move)", "t", table)); err != nil {
			return err
		}
	}
	var into, from []string
	for _, c := range i.schema.Tables[r.Name] {
		into = append(into, sqltext.QuoteIdent(c.Name))
		switch {
		case c.Name == "id":
			from = append(from, "m.new_id")
		case named && c.Name == "name":
			from = append(from, "m.name")
		default:
			from = append(from, "t."+sqltext.QuoteIdent(c.Name))
		}
	}
	if _, err := i.tx.Exec(ctx, sqltext.Expand("INSERT INTO {t} ({into}) OVERRIDING SYSTEM VALUE SELECT {from} FROM {t} t JOIN ks_move m ON m.old_id = t.id",
		"t", table, "into", sqltext.Join(into), "from", sqltext.Join(from))); err != nil {
		return err
	}
	keys, err := kojidb.Referencing(ctx, i.tx, r.Name, "id")
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := i.tx.Exec(ctx, sqltext.Expand("UPDATE {c} SET {col} = m.new_id FROM ks_move m WHERE {c}.{col} = m.old_id",
			"c", k.Table, "col", sqltext.QuoteIdent(k.Column))); err != nil {
			return err
		}
	}
	_, err = i.tx.Exec(ctx, sqltext.Expand("DELETE FROM {t} t USING ks_move m WHERE m.old_id = t.id", "t", table))
	return err
}
