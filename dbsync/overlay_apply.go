package dbsync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// overlayTables are the tables outside the catalogue that an overlay writes.
var overlayTables = []string{"user_krb_principals", "user_perms", "cg_users", "host", "host_config", "host_channels"}

// overlay brings the database to what the overlay says.
func (m *merger) overlay(ctx context.Context) error {
	if _, err := m.tx.Exec(ctx, "CREATE TEMP TABLE ks_wanted (relation text, key jsonb) ON COMMIT DROP"); err != nil {
		return err
	}
	for _, u := range m.over.Users {
		if err := m.overlayUser(ctx, u); err != nil {
			return fmt.Errorf("overlay: user %q: %w", u.Name, err)
		}
	}
	for _, h := range m.over.Hosts {
		if err := m.overlayHost(ctx, h); err != nil {
			return fmt.Errorf("overlay: host %q: %w", h.Name, err)
		}
	}
	for _, t := range m.over.Targets {
		if err := m.overlayTarget(ctx, t); err != nil {
			return fmt.Errorf("overlay: target %q: %w", t.Name, err)
		}
	}
	for _, x := range m.over.TagExtras {
		tag, err := m.id(ctx, "tag", x.Tag)
		if err == nil {
			err = m.ensure(ctx, "tag_extra", fields{"tag_id": tag, "key": x.Key}, fields{"value": x.Value}, nil, "tag_extra "+x.Tag)
		}
		if err != nil {
			return fmt.Errorf("overlay: tag_extra %q %q: %w", x.Tag, x.Key, err)
		}
	}
	for _, name := range m.over.BlockUsers {
		if err := m.block(ctx, name); err != nil {
			return fmt.Errorf("overlay: block user %q: %w", name, err)
		}
	}
	if err := m.withdraw(ctx); err != nil {
		return fmt.Errorf("overlay: take back: %w", err)
	}
	return nil
}

// user returns the id of a user of that type, who is made if need be.
func (m *merger) user(ctx context.Context, name string, usertype int32) (id int32, err error) {
	var have int32
	err = m.tx.QueryRow(ctx, "SELECT id, usertype FROM users WHERE name = $1", pgx.QueryExecModeExec, name).Scan(&id, &have)
	switch {
	case err == nil && have != usertype:
		return 0, fmt.Errorf("there is a user of that name whose type is %d, not %d", have, usertype)
	case err == nil:
		// If an earlier overlay made the user and one between did not name it, it is blocked.
		tag, err := m.tx.Exec(ctx, "UPDATE users SET status = 0 WHERE id = $1 AND status <> 0 AND id >= $2 AND EXISTS (SELECT FROM kojisnap.overlay_made WHERE id = $1)",
			pgx.QueryExecModeExec, id, m.mark.Floor)
		if err != nil {
			return 0, err
		}
		m.counts.of("users").Updated += tag.RowsAffected()
		if tag.RowsAffected() > 0 {
			return id, m.record(ctx, "users", fields{"id": id}, name, nil)
		}
		return id, m.want(ctx, "users", fields{"id": id})
	case !errors.Is(err, pgx.ErrNoRows):
		return 0, err
	}
	if err := m.tx.QueryRow(ctx, "INSERT INTO users (name, status, usertype) VALUES ($1, 0, $2) RETURNING id", pgx.QueryExecModeExec, name, usertype).Scan(&id); err != nil {
		return 0, err
	}
	m.counts.of("users").Inserted++
	if _, err := m.tx.Exec(ctx, "INSERT INTO kojisnap.overlay_made VALUES ($1)", pgx.QueryExecModeExec, id); err != nil {
		return 0, err
	}
	return id, m.record(ctx, "users", fields{"id": id}, name, nil)
}

