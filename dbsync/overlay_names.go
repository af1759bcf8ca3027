package dbsync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// nameRef is a name by which an entry refers to something that must be there.
type nameRef struct {
	source
	key, entry, name string
}

func (r nameRef) missing(table string) error {
	return fmt.Errorf("%s: %s: there is no %s %q", r.at(r.key), r.entry, strings.ReplaceAll(strings.TrimSuffix(table, "s"), "_", " "), r.name)
}

// references are the names of a table's rows that entries refer to.
func (o *Overlay) references(table string) (out []nameRef) {
	add := func(s source, key, entry string, names ...string) {
		for _, n := range names {
			out = append(out, nameRef{s, key, entry, n})
		}
	}
	switch table {
	case "permissions":
		for _, u := range o.Users {
			add(u.source, "permissions", "user "+quoted(u.names()), u.Permissions...)
		}
	case "content_generator":
		for _, u := range o.Users {
			add(u.source, "content_generators", "user "+quoted(u.names()), u.ContentGenerators...)
		}
	case "channels":
		for _, h := range o.Hosts {
			add(h.source, "channels", "host "+quoted(h.names()), h.Channels...)
		}
	case "tag":
		for _, t := range o.Targets {
			add(t.source, "build_tag", fmt.Sprintf("target %q", t.Name), t.BuildTag)
			add(t.source, "dest_tag", fmt.Sprintf("target %q", t.Name), t.DestTag)
		}
		for _, x := range o.TagExtras {
			add(x.source, "tag", fmt.Sprintf("tag_extra %q", x.Key), x.Tag)
		}
	}
	return out
}

// makes are the names in a table that the overlay itself makes.
func (o *Overlay) makes(table string) map[string]bool {
	out := map[string]bool{}
	switch table {
	case "permissions":
		for _, n := range o.Permissions {
			out[n.Name] = true
		}
	case "channels":
		for _, n := range o.Channels {
			out[n.Name] = true
		}
	case "content_generator":
		for _, n := range o.ContentGenerators {
			out[n.Name] = true
		}
	}
	return out
}

// checkOverlay looks, before the load's transaction, whether all that the new overlay refers to
// is there: in the database, in the snapshot or in the overlay itself.
func (m *merger) checkOverlay(ctx context.Context, conn *pgx.Conn) error {
	return reading(ctx, conn, func(tx pgx.Tx) error {
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
			return &OverlayError{Faults: o.faults}
		}
		return nil
	})
}

func (o *overlayer) checkNames(ctx context.Context, table string) error {
	refs := o.over.references(table)
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.name
	}
	have, err := o.ids(ctx, table, names)
	if err != nil {
		return err
	}
	made := o.over.makes(table)
	var missing []nameRef
	for _, r := range refs {
		if _, ok := have[r.name]; !ok && !made[r.name] {
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names = names[:0]
	for _, r := range missing {
		names = append(names, r.name)
	}
	comes, err := o.inSnapshot(ctx, relation.Get(table), names)
	for _, r := range missing {
		if _, ok := comes[r.name]; !ok && err == nil {
			o.faults = append(o.faults, r.missing(table))
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
	people := o.over.people()
	if len(people) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(people))
	// The schema kojisnap may be of an earlier format yet.
	have := map[string]int{}
	rows, err := o.tx.Query(ctx, "SELECT name, usertype FROM users WHERE name = ANY($1)", pgx.QueryExecModeExec, names)
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
		usertype := p.usertype
		if t, ok := have[n]; ok {
			usertype = t
		} else if row, ok := comes[n]; ok {
			if _, err := fmt.Sscan(row[users.Index("usertype")], &usertype); err != nil {
				return fmt.Errorf("user %q of the snapshot: %w", n, err)
			}
		}
		if usertype != p.usertype {
			o.fault(p.source, p.key, "%s", p.isAnother(n, usertype))
		}
	}
	list := o.over.principals()
	held, err := o.holders(ctx, list)
	for _, p := range list {
		if h, taken := held[p.name]; taken && !h.ours && h.name != p.user {
			o.faults = append(o.faults, p.isOf(h))
		}
	}
	return err
}
