package fullimport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/retry"
)

// Run copies the relations that are not in yet, and makes indexes and foreign keys again. It works in sessions of its
// own. What it has done stays, if it ends with an error.
func (im *Import) Run(ctx context.Context) error {
	err := im.run(ctx)
	if dbconn.SQLState(err) == "53100" {
		return fmt.Errorf("%w: make room on the database server; then kojisnap load --snapshot %s goes on with what is left", err, im.snap.ID)
	}
	err = dbconn.Classify(err)
	if errors.As(err, new(*retry.TemporaryError)) {
		return fmt.Errorf("the database was lost (its server's log says why): %w; when it answers again, kojisnap load --snapshot %s goes on with what is left", err, im.snap.ID)
	}
	return err
}

func (im *Import) run(ctx context.Context) error {
	if err := im.readAgain(ctx); err != nil {
		return err
	}
	show := progress.OrDiscard(im.Progress)
	var rows, objects int64
	for _, r := range im.relations {
		if _, in := im.copied[r.Name]; !in {
			rows += im.snap.Relation(r.Name).Rows
		}
	}
	for _, o := range im.objects {
		if !o.Done || !im.dropped {
			objects++
		}
	}
	copying := show.Begin("copy", rows)
	defer copying.End()
	making := show.Begin("index", objects)
	defer making.End()
	p := &plan{im: im, read: copying.Add, made: func() { making.Add(1) }, planned: map[int]bool{}}
	sessions := im.Sessions
	if sessions < 1 {
		sessions = DefaultSessions
	}
	return schedule(ctx, p.tasks(), sessions, im.connect)
}

// readAgain reads how far the import is, now that no other session works on it.
func (im *Import) readAgain(ctx context.Context) error {
	conn, err := im.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return im.step(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT dropped FROM kojisnap.import").Scan(&im.dropped); err != nil {
			return err
		}
		return im.read(ctx, tx)
	})
}

// plan makes the tasks of an import. What is done already makes none.
type plan struct {
	im   *Import
	read func(int64)
	made func()
	all  []*task

	planned map[int]bool // indexes, by their number
}

// add appends a task.
func (p *plan) add(size int64, needs []*task, run func(ctx context.Context, conn *pgx.Conn) error) *task {
	t := &task{size: size, needs: needs, run: run}
	p.all = append(p.all, t)
	return t
}

func (p *plan) tasks() []*task {
	im := p.im
	var first []*task
	if !im.dropped {
		for i := range im.objects {
			im.objects[i].Done = false
		}
		first = append(first, p.add(0, nil, func(ctx context.Context, conn *pgx.Conn) error {
			im.Log.InfoContext(ctx, "full import: indexes and foreign keys go until the rows are in", "number", len(im.objects))
			return im.step(ctx, conn, func(tx pgx.Tx) error { return dropObjects(ctx, tx) })
		}))
	}
	var indexed, hashed []*task    // all that foreign keys need; what kojisnap keeps of rows
	looked := map[string][]*task{} // by table: when the planner knows it
	for _, r := range im.relations {
		size := p.size(r)
		in := slices.Clone(first)
		if _, there := im.copied[r.Name]; !there {
			in = []*task{p.add(size, first, func(ctx context.Context, conn *pgx.Conn) error { return im.copyTable(ctx, conn, r, p.read) })}
		}
		tables := map[string][]*task{im.table[r]: in}
		if keeps(r) {
			kept := in
			if !im.kept[r.Name] {
				kept = []*task{p.add(size, in, func(ctx context.Context, conn *pgx.Conn) error { return im.keep(ctx, conn, r) })}
			}
			indexed, hashed = append(indexed, kept...), append(hashed, kept...)
			if kojidb.Keyed(r) {
				tables[book.PlacedKeys(r)] = kept
			}
		}
		if r.Name == "build" {
			tables[placedVolume] = in
		}
		for name, needs := range tables {
			made := p.indexes(name, size, needs)
			looked[name] = []*task{p.add(size, made, func(ctx context.Context, conn *pgx.Conn) error { return im.analyze(ctx, conn, name) })}
			indexed = append(indexed, made...)
		}
	}
	// The table of a relation that the snapshot does not have.
	for i := range im.objects {
		if o := &im.objects[i]; o.Kind == index && !o.Done && !p.planned[o.ID] {
			indexed = append(indexed, p.add(0, first, func(ctx context.Context, conn *pgx.Conn) error { return im.make(ctx, conn, o, p.made) }))
		}
	}
	p.add(0, hashed, func(ctx context.Context, conn *pgx.Conn) error { return im.analyze(ctx, conn, "kojisnap.placed") })
	p.foreign(indexed, looked)
	return p.all
}

// analyze tells the planner what a table has.
func (im *Import) analyze(ctx context.Context, conn *pgx.Conn, table string) error {
	return im.step(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "ANALYZE "+table)
		return err
	})
}

// size is the number of bytes of a relation's rows.
func (p *plan) size(r *relation.Relation) (n int64) {
	for _, s := range p.im.snap.Relation(r.Name).Segments {
		n += s.Bytes
	}
	return n
}