func (m *merger) principals(ctx context.Context, user int32, names []string) error {
	for _, p := range names {
		var owner int32
		key := fields{"user_id": user, "krb_principal": p}
		err := m.tx.QueryRow(ctx, "SELECT user_id FROM user_krb_principals WHERE krb_principal = $1", pgx.QueryExecModeExec, p).Scan(&owner)
		switch {
		case err == nil && owner != user:
			return fmt.Errorf("principal %q is another user's (id %d)", p, owner)
		case err == nil:
			err = m.want(ctx, "user_krb_principals", key)
		case errors.Is(err, pgx.ErrNoRows):
			err = m.insert(ctx, "user_krb_principals", key, key, p, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) overlayUser(ctx context.Context, u OverlayUser) error {
	user, err := m.user(ctx, u.Name, 0)
	if err != nil {
		return err
	}
	if err := m.principals(ctx, user, u.Principals); err != nil {
		return err
	}
	for _, p := range u.Permissions {
		perm, err := m.id(ctx, "permissions", p)
		if err == nil {
			err = m.ensure(ctx, "user_perms", fields{"user_id": user, "perm_id": perm}, nil, nil, u.Name)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range u.ContentGenerators {
		cg, err := m.id(ctx, "content_generator", c)
		if err == nil {
			err = m.ensure(ctx, "cg_users", fields{"cg_id": cg, "user_id": user}, nil, nil, u.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) overlayHost(ctx context.Context, h OverlayHost) error {
	user, err := m.user(ctx, h.Name, 1)
	if err != nil {
		return err
	}
	if err := m.principals(ctx, user, h.Principals); err != nil {
		return err
	}
	var host int32
	err = m.tx.QueryRow(ctx, "SELECT id FROM host WHERE name = $1", pgx.QueryExecModeExec, h.Name).Scan(&host)
	if errors.Is(err, pgx.ErrNoRows) {
		m.counts.of("host").Inserted++
		err = m.tx.QueryRow(ctx, "INSERT INTO host (user_id, name) VALUES ($1, $2) RETURNING id", pgx.QueryExecModeExec, user, h.Name).Scan(&host)
	}
	if err != nil {
		return err
	}
	data := fields{"arches": strings.Join(h.Arches, " "), "capacity": h.Capacity}
	if h.Capacity == 0 {
		data["capacity"] = 2.0
	}
	if h.Description != "" {
		data["description"] = h.Description
	}
	// What staging's admins set stays with the host.
	carry := fields{}
	var enabled bool
	var comment *string
	err = m.tx.QueryRow(ctx, "SELECT enabled, comment FROM host_config WHERE host_id = $1 AND active", pgx.QueryExecModeExec, host).Scan(&enabled, &comment)
	if err == nil {
		carry = fields{"enabled": enabled, "comment": comment}
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if err := m.ensure(ctx, "host_config", fields{"host_id": host}, data, carry, h.Name); err != nil {
		return err
	}
	for _, c := range h.Channels {
		channel, err := m.id(ctx, "channels", c)
		if err == nil {
			err = m.ensure(ctx, "host_channels", fields{"host_id": host, "channel_id": channel}, nil, nil, h.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) overlayTarget(ctx context.Context, t OverlayTarget) error {
	build, err := m.id(ctx, "tag", t.BuildTag)
	if err != nil {
		return err
	}
	dest, err := m.id(ctx, "tag", t.DestTag)
	if err != nil {
		return err
	}
	var target int32
	err = m.tx.QueryRow(ctx, "SELECT id FROM build_target WHERE name = $1", pgx.QueryExecModeExec, t.Name).Scan(&target)
	if errors.Is(err, pgx.ErrNoRows) {
		m.counts.of("build_target").Inserted++
		err = m.tx.QueryRow(ctx, "INSERT INTO build_target (name) VALUES ($1) RETURNING id", pgx.QueryExecModeExec, t.Name).Scan(&target)
	}
	if err != nil {
		return err
	}
	return m.ensure(ctx, "build_target_config", fields{"build_target_id": target}, fields{"build_tag": build, "dest_tag": dest}, nil, t.Name)
}

// block blocks a user whom the snapshot's rows did not.
func (m *merger) block(ctx context.Context, name string) error {
	var id int32
	var status int64
	err := m.tx.QueryRow(ctx, "SELECT id, status FROM users WHERE name = $1", pgx.QueryExecModeExec, name).Scan(&id, &status)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // who is not there can do nothing
	}
	if err != nil || status == 1 {
		if err == nil {
			err = m.want(ctx, "users", fields{"id": id})
		}
		return err
	}
	if _, err := m.tx.Exec(ctx, "UPDATE users SET status = 1 WHERE id = $1", pgx.QueryExecModeExec, id); err != nil {
		return err
	}
	m.counts.of("users").Updated++
	return m.record(ctx, "users", fields{"id": id}, name, status)
}
