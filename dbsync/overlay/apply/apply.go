package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay"
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

// planner brings the database to what the overlay says.
type planner struct {
	*Applier
	users   map[string]int32
	desired map[string][]desiredRow
	faults  []error // names that are not there
}

// Apply makes the rows that the overlay names, and takes back those that an earlier one had put there.
func (a *Applier) Apply(ctx context.Context) error {
	if _, err := a.Tx.Exec(ctx, "CREATE TEMP TABLE ks_desired_key (relation text, key jsonb) ON COMMIT DROP"); err != nil {
		return err
	}
	o := &planner{Applier: a, users: map[string]int32{}, desired: map[string][]desiredRow{}}
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
		if err := a.ensure(ctx, t, o.desired[t.name]); err != nil {
			return fmt.Errorf("overlay: %s: %w", t.name, err)
		}
	}
	if _, err := a.Tx.Exec(ctx, "ANALYZE ks_desired_key"); err != nil {
		return err
	}
	if err := a.revertOverlay(ctx); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	slices.SortFunc(a.Report.Overlay, func(a, b book.OverlayChange) int {
		return cmp.Or(strings.Compare(a.Entry, b.Entry), strings.Compare(a.Action, b.Action))
	})
	a.Report.Overlay = slices.Compact(a.Report.Overlay) // a rule may have made a row too
	return nil
}

func (o *planner) fault(s overlay.Place, key, format string, args ...any) {
	o.faults = append(o.faults, faultAt(s, key, format, args...))
}

// faultAt is an error at a place of the overlay's file.
func faultAt(s overlay.Place, key, format string, args ...any) error {
	return fmt.Errorf("%s: %s", s.At(key), fmt.Sprintf(format, args...))
}

func (o *planner) desire(table, entry string, row fields) {
	o.desired[table] = append(o.desired[table], desiredRow{row, entry})
}

// names makes the channels, permissions and content generators that are not there.
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

// people finds the users, hosts and groups, and makes those that are not there.
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

// block blocks users whom the snapshot's rows did not.
func (o *planner) block(ctx context.Context) error {
	have, err := usersNamed(ctx, o.Tx, o.over.BlockUsers)
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

// known looks up the names of a table that entries refer to; those that are not there are faults.
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

// Applier applies one overlay in the course of a load.
type Applier struct {
	*rowWriter
	over *overlay.Overlay
}

// NewApplier settles on the overlay of this load: next, or the last load's if that is nil. It reports whether it
// is another than the last load's, and then stores it.
func NewApplier(ctx context.Context, l *loadtx.Load, next *overlay.Overlay) (a *Applier, changed bool, err error) {
	last := new(overlay.Overlay)
	var body []byte
	err = l.Tx.QueryRow(ctx, "SELECT body FROM kojisnap.overlay_file").Scan(&body)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return nil, false, err
	default:
		if err := json.Unmarshal(body, last); err != nil {
			return nil, false, err
		}
	}
	a = &Applier{rowWriter: &rowWriter{l}, over: next}
	if next == nil {
		a.over = last
		return a, false, nil
	}
	a.tellRules(last.Rules(), next.Rules())
	now, err := json.Marshal(next)
	if err != nil || string(now) == string(body) {
		return a, false, err
	}
	_, err = l.Tx.Exec(ctx, `INSERT INTO kojisnap.overlay_file (body) VALUES ($1) ON CONFLICT (one) DO UPDATE SET body = excluded.body`, string(now))
	return a, true, err
}

// tellRules reports the rules that go and those that come.
func (a *Applier) tellRules(before, after []string) {
	for _, r := range before {
		if !slices.Contains(after, r) {
			a.report("remove", r)
		}
	}
	for _, r := range after {
		if !slices.Contains(before, r) {
			a.report("add", r)
		}
	}
}