// indexes adds the tasks that make a table's indexes. It returns what has to be done before they are all there.
func (p *plan) indexes(table string, size int64, needs []*task) []*task {
	out := slices.Clone(needs)
	for i := range p.im.objects {
		o := &p.im.objects[i]
		if o.Kind == index && !o.Done && sameTable(o.Table, table) {
			p.planned[o.ID] = true
			out = append(out, p.add(size, needs, func(ctx context.Context, conn *pgx.Conn) error { return p.im.make(ctx, conn, o, p.made) }))
		}
	}
	return out
}

// sameTable compares two quoted names, which may be quoted where they need not be.
func sameTable(a, b string) bool {
	return strings.ReplaceAll(a, `"`, "") == strings.ReplaceAll(b, `"`, "")
}

// foreign adds the tasks that add all constraints, which takes a moment as none looks at rows, and those that validate
// the foreign keys of a table each.
func (p *plan) foreign(indexed []*task, looked map[string][]*task) {
	im := p.im
	added := p.add(1<<62, indexed, func(ctx context.Context, conn *pgx.Conn) error { return im.addConstraints(ctx, conn, p.made) })
	of := map[string][]*object{}
	var order []string
	for i := range im.objects {
		if o := &im.objects[i]; o.Kind == foreign && o.Validated && !o.Done {
			if of[o.Table] == nil {
				order = append(order, o.Table)
			}
			of[o.Table] = append(of[o.Table], o)
		}
	}
	for _, table := range order {
		needs, size := []*task{added}, int64(0)
		for name, tasks := range looked {
			if sameTable(name, table) {
				needs, size = append(needs, tasks...), tasks[0].size
			}
		}
		p.add(size, needs, func(ctx context.Context, conn *pgx.Conn) error {
			for _, o := range of[table] {
				if err := im.validate(ctx, conn, o); err != nil {
					return err
				}
				p.made()
			}
			return nil
		})
	}
}

// make makes an index.
func (im *Import) make(ctx context.Context, conn *pgx.Conn, o *object, made func()) error {
	err := im.step(ctx, conn, func(tx pgx.Tx) error { return o.make(ctx, tx) })
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "23505":
		return fmt.Errorf("index %q of %s: two rows of the snapshot are the same: %s (SQLSTATE %s); %s", o.Name, o.Table, pg.Detail, pg.Code, im.cure())
	case err != nil:
		return fmt.Errorf("index %q of %s: %w", o.Name, o.Table, err)
	}
	made()
	return nil
}

// addConstraints adds the constraints that are not there, in one transaction. Foreign keys are not validated by that.
func (im *Import) addConstraints(ctx context.Context, conn *pgx.Conn, made func()) error {
	n := 0
	err := im.step(ctx, conn, func(tx pgx.Tx) error {
		n = 0
		for i := range im.objects {
			o := &im.objects[i]
			if o.Kind == index || o.Done {
				continue
			}
			var there bool
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1::text::regclass AND conname = $2)", o.Table, o.Name).Scan(&there); err != nil {
				return err
			}
			if there {
				continue
			}
			if err := o.make(ctx, tx); err != nil {
				return fmt.Errorf("constraint %q of %s: %w", o.Name, o.Table, err)
			}
			if o.Kind == constraint || !o.Validated {
				n++
			}
		}
		return nil
	})
	for range n {
		made()
	}
	return err
}

// validate validates a foreign key.
func (im *Import) validate(ctx context.Context, conn *pgx.Conn, o *object) error {
	err := im.step(ctx, conn, func(tx pgx.Tx) error { return o.validate(ctx, tx) })
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "23503":
		return fmt.Errorf("foreign key %q of %s: %s: %s (SQLSTATE %s); %s", o.Name, o.Table, im.dangling(ctx, conn, o), pg.Detail, pg.Code, im.cure())
	case err != nil:
		return fmt.Errorf("foreign key %q of %s: %w", o.Name, o.Table, err)
	}
	return nil
}

// dangling names a row that a foreign key refuses.
func (im *Import) dangling(ctx context.Context, conn *pgx.Conn, o *object) string {
	const some = "some row"
	var r *relation.Relation
	for _, x := range im.relations {
		if sameTable(im.table[x], o.Table) {
			r = x
		}
	}
	if r == nil {
		return some
	}
	said := some
	err := dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		var to, joined, given string
		if err := tx.QueryRow(ctx, `SELECT confrelid::regclass::text, string_agg(format('p.%I = s.%I', f.attname, a.attname), ' AND '), string_agg(format('s.%I IS NOT NULL', a.attname), ' AND ')
			FROM pg_constraint k, unnest(k.conkey, k.confkey) AS z(child, parent) JOIN pg_attribute a ON a.attnum = z.child JOIN pg_attribute f ON f.attnum = z.parent
			WHERE k.conrelid = $1::text::regclass AND k.conname = $2 AND a.attrelid = k.conrelid AND f.attrelid = k.confrelid GROUP BY 1`, o.Table, o.Name).Scan(&to, &joined, &given); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sqltext.Expand("SELECT {text} FROM {t} s WHERE {given} AND NOT EXISTS (SELECT FROM {to} p WHERE {joined}) LIMIT 1",
			"text", sqltext.KeyText("s", r.Key), "t", o.Table, "given", given, "to", to, "joined", joined)).Scan(&said)
	})
	if err != nil {
		return some
	}
	return "row " + said
}
