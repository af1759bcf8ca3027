package dbsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// readOverlay settles on the overlay of this load, the last one if there is no new one, and
// reports whether it is another than before.
func (m *merger) readOverlay(ctx context.Context) (changed bool, err error) {
	var last []byte
	err = m.tx.QueryRow(ctx, "SELECT body FROM kojisnap.overlay_file", pgx.QueryExecModeExec).Scan(&last)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, err
	}
	if m.opt.Overlay == nil {
		m.over = new(Overlay)
		if last != nil {
			err = json.Unmarshal(last, m.over)
		} else {
			err = nil
		}
		return false, err
	}
	m.over = m.opt.Overlay
	before := new(Overlay)
	if last != nil {
		if err := json.Unmarshal(last, before); err != nil {
			return false, err
		}
	}
	m.tellRules(before.rules(), m.over.rules())
	body, err := json.Marshal(m.over)
	if err != nil || string(body) == string(last) {
		return false, err
	}
	_, err = m.tx.Exec(ctx, `INSERT INTO kojisnap.overlay_file (body) VALUES ($1) ON CONFLICT (one) DO UPDATE SET body = excluded.body`,
		pgx.QueryExecModeExec, string(body))
	return true, err
}

// tellRules reports the rules that go and those that come.
func (m *merger) tellRules(before, after []string) {
	for _, r := range before {
		if !slices.Contains(after, r) {
			m.report("remove", r)
		}
	}
	for _, r := range after {
		if !slices.Contains(before, r) {
			m.report("add", r)
		}
	}
}

// overrule writes what the overlay wants otherwise into the snapshot's rows, before they are
// merged: so a load changes nothing where nothing changed, and what an overlay no longer names
// is production's again by itself.
func (m *merger) overrule(ctx context.Context) error {
	for _, u := range m.over.ExternalRepoURL {
		// A URL that begins with what another rule gives was not production's.
		if _, err := m.tx.Exec(ctx, `UPDATE ks_external_repo_config SET url = $2 || substr(url, length($1) + 1), ks_ruled = true
			WHERE NOT ks_ruled AND starts_with(url, $1)`, pgx.QueryExecModeExec, u.From, u.To); err != nil {
			return err
		}
	}
	for _, x := range m.over.TagExtras {
		if _, err := m.tx.Exec(ctx, `UPDATE ks_tag_extra SET value = $3 WHERE key = $2 AND tag_id IN (SELECT id FROM ks_tag WHERE name = $1)`,
			pgx.QueryExecModeExec, x.Tag, x.Key, x.Value); err != nil {
			return err
		}
	}
	for _, t := range m.over.Targets {
		var build, dest int32
		var err error
		if build, err = m.tagOf(ctx, t.BuildTag); err == nil {
			dest, err = m.tagOf(ctx, t.DestTag)
		}
		if err != nil {
			return fmt.Errorf("target %q: %w", t.Name, err)
		}
		if _, err := m.tx.Exec(ctx, `UPDATE ks_build_target_config SET build_tag = $2, dest_tag = $3
			WHERE build_target_id IN (SELECT id FROM ks_build_target WHERE name = $1)`, pgx.QueryExecModeExec, t.Name, build, dest); err != nil {
			return err
		}
	}
	_, err := m.tx.Exec(ctx, `UPDATE ks_users SET status = 1 WHERE name = ANY($1)`, pgx.QueryExecModeExec, m.over.BlockUsers)
	return err
}

// tagOf returns the id that a tag of the snapshot has there, or else the one of staging's.
func (m *merger) tagOf(ctx context.Context, name string) (id int32, err error) {
	err = m.tx.QueryRow(ctx, `SELECT id FROM (SELECT id, 1 AS o FROM ks_tag WHERE name = $1 UNION ALL SELECT id, 2 FROM tag WHERE name = $1) x ORDER BY o LIMIT 1`,
		pgx.QueryExecModeExec, name).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("there is no tag %q", name)
	}
	return id, err
}
