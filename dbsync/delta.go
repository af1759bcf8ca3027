package dbsync

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// errNeedAllRows says that what changed between two snapshots is not enough to know: all rows must be
// looked at.
var errNeedAllRows = errors.New("all rows are needed")

// findBase opens the snapshot that the database holds, if what changed since then is all that
// this load has to look at: the last load brought it, for each tag of the new scope that the
// database knows, into the columns that the tables have now, and it is known what it lacks.
func (m *merger) findBase(ctx context.Context) error {
	if m.opt.Base == nil || m.opt.Audit || m.metConstraint {
		return nil
	}
	var id, columns string
	var held bool
	err := m.Tx.QueryRow(ctx, `SELECT l.snapshot, l.columns, NOT EXISTS (SELECT FROM kojisnap.tag t WHERE t.tag_id = ANY($1) AND t.snapshot <> l.snapshot)
		FROM kojisnap.load l ORDER BY l.id DESC LIMIT 1`, m.scope()).Scan(&id, &columns, &held)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil || !held || columns != m.columns() {
		return err
	}
	base, err := m.opt.Base(ctx, id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, new(*snapfile.DamagedError)):
		m.Report.Notes = append(m.Report.Notes, fmt.Sprintf("every row is compared, as what the database holds cannot be read: %v", err))
		return nil
	case err != nil:
		return fmt.Errorf("what the database holds: %w", err)
	}
	// Of what the base lacks, the difference does not tell; see protect.
	known := !slices.ContainsFunc(base.Manifest.LeftOut, func(l snapfile.LeftOut) bool { return l.Missing() && !exact(l) })
	if base.Manifest.Event <= m.Snap.Manifest.Event && base.Manifest.Hub == m.Snap.Manifest.Hub && known {
		m.Base, m.Report.Base = base, id
	}
	return nil
}

