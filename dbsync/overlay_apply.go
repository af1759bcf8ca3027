package dbsync

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/sqltext"
)

// overlayVersioned are the versioned tables that an overlay writes.
var overlayVersioned = []versionedTable{
	{name: "user_perms", subject: []string{"user_id", "perm_id"}},
	{name: "cg_users", subject: []string{"cg_id", "user_id"}},
	{name: "user_groups", subject: []string{"user_id", "group_id"}},
	{name: "host_config", subject: []string{"host_id"}, data: []string{"arches", "capacity", "description"},
		carry: map[string]string{"enabled": "coalesce(o.enabled, true)", "comment": "o.comment"}},
	{name: "host_channels", subject: []string{"host_id", "channel_id"}},
	{name: "build_target_config", subject: []string{"build_target_id"}, data: []string{"build_tag", "dest_tag"}},
	{name: "tag_extra", subject: []string{"tag_id", "key"}, data: []string{"value"}},
}

// overlayer brings the database to what the overlay says.
type overlayer struct {
	*merger
	users  map[string]int32
	wishes map[string][]wish
	faults []error // names that are not there
}

func (m *merger) overlay(ctx context.Context) error {
	if _, err := m.tx.Exec(ctx, "CREATE TEMP TABLE ks_wanted (relation text, key jsonb) ON COMMIT DROP"); err != nil {
		return err
	}
	o := &overlayer{merger: m, users: map[string]int32{}, wishes: map[string][]wish{}}
	for _, step := range []func(context.Context) error{o.names, o.people, o.block, o.grants, o.hosts, o.targets, o.extras} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
	}
	if len(o.faults) > 0 {
		return &overlay.Error{Faults: o.faults}
	}
	if err := o.principals(ctx); err != nil {
		return fmt.Errorf("overlay: principals: %w", err)
	}
	if len(o.faults) > 0 {
		return &overlay.Error{Faults: o.faults}
	}
	for _, t := range overlayVersioned {
		if err := m.ensure(ctx, t, o.wishes[t.name]); err != nil {
			return fmt.Errorf("overlay: %s: %w", t.name, err)
		}
	}
	if _, err := m.tx.Exec(ctx, "ANALYZE ks_wanted"); err != nil {
		return err
	}
	if err := m.withdraw(ctx); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	slices.SortFunc(m.rep.Overlay, func(a, b book.OverlayChange) int {
		return cmp.Or(strings.Compare(a.Entry, b.Entry), strings.Compare(a.Action, b.Action))
	})
	m.rep.Overlay = slices.Compact(m.rep.Overlay) // a rule may have made a row too
	return nil
}

func (o *overlayer) fault(s overlay.Place, key, format string, args ...any) {
	o.faults = append(o.faults, fmt.Errorf("%s: %s", s.At(key), fmt.Sprintf(format, args...)))
}

func (o *overlayer) wish(table, entry string, row fields) {
	o.wishes[table] = append(o.wishes[table], wish{row, entry})
}

// names makes the channels, permissions and content generators that are not there.
func (o *overlayer) names(ctx context.Context) error {
	described := func(table string, names []overlay.Name) error {
		var rows []fields
		for _, n := range names {
			row := fields{"name": n.Name}
			if _, ok := o.schema.Column(table, "description"); ok && n.Description != "" {
				row["description"] = n.Description
			}
			rows = append(rows, row)
		}
		revive := ""
		if _, ok := o.schema.Column(table, "enabled"); ok {
			revive = "enabled = true"
		}
		_, err := o.made(ctx, table, strings.TrimSuffix(table, "s"), rows, revive)
		return err
	}
	if err := described("channels", o.over.Channels); err != nil {
		return err
	}
	if err := described("permissions", o.over.Permissions); err != nil {
		return err
	}
	var rows []fields
	for _, g := range o.over.ContentGenerators {
		rows = append(rows, fields{"name": g.Name})
	}
	_, err := o.made(ctx, "content_generator", "content generator", rows, "")
	return err
}

