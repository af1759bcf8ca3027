package dbsync

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/relation"
)

// checkOverlay looks, before the load's transaction, whether all that the new overlay refers to
// is there: in the database, in the snapshot or in the overlay itself.
func (m *merger) checkOverlay(ctx context.Context, conn *pgx.Conn) error {
	return dbconn.Read(ctx, conn, func(tx pgx.Tx) error {
		m.tx, m.over = tx, m.opt.Overlay
		if err := m.check(ctx); err != nil {
			return err
		}
		o := &overlayer{merger: m}
		for _, table := range []string{"permissions", "content_generator", "channels", "tag"} {
			if err := o.checkNames(ctx, table); err != nil {
				return err
			}
		}
		if err := o.checkPeople(ctx); err != nil {
			return err
		}
		if len(o.faults) > 0 {
			return &overlay.Error{Faults: o.faults}
		}
		return nil
	})
}

func (o *overlayer) checkNames(ctx context.Context, table string) error {
	refs := o.over.References(table)
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.Name
	}
	have, err := o.ids(ctx, table, names)
	if err != nil {
		return err
	}
	made := o.over.Makes(table)
	var missing []overlay.Ref
	for _, r := range refs {
		if _, ok := have[r.Name]; !ok && !made[r.Name] {
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names = names[:0]
	for _, r := range missing {
		names = append(names, r.Name)
	}
	comes, err := o.inSnapshot(ctx, relation.Get(table), names)
	for _, r := range missing {
		if _, ok := comes[r.Name]; !ok && err == nil {
			o.faults = append(o.faults, r.Missing(table))
		}
	}
	return err
}

// inSnapshot finds the snapshot's rows of these names.
func (o *overlayer) inSnapshot(ctx context.Context, r *relation.Relation, names []string) (map[string][]string, error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	found := map[string][]string{}
	rows := o.snap.Rows(ctx, r.Name)
	defer rows.Close()
	var fields [][]byte
	for rows.Next() {
		var err error
		if fields, err = rows.Fields(fields); err != nil {
			return nil, err
		}
		if name := string(fields[r.Index("name")]); wanted[name] {
			row := make([]string, len(fields))
			for i, f := range fields {
				row[i] = string(f)
			}
			found[name] = row
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.Name, err)
	}
	return found, nil
}

// checkPeople looks whether users, hosts and groups are what entries take them for, and
// whether their principals are free.
func (o *overlayer) checkPeople(ctx context.Context) error {
	people := o.over.People()
	if len(people) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(people))
	// The schema kojisnap may be of an earlier format yet.
	have := map[string]int{}
	rows, err := o.tx.Query(ctx, "SELECT name, usertype FROM users WHERE name = ANY($1)", names)
	if err != nil {
		return err
	}
	var name string
	var usertype int
	if _, err := pgx.ForEachRow(rows, []any{&name, &usertype}, func() error { have[name] = usertype; return nil }); err != nil {
		return err
	}
	users := relation.Get("users")
	comes, err := o.inSnapshot(ctx, users, names)
	if err != nil {
		return err
	}
	for _, n := range names {
		p := people[n]
		usertype := p.UserType
		if t, ok := have[n]; ok {
			usertype = t
		} else if row, ok := comes[n]; ok {
			if _, err := fmt.Sscan(row[users.Index("usertype")], &usertype); err != nil {
				return fmt.Errorf("user %q of the snapshot: %w", n, err)
			}
		}
		if usertype != p.UserType {
			o.fault(p.Place, p.Key, "%s", p.OtherType(n, usertype))
		}
	}
	list := o.over.Principals()
	held, err := o.holders(ctx, list)
	for _, p := range list {
		if h, taken := held[p.Name]; taken && !h.ours && h.name != p.User {
			o.faults = append(o.faults, p.Taken(h.name))
		}
	}
	return err
}