// columns identifies the columns that this load brings, of all relations, and what they can hold.
// Rows that were loaded with others have to be looked at again, though production did not change
// them: staging's tables were upgraded, or production's hub.
func (m *merger) columns() string {
	h := sha256.New()
	for _, r := range relation.All() {
		for _, name := range m.Given(r) {
			c, _ := m.Schema.Column(r.Name, name)
			fmt.Fprintln(h, r.Name, name, c.NotNull)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// stageChanges fills the temporary tables of a relation with what changed since the base, with
// the keys of what is gone, and with the rows that could not go in before.
func (m *merger) stageChanges(ctx context.Context, r *relation.Relation) error {
	if slices.Equal(m.Snap.Relation(r.Name).Segments, m.Base.Relation(r.Name).Segments) {
		return m.stageDeferred(ctx, r)
	}
	changed := m.Snap.Changed(ctx, m.Base, r.Name)
	defer changed.Close()
	n, err := m.copyIn(ctx, r, loadtx.Staged(r), r.ColumnNames(), changed)
	if errors.As(err, new(*snapfile.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
		return errNeedAllRows // it may be the base alone; if not, all rows meet it again
	}
	if err != nil {
		return err
	}
	m.Rows[r.Name] = n
	keys := m.Snap.Gone(ctx, m.Base, r.Name)
	defer keys.Close()
	n, err = m.copyIn(ctx, r, loadtx.Deleted(r), r.Key, keys)
	if err != nil {
		return err
	}
	m.Deleted[r.Name] = n
	return m.stageDeferred(ctx, r)
}

// stageDeferred adds the rows of the snapshot that an earlier load put aside, the taggings of builds
// that staging reset, which may be deleted, and the keys of those that it did not delete.
func (m *merger) stageDeferred(ctx context.Context, r *relation.Relation) error {
	want, reset, have, err := m.readDeferred(ctx, r, loadtx.Staged(r))
	if err != nil || len(want)+len(reset) == 0 {
		return err
	}
	all := m.Snap.Rows(ctx, r.Name)
	defer all.Close()
	found, err := deferredRows(r, all, want, reset, have)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Name, err)
	}
	tag, err := m.Tx.Conn().PgConn().CopyFrom(ctx, found, "COPY "+loadtx.Staged(r)+" ("+sqltext.Columns("", r.ColumnNames())+") FROM STDIN")
	m.Rows[r.Name] += tag.RowsAffected()
	m.Filled[loadtx.Staged(r)] = m.Rows[r.Name] > 0
	if err != nil || r.Name != "rpminfo" && r.Name != "archiveinfo" {
		return err
	}
	// What the snapshot does not have was spared when production deleted it.
	n, err := m.ExecSQL(ctx, r, `INSERT INTO {deleted} SELECT a.id FROM (SELECT DISTINCT key[1]::integer AS id FROM kojisnap.aside WHERE relation = {r}) a
		WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = a.id) AND NOT EXISTS (SELECT FROM {deleted} w WHERE w.id = a.id)`)
	m.Deleted[r.Name] += n
	return err
}

// readDeferred returns the keys that an earlier load put aside, of rows that are not in a temporary table yet;
// the builds that staging reset; and the keys of those that the table has of them.
func (m *merger) readDeferred(ctx context.Context, r *relation.Relation, table string) (want, reset, have map[string]bool, err error) {
	rows, err := m.Tx.Query(ctx, m.ExpandSQL(r, "SELECT DISTINCT key FROM kojisnap.aside a WHERE relation = {r} AND NOT EXISTS (SELECT FROM {table} s WHERE {array} = a.key)",
		"table", table, "array", sqltext.KeyArray("s", r.Key)))
	if err != nil {
		return nil, nil, nil, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return nil, nil, nil, err
	}
	want = make(map[string]bool, len(keys))
	for _, k := range keys {
		want[strings.Join(k, "\x00")] = true
	}
	reset, have, err = m.resetBuilds(ctx, r, table)
	return want, reset, have, err
}

// deferredRows returns the rows that are wanted by key, and those of builds that staging reset, as COPY text.
func deferredRows(r *relation.Relation, all *snapfile.Rows, want, reset, have map[string]bool) (*bytes.Buffer, error) {
	found := new(bytes.Buffer)
	var row [][]byte
	var err error
	key, index, build := []byte{}, r.KeyIndexes(), r.Index("build_id")
	for all.Next() {
		if row, err = all.Fields(row); err != nil {
			return nil, err
		}
		key = key[:0]
		for n, i := range index {
			if n > 0 {
				key = append(key, 0)
			}
			key = append(key, row[i]...)
		}
		if want[string(key)] || build >= 0 && reset[string(row[build])] && !have[string(key)] {
			found.Write(all.Line())
		}
	}
	return found, all.Err()
}

// resetBuilds are, for taggings, the builds of production's that staging reset: its hub deleted their
// taggings. have are the keys of those that are among the snapshot's rows already.
func (m *merger) resetBuilds(ctx context.Context, r *relation.Relation, table string) (reset, have map[string]bool, err error) {
	if r.Name != "tag_listing" {
		return nil, nil, nil
	}
	read := func(sql string) (map[string]bool, error) {
		rows, err := m.Tx.Query(ctx, m.ExpandSQL(r, sql, "table", table))
		if err != nil {
			return nil, err
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
		set := make(map[string]bool, len(list))
		for _, k := range list {
			set[strings.Join(k, "\x00")] = true
		}
		return set, err
	}
	state := "v.state = 1"
	if table == loadtx.Revoked(r) { // what is deleted in production was tagged once
		state = "(v.state <> 4 OR b.create_event >= {floor})"
	}
	builds := `SELECT b.id FROM build b JOIN kojisnap.placed_volume v ON v.build_id = b.id
		WHERE b.id < {floor} AND ` + state + ` AND (b.state = 4 OR b.create_event >= {floor})`
	if reset, err = read("SELECT ARRAY[id::text] FROM (" + builds + ") r"); err != nil || len(reset) == 0 {
		return nil, nil, err
	}
	have, err = read("SELECT " + sqltext.KeyArray("s", r.Key) + " FROM {table} s WHERE s.build_id IN (" + builds + ")")
	return reset, have, err
}

// recordDeferred records which rows did not go in as production has them, by production's ids, so
// that the next load looks at them again.
func (m *merger) recordDeferred(ctx context.Context, load int64) error {
	noted, err := m.RelationsIn(ctx, "ks_deferred")
	if err != nil {
		return err
	}
	for _, r := range noted {
		key := make([]string, len(r.Key))
		for i, k := range r.Key {
			key[i] = fmt.Sprintf("key[%d]", i+1)
			ref := r.Columns[r.Index(k)].Ref
			if k == "id" {
				ref = r.Name
			}
			if m.mapped[ref] {
				key[i] = sqltext.Expand("coalesce((SELECT i.prod_id::text FROM kojisnap.idmap i WHERE i.relation = {ref} AND i.staging_id::text = {k}), {k})", "ref", sqltext.QuoteLiteral(ref), "k", key[i])
			}
		}
		if _, err := m.ExecSQL(ctx, r, "INSERT INTO kojisnap.aside SELECT DISTINCT {load}::integer, relation, ARRAY[{ids}] FROM ks_deferred WHERE relation = {r}",
			"load", sqltext.Int(load), "ids", sqltext.Join(key)); err != nil {
			return err
		}
	}
	return nil
}

// checkChanges finds the cases in which rows that the base did not have either may have to go:
// a build that comes back into the scope or is asked for by name, or was reset. These are rare, and all
// rows are looked at then.
func (m *merger) checkChanges(ctx context.Context) error {
	if m.Base == nil {
		return nil
	}
	if asked, err := m.namedAnew(ctx); err != nil || asked {
		return cmp.Or(err, errNeedAllRows)
	}
	var back bool
	err := m.Tx.QueryRow(ctx, m.ExpandSQL(relation.Get("tag_listing"), `SELECT EXISTS (SELECT FROM {s} s JOIN build b ON b.id = s.build_id AND b.id < {floor}
			WHERE s.tag_id IN (SELECT tag_id FROM ks_scope_tag)
				AND NOT EXISTS (SELECT FROM kojisnap.aside a WHERE a.relation = {r} AND a.key[1] = s.create_event::text AND a.key[2] = s.build_id::text)
				AND NOT EXISTS (SELECT FROM {t} t WHERE t.build_id = s.build_id AND t.tag_id IN (SELECT tag_id FROM ks_scope_tag)
					AND t.create_event < {floor} AND (t.active OR t.revoke_event >= {floor})))
		OR EXISTS (SELECT FROM ks_build s JOIN kojisnap.placed_volume v ON v.build_id = s.id
			WHERE s.state IN (0, 3, 4) AND v.state NOT IN (0, 3, 4))`)).Scan(&back)
	if err == nil && back {
		return errNeedAllRows
	}
	return err
}

// checkNames asks for all rows where an rpm has the name of another of production's that did not go
// since the base: the snapshot may have both.
func (m *merger) checkNames(ctx context.Context, r *relation.Relation) error {
	if m.Base == nil {
		return nil
	}
	var both bool
	err := m.Tx.QueryRow(ctx, m.ExpandSQL(r, `SELECT EXISTS (SELECT FROM {t} t JOIN {s} s ON {nvra} AND t.id <> s.id`+m.notDraft("t")+m.notDraft("s")+`
		WHERE t.id < {floor} AND NOT EXISTS (SELECT FROM {s} x WHERE x.id = t.id) AND NOT EXISTS (SELECT FROM {deleted} w WHERE w.id = t.id))`,
		"nvra", sqltext.Equal("t", "s", []string{"name", "version", "release", "arch", "external_repo_id"}))).Scan(&both)
	if err == nil && both {
		return errNeedAllRows
	}
	return err
}

// coverChanges fills ks_covered_build with those builds below which rows are gone that the snapshot
// has all rows of.
func (m *merger) coverChanges(ctx context.Context) error {
	for _, r := range relation.All() {
		build := kojidb.BuildOf(r, "g")
		switch {
		case !m.Delta(r) || m.Deleted[r.Name] == 0 || build == "" || r.Name == "build":
			continue
		case r.Name == "rpminfo" || r.Name == "archiveinfo":
			build = m.ExpandSQL(r, "(SELECT t.build_id FROM {t} t WHERE t.id = g.id)")
		}
		if _, err := m.ExecSQL(ctx, r, "INSERT INTO ks_shrunk_build SELECT DISTINCT {build} FROM {deleted} g", "build", build); err != nil {
			return err
		}
	}
	listing := relation.Get("tag_listing")
	_, err := m.ExecSQL(ctx, listing, `DELETE FROM ks_shrunk_build l WHERE id IS NULL OR id >= {floor}
			OR EXISTS (SELECT FROM ks_held_build h WHERE h.id = l.id) OR EXISTS (SELECT FROM ks_deleted_build g WHERE g.id = l.id);
		INSERT INTO ks_covered_build SELECT DISTINCT l.id FROM ks_shrunk_build l
		WHERE l.id IN (SELECT id FROM ks_named_build)
			OR EXISTS (SELECT FROM {s} s WHERE s.build_id = l.id AND s.tag_id IN (SELECT tag_id FROM ks_scope_tag))
			OR EXISTS (SELECT FROM {t} t WHERE t.build_id = l.id AND t.tag_id IN (SELECT tag_id FROM ks_scope_tag) AND t.create_event < {floor}
				AND (t.active OR t.revoke_event >= {floor}))
			OR coalesce((SELECT s.state FROM ks_build s WHERE s.id = l.id), (SELECT v.state FROM kojisnap.placed_volume v WHERE v.build_id = l.id)) IN (0, 3, 4)`)
	return err
}