// made returns the ids of names. Rows that are not there are made; one that an earlier overlay
// made, and one between did not name, is revived.
func (o *overlayer) made(ctx context.Context, table, kind string, rows []fields, revive string) (map[string]int32, error) {
	var names []string
	for _, r := range rows {
		names = append(names, r["name"].(string))
	}
	ids := map[string]int32{}
	if len(names) == 0 {
		return ids, nil
	}
	type row struct {
		Name       string
		ID         int32
		Made, Held bool
	}
	found, err := o.tx.Query(ctx, sqltext.Expand(`SELECT t.name, t.id, EXISTS (SELECT FROM kojisnap.overlay_made d WHERE d.relation = {r} AND d.id = t.id),
			EXISTS (SELECT FROM kojisnap.overlay v WHERE v.relation = {r} AND v.key = jsonb_build_object('id', t.id))
		FROM {t} t WHERE name = ANY($1)`, "t", sqltext.QuoteIdent(table), "r", sqltext.QuoteLiteral(table)), names)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, err
	}
	c := o.counts.of(table)
	for _, r := range list {
		ids[r.Name] = r.ID
		switch {
		case r.Made && r.Held:
			err = o.want(ctx, table, fields{"id": r.ID})
		case r.Made:
			if revive != "" {
				tag, err := o.tx.Exec(ctx, "UPDATE "+sqltext.QuoteIdent(table)+" SET "+revive+" WHERE id = $1 AND NOT ("+revive+")", r.ID)
				if err != nil {
					return nil, err
				}
				c.Updated += tag.RowsAffected()
			}
			o.report("add", kind+" "+r.Name)
			err = o.record(ctx, table, fields{"id": r.ID}, kind+" "+r.Name, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		name := r["name"].(string)
		if _, ok := ids[name]; ok {
			continue
		}
		id, err := o.insert(ctx, table, r)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", kind, name, err)
		}
		ids[name] = id
		if _, err := o.tx.Exec(ctx, "INSERT INTO kojisnap.overlay_made (relation, id) VALUES ($1, $2)", table, id); err != nil {
			return nil, err
		}
		o.report("add", kind+" "+name)
		if err := o.record(ctx, table, fields{"id": id}, kind+" "+name, nil); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// insert adds a row and returns its id.
func (o *overlayer) insert(ctx context.Context, table string, row fields) (id int32, err error) {
	columns := slices.Sorted(maps.Keys(row))
	var args []any
	var holes []string
	for i, c := range columns {
		args = append(args, row[c])
		holes = append(holes, fmt.Sprintf("$%d", i+1))
	}
	err = o.tx.QueryRow(ctx, "INSERT INTO "+sqltext.QuoteIdent(table)+" ("+sqltext.Columns("", columns)+") VALUES ("+sqltext.Join(holes)+") RETURNING id", args...).Scan(&id)
	o.counts.of(table).Inserted++
	return id, err
}

// people finds the users, hosts and groups, and makes those that are not there.
func (o *overlayer) people(ctx context.Context) error {
	wanted := o.over.People()
	have, err := o.usersNamed(ctx, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		return err
	}
	byType := map[int][]fields{}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[name]
		if h, ok := have[name]; ok && h.usertype != w.UserType {
			o.fault(w.Place, w.Key, "%s", w.OtherType(name, h.usertype))
			continue
		} else if ok && h.status != 0 && !h.made {
			o.rep.Notes = append(o.rep.Notes, fmt.Sprintf("overlay: %s %s is blocked, and not by the overlay: it stays so", overlay.UserTypes[w.UserType], name))
		}
		byType[w.UserType] = append(byType[w.UserType], fields{"name": name, "status": 0, "usertype": w.UserType})
	}
	for _, t := range slices.Sorted(maps.Keys(byType)) {
		ids, err := o.made(ctx, "users", overlay.UserTypes[t], byType[t], "status = 0")
		if err != nil {
			return err
		}
		maps.Copy(o.users, ids)
	}
	return nil
}

type kojiUser struct {
	id               int32
	status, usertype int
	made             bool
}

func (m *merger) usersNamed(ctx context.Context, names []string) (map[string]kojiUser, error) {
	out := map[string]kojiUser{}
	rows, err := m.tx.Query(ctx, `SELECT name, id, status, usertype, EXISTS (SELECT FROM kojisnap.overlay_made d WHERE d.relation = 'users' AND d.id = t.id)
		FROM users t WHERE name = ANY($1)`, names)
	if err != nil {
		return nil, err
	}
	var name string
	var u kojiUser
	_, err = pgx.ForEachRow(rows, []any{&name, &u.id, &u.status, &u.usertype, &u.made}, func() error { out[name] = u; return nil })
	return out, err
}

// block blocks users whom the snapshot's rows did not.
func (o *overlayer) block(ctx context.Context) error {
	have, err := o.usersNamed(ctx, o.over.BlockUsers)
	if err != nil {
		return err
	}
	for _, name := range o.over.BlockUsers {
		u, ok := have[name]
		key := fields{"id": u.id}
		switch {
		case !ok: // who is not there can do nothing
		case u.status == 1:
			err = o.want(ctx, book.BlockUsers, key)
		default:
			if _, err := o.tx.Exec(ctx, "UPDATE users SET status = 1 WHERE id = $1", u.id); err != nil {
				return err
			}
			o.counts.of("users").Updated++
			err = o.record(ctx, book.BlockUsers, key, "user "+name+": blocked", u.status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ids looks up names in a table.
func (m *merger) ids(ctx context.Context, table string, names []string) (map[string]int32, error) {
	out := map[string]int32{}
	if len(names) == 0 {
		return out, nil
	}
	rows, err := m.tx.Query(ctx, "SELECT name, id FROM "+sqltext.QuoteIdent(table)+" WHERE name = ANY($1)", names)
	if err != nil {
		return nil, err
	}
	var name string
	var id int32
	_, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error { out[name] = id; return nil })
	return out, err
}

// known looks up the names of a table that entries refer to; those that are not there are faults.
func (o *overlayer) known(ctx context.Context, table string) (map[string]int32, error) {
	refs := o.over.References(table)
	var names []string
	for _, r := range refs {
		names = append(names, r.Name)
	}
	ids, err := o.ids(ctx, table, names)
	for _, r := range refs {
		if _, ok := ids[r.Name]; !ok && err == nil {
			o.faults = append(o.faults, r.Missing(table))
		}
	}
	return ids, err
}

func (o *overlayer) grants(ctx context.Context) error {
	perms, err := o.known(ctx, "permissions")
	if err != nil {
		return err
	}
	cgs, err := o.known(ctx, "content_generator")
	if err != nil {
		return err
	}
	for _, u := range o.over.Users {
		for _, name := range u.All() {
			id := o.users[name]
			for _, p := range u.Permissions {
				o.wish("user_perms", "user "+name+": permission "+p, fields{"user_id": id, "perm_id": perms[p]})
			}
			for _, g := range u.ContentGenerators {
				o.wish("cg_users", "user "+name+": content generator "+g, fields{"cg_id": cgs[g], "user_id": id})
			}
			for _, g := range u.Groups {
				o.wish("user_groups", "user "+name+": group "+g, fields{"user_id": id, "group_id": o.users[g]})
			}
		}
	}
	return nil
}

func (o *overlayer) hosts(ctx context.Context) error {
	channels, err := o.known(ctx, "channels")
	if err != nil {
		return err
	}
	for _, h := range o.over.Hosts {
		names := h.All()
		hosts, err := o.hostsNamed(ctx, names)
		if err != nil {
			return err
		}
		capacity := h.Capacity
		if capacity == 0 {
			capacity = 2
		}
		arches := strings.Join(h.Arches, " ")
		config := "arches " + arches + ", capacity " + strconv.FormatFloat(capacity, 'g', -1, 64)
		var description *string
		if h.Description != "" {
			description = &h.Description
			config += ", " + h.Description
		}
		for _, name := range names {
			user, ok := o.users[name]
			if !ok {
				continue // another type of user: a fault
			}
			host, there := hosts[name]
			switch {
			case !there:
				if host.id, err = o.insert(ctx, "host", fields{"user_id": user, "name": name}); err != nil {
					return fmt.Errorf("host %q: %w", name, err)
				}
			case host.user != user:
				o.fault(h.Place, h.KeyOf(name), "host %q: there is one, of another user (id %d)", name, host.user)
			}
			o.wish("host_config", "host "+name+": "+config,
				fields{"host_id": host.id, "arches": arches, "capacity": capacity, "description": description})
			for _, c := range h.Channels {
				o.wish("host_channels", "host "+name+": channel "+c, fields{"host_id": host.id, "channel_id": channels[c]})
			}
		}
	}
	return nil
}

type hostRow struct{ id, user int32 }

func (m *merger) hostsNamed(ctx context.Context, names []string) (map[string]hostRow, error) {
	out := map[string]hostRow{}
	rows, err := m.tx.Query(ctx, "SELECT name, id, user_id FROM host WHERE name = ANY($1)", names)
	if err != nil {
		return nil, err
	}
	var name string
	var h hostRow
	_, err = pgx.ForEachRow(rows, []any{&name, &h.id, &h.user}, func() error { out[name] = h; return nil })
	return out, err
}

func (o *overlayer) targets(ctx context.Context) error {
	tags, err := o.known(ctx, "tag")
	if err != nil || len(o.faults) > 0 {
		return err
	}
	var names []string
	for _, t := range o.over.Targets {
		names = append(names, t.Name)
	}
	targets, err := o.ids(ctx, "build_target", names)
	if err != nil {
		return err
	}
	for _, t := range o.over.Targets {
		id, ok := targets[t.Name]
		if !ok {
			if id, err = o.insert(ctx, "build_target", fields{"name": t.Name}); err != nil {
				return fmt.Errorf("target %q: %w", t.Name, err)
			}
		}
		o.wish("build_target_config", "target "+t.Name+": from "+t.BuildTag+" to "+t.DestTag,
			fields{"build_target_id": id, "build_tag": tags[t.BuildTag], "dest_tag": tags[t.DestTag]})
	}
	return nil
}

func (o *overlayer) extras(ctx context.Context) error {
	tags, err := o.known(ctx, "tag")
	for _, x := range o.over.TagExtras {
		o.wish("tag_extra", "tag "+x.Tag+": extra "+x.Key+" = "+x.Value, fields{"tag_id": tags[x.Tag], "key": x.Key, "value": x.Value})
	}
	return err
}
