package dbsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// stageChanges fills the temporary tables of one relation from the difference to the base: changed rows, keys
// of deleted rows, and the rows that earlier loads deferred.
func (st *stager) stageChanges(ctx context.Context, r *relation.Relation) error {
	if !st.Snap.Filtered() && !st.Base.Filtered() && slices.Equal(st.Snap.Relation(r.Name).Segments, st.Base.Relation(r.Name).Segments) {
		return st.stageDeferred(ctx, r)
	}
	changed := st.Snap.Changed(ctx, st.Base, r.Name)
	defer changed.Close()
	n, err := st.copyIn(ctx, r, loadtx.Staged(r), r.ColumnNames(), changed)
	if errors.As(err, new(*snapfile.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
		return errNeedAllRows // it may be only the base; if not, all rows meet the error again
	}
	if err != nil {
		return err
	}
	st.Rows[r.Name] = n
	keys := st.Snap.Gone(ctx, st.Base, r.Name)
	defer keys.Close()
	n, err = st.copyIn(ctx, r, loadtx.Deleted(r), r.Key, keys)
	if err != nil {
		return err
	}
	st.Deleted[r.Name] = n
	return st.stageDeferred(ctx, r)
}

// stageDeferred adds rows that did not change, but that this load must look at: those that an earlier load
// deferred, and the taggings of builds that staging reset, as the reset may have deleted them here. The key of
// a deferred row that the snapshot no longer has counts as deleted.
func (st *stager) stageDeferred(ctx context.Context, r *relation.Relation) error {
	want, reset, have, err := st.readDeferred(ctx, r, loadtx.Staged(r))
	if err != nil || len(want)+len(reset) == 0 {
		return err
	}
	all := st.Snap.Rows(ctx, r.Name)
	defer all.Close()
	found, err := deferredRows(r, all, want, reset, have)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Name, err)
	}
	n, err := st.copyMore(ctx, r, loadtx.Staged(r), found)
	st.Rows[r.Name] += n
	if err != nil || r.Name != "rpminfo" && r.Name != "archiveinfo" {
		return err
	}
	// What the snapshot does not have was spared when production deleted it.
	if err := st.MakeTable(ctx, r, loadtx.Deleted(r)); err != nil {
		return err
	}
	n, err = st.ExecSQL(ctx, r, `INSERT INTO {deleted} SELECT a.id FROM (SELECT DISTINCT key[1]::integer AS id FROM kojisnap.aside WHERE relation = {r}) a
		WHERE NOT EXISTS (SELECT FROM {s} s WHERE s.id = a.id) AND NOT EXISTS (SELECT FROM {deleted} w WHERE w.id = a.id)`)
	st.Deleted[r.Name] += n
	return err
}

// readDeferred returns what to look for in the snapshot: want are the keys of deferred rows that are not in
// the temporary table yet, reset the ids of builds that staging reset. have are the keys of rows of those
// builds that the table already has.
func (st *stager) readDeferred(ctx context.Context, r *relation.Relation, table string) (want, reset, have map[string]bool, err error) {
	if st.deferred == nil {
		noted, err := st.RelationsIn(ctx, "kojisnap.aside")
		if err != nil {
			return nil, nil, nil, err
		}
		st.deferred = map[string]bool{}
		for _, r := range noted {
			st.deferred[r.Name] = true
		}
	}
	if !st.deferred[r.Name] {
		reset, have, err = st.resetBuilds(ctx, r, table)
		return nil, reset, have, err
	}
	rows, err := st.Tx.Query(ctx, st.ExpandSQL(r, "SELECT DISTINCT key FROM kojisnap.aside a WHERE relation = {r} AND NOT EXISTS (SELECT FROM {table} s WHERE {array} = a.key)",
		"table", st.Table(table), "array", sqltext.KeyArray("s", r.Key)))
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
	reset, have, err = st.resetBuilds(ctx, r, table)
	return want, reset, have, err
}

// deferredRows reads all rows and returns, as COPY text, those that want names and those of the builds in
// reset that are not in have.
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

// resetBuilds returns, for taggings, the ids of production's builds that staging reset; its hub deleted their
// taggings. have are the keys of those taggings that the temporary table already has.
func (st *stager) resetBuilds(ctx context.Context, r *relation.Relation, table string) (reset, have map[string]bool, err error) {
	if r.Name != "tag_listing" {
		return nil, nil, nil
	}
	read := func(sql string) (map[string]bool, error) {
		rows, err := st.Tx.Query(ctx, st.ExpandSQL(r, sql, "table", st.Table(table)))
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

// stageRevokedDeferred does the same for revoked rows of the snapshot.
func (st *stager) stageRevokedDeferred(ctx context.Context, r *relation.Relation) error {
	want, reset, have, err := st.readDeferred(ctx, r, loadtx.Revoked(r))
	if err != nil || len(want)+len(reset) == 0 {
		return err
	}
	all := st.Snap.Revoked(ctx, r.Name)
	defer all.Close()
	found, err := deferredRows(r, all, want, reset, have)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Name, err)
	}
	_, err = st.copyMore(ctx, r, loadtx.Revoked(r), found)
	return err
}
