// Package apply applies an overlay to the staging database, as a part of a load.
package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/overlay"
)

// Applier applies one overlay during a load, and uses the load's transaction and temporary tables. It changes
// production's rows in the snapshot's rows before the merge (BlockUsers, ApplyRules), so that a load does not
// write rows that did not change. It adds rows after the merge (SettleOutside, Apply).
type Applier struct {
	*rowWriter
	over  *overlay.Overlay
	ruled []ruledRelation // whose rows rules change, or did
}

// NewApplier takes next, or the last load's overlay if next is nil. It reports whether that is another than
// the last load's, and then stores it.
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

// Apply writes the rows that the overlay names, and reverts those of earlier overlays that it does not name.
// It makes ks_desired_key: the keys of the rows that this overlay names.
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
	a.Report.Overlay = slices.Compact(a.Report.Overlay) // a rule may have been reported for a row, too
	return nil
}

// overlayVersioned are the versioned tables that an overlay writes.
var overlayVersioned = []versionedTable{
	{name: "user_perms", subject: []string{"user_id", "perm_id"}},
	{name: "cg_users", subject: []string{"cg_id", "user_id"}},
	{name: "user_groups", subject: []string{"user_id", "group_id"}},
	{name: "host_config", subject: []string{"host_id"}, data: []string{"arches", "capacity", "description"},
		copied: map[string]string{"enabled": "coalesce(o.enabled, true)", "comment": "o.comment"}},
	{name: "host_channels", subject: []string{"host_id", "channel_id"}},
	{name: "build_target_config", subject: []string{"build_target_id"}, data: []string{"build_tag", "dest_tag"}},
	{name: "tag_extra", subject: []string{"tag_id", "key"}, data: []string{"value"}},
}

// tellRules reports which rules are gone and which are new.
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
