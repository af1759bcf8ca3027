package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay"
	"kojisnap/kojisnap/relation"
)

// checker finds references of an overlay to rows that are not there.
type checker struct {
	*loadtx.Load
	over   *overlay.Overlay
	faults []error
}

// Check finds out, before the load's transaction, whether all rows that an overlay refers to are there: in the
// database, in the snapshot or in the overlay itself. If not, it returns an *overlay.Error.
func Check(ctx context.Context, l *loadtx.Load, over *overlay.Overlay) error {
	c := &checker{Load: l, over: over}
	for _, table := range []string{"permissions", "content_generator", "channels", "tag"} {
		if err := c.checkNames(ctx, table); err != nil {
			return err
		}
	}
	if err := c.checkPeople(ctx); err != nil {
		return err
	}
	if len(c.faults) > 0 {
		return &overlay.Error{Faults: c.faults}
	}
	return nil
}

// checkNames checks the names of one table that entries refer to.
func (c *checker) checkNames(ctx context.Context, table string) error {
	refs := c.over.References(table)
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.Name
	}
	have, err := idsNamed(ctx, c.Tx, table, names)
	if err != nil {
		return err
	}
	made := c.over.Makes(table)
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
	comes, err := c.inSnapshot(ctx, relation.Get(table), names)
	for _, r := range missing {
		if _, ok := comes[r.Name]; !ok && err == nil {
			c.faults = append(c.faults, r.Missing(table))
		}
	}
	return err
}

// inSnapshot returns the snapshot's rows that have one of the names.
func (c *checker) inSnapshot(ctx context.Context, r *relation.Relation, names []string) (map[string][]string, error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	found := map[string][]string{}
	rows := c.Snap.Rows(ctx, r.Name)
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

// checkPeople checks that users, hosts and groups have the type that entries take them for, and that nobody
// else has their principals.
func (c *checker) checkPeople(ctx context.Context) error {
	people := c.over.People()
	if len(people) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(people))
	// The schema kojisnap may be of an earlier format yet.
	have := map[string]int{}
	rows, err := c.Tx.Query(ctx, "SELECT name, usertype FROM users WHERE name = ANY($1)", names)
	if err != nil {
		return err
	}
	var name string
	var usertype int
	if _, err := pgx.ForEachRow(rows, []any{&name, &usertype}, func() error { have[name] = usertype; return nil }); err != nil {
		return err
	}
	users := relation.Get("users")
	comes, err := c.inSnapshot(ctx, users, names)
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
			c.faults = append(c.faults, faultAt(p.Place, p.Key, "%s", p.OtherType(n, usertype)))
		}
	}
	list := c.over.Principals()
	held, err := holders(ctx, c.Tx, list)
	for _, p := range list {
		if h, taken := held[p.Name]; taken && !h.ours && h.name != p.User {
			c.faults = append(c.faults, p.Taken(h.name))
		}
	}
	return err
}
