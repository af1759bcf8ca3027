package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/overlay"
)

// planner finds out which rows an overlay wants. It inserts names that are not there: their ids are needed.
type planner struct {
	*Applier
	users   map[string]int32
	desired map[string][]desiredRow
	faults  []error // what is wrong with the overlay
}

// fault adds what is wrong at a place of the overlay's file.
func (o *planner) fault(s overlay.Place, key, format string, args ...any) {
	o.faults = append(o.faults, faultAt(s, key, format, args...))
}

// faultAt is an error at a place of the overlay's file.
func faultAt(s overlay.Place, key, format string, args ...any) error {
	return fmt.Errorf("%s: %s", s.At(key), fmt.Sprintf(format, args...))
}

// desire adds a row of a versioned table to those that the overlay wants. entry is for people.
func (o *planner) desire(table, entry string, row fields) {
	o.desired[table] = append(o.desired[table], desiredRow{row, entry})
}

// names inserts the channels, permissions and content generators that are not there.
func (o *planner) names(ctx context.Context) error {
	described := func(table string, names []overlay.Name) error {
		var rows []fields
		for _, n := range names {
			row := fields{"name": n.Name}
			if _, ok := o.Schema.Column(table, "description"); ok && n.Description != "" {
				row["description"] = n.Description
			}
			rows = append(rows, row)
		}
		revive := ""
		if _, ok := o.Schema.Column(table, "enabled"); ok {
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

// people finds the users, hosts and groups, and inserts those that are not there.
func (o *planner) people(ctx context.Context) error {
	wanted := o.over.People()
	have, err := usersNamed(ctx, o.Tx, slices.Sorted(maps.Keys(wanted)))
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
			o.Report.Notes = append(o.Report.Notes, fmt.Sprintf("overlay: %s %s is blocked, and not by the overlay: it stays so", overlay.UserTypes[w.UserType], name))
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

// block blocks those users whom BlockUsers did not, as they are not among the snapshot's rows.
func (o *planner) block(ctx context.Context) error {
	have, err := usersNamed(ctx, o.Tx, o.over.BlockUsers)
	if err != nil {
		return err
	}
	for _, name := range o.over.BlockUsers {
		u, ok := have[name]
		key := fields{"id": u.id}
		switch {
		case !ok: // not there, so there is nothing to block
		case u.status == 1:
			err = o.want(ctx, book.BlockUsers, key)
		default:
			if _, err := o.Tx.Exec(ctx, "UPDATE users SET status = 1 WHERE id = $1", u.id); err != nil {
				return err
			}
			o.Counts.Of("users").Updated++
			err = o.record(ctx, book.BlockUsers, key, "user "+name+": blocked", u.status)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// known returns the ids of the names in a table that entries refer to. Names that are not there are faults.
func (o *planner) known(ctx context.Context, table string) (map[string]int32, error) {
	refs := o.over.References(table)
	var names []string
	for _, r := range refs {
		names = append(names, r.Name)
	}
	ids, err := idsNamed(ctx, o.Tx, table, names)
	for _, r := range refs {
		if _, ok := ids[r.Name]; !ok && err == nil {
			o.faults = append(o.faults, r.Missing(table))
		}
	}
	return ids, err
}
