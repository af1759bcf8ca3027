package dbsync

import (
	"context"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// keyed merges a relation whose rows have neither an id nor an event of their own. The list of
// what was placed tells a row that staging deleted (it stays deleted) from a new one, and a row
// that staging made (it stays as it is) from production's.
func (m *merger) keyed(ctx context.Context, r *relation.Relation) error {
	pairs := []string{"p", book.PlacedKeys(r), "keys", sqltext.Columns("s", r.Key), "pkey", sqltext.Equal("p", "s", r.Key), "keytext", sqltext.KeyText("s", r.Key),
		"array", sqltext.KeyArray("s", r.Key), "cols", sqltext.Columns("", m.Usable(r)), "scols", sqltext.Columns("s", m.Usable(r)), "names", sqltext.Columns("", r.Key)}
	run := func(sql string) (int64, error) { return m.ExecSQL(ctx, r, sql, pairs...) }
	missing := "NOT EXISTS (SELECT FROM {t} t WHERE {key})"
	known := "EXISTS (SELECT FROM {p} p WHERE {pkey})"
	data := sqltext.Without(m.Usable(r), r.Key...)
	c := m.Counts.Of(r.Name)

	// keep notes the rows where staging's decision stands, and puts production's aside.
	keep := func(what, where string) error {
		_, err := run(`WITH s AS (SELECT s.* FROM {s} s WHERE ` + where + `), a AS (INSERT INTO ks_deferred SELECT {r}, {array} FROM s RETURNING 1)
			INSERT INTO ks_kept SELECT {r}, {keytext}, ` + sqltext.QuoteLiteral(what) + ` FROM s`)
		return err
	}
	if err := keep("staging deleted it", missing+" AND "+known); err != nil {
		return err
	}
	if m.Mark.Adopted {
		if _, err := run(`INSERT INTO {p} SELECT {keys} FROM {s} s JOIN {t} t ON {key} WHERE NOT ` + known); err != nil {
			return err
		}
	}
	if len(data) > 0 {
		if err := keep("staging has one of its own", "EXISTS (SELECT FROM {t} t WHERE {key} AND "+sqltext.Differ("t", "s", data)+") AND NOT "+known); err != nil {
			return err
		}
		some, err := m.HasRows(ctx, r, "{t} t JOIN {s} s ON {key} WHERE {differ}", "differ", sqltext.Differ("t", "s", data))
		if err != nil {
			return err
		}
		if some {
			n, err := m.update(ctx, r, data, m.ExpandSQL(r, known, pairs...))
			if err != nil {
				return err
			}
			c.Updated += n
		}
	}
	if err := m.touchInserts(ctx, r, "NOT "+m.ExpandSQL(r, known, pairs...)); err != nil { // what staging deleted does not come
		return err
	}
	n, err := run(`WITH n AS (INSERT INTO {t} ({cols}) SELECT {scols} FROM {s} s WHERE ` + missing + ` AND NOT ` + known + ` RETURNING {names})
		INSERT INTO {p} SELECT * FROM n`)
	c.Inserted += n
	return err
}
