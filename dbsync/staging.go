package dbsync

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// stager fills the temporary tables of the snapshot's rows.
//
// It reads the snapshot, the base, the snapshots between, and kojisnap.aside. It writes ks_RELATION,
// ks_revoked_RELATION and ks_deleted_RELATION, and says in Rows, Deleted and Filled what they got.
type stager struct {
	*attempt
	gap      string               // what is unknown about revocations because a snapshot is missing
	deferred map[string]bool      // relations of which kojisnap.aside has rows; nil: not known yet
	bridges  []*snapfile.Manifest // of the snapshots between the one that the database holds and this one, those whose revoked rows were read
}

// stage copies the snapshot's rows into one temporary table for each relation, and the revoked rows of each
// versioned one into another.
func (st *stager) stage(ctx context.Context) error {
	var total int64
	for _, r := range st.Snap.Manifest.Relations {
		if rel := relation.Get(r.Name); !rel.Optional && !st.Delta(rel) {
			total += r.Rows
		}
	}
	work := st.opt.Progress.Begin("read", total)
	defer work.End()
	if err := st.createStaged(ctx); err != nil {
		return err
	}
	for _, r := range relation.All() {
		of := st.Snap.Relation(r.Name)
		if st.Delta(r) {
			if err := st.stageChanges(ctx, r); err != nil {
				return err
			}
			continue
		}
		if of.Rows == 0 {
			continue
		}
		if err := st.stageAll(ctx, r, work); err != nil {
			return err
		}
	}
	return st.stageRevoked(ctx)
}

// stageNames stages only the relations whose rows are known by name.
func (st *stager) stageNames(ctx context.Context) error {
	work := st.opt.Progress.Begin("read", -1)
	defer work.End()
	if err := st.createStaged(ctx); err != nil {
		return err
	}
	for _, r := range relation.All() {
		if !r.Named() || st.Snap.Relation(r.Name).Rows == 0 {
			continue
		}
		if err := st.stageAll(ctx, r, work); err != nil {
			return err
		}
	}
	return nil
}

// stageAll stages all rows of a relation.
func (st *stager) stageAll(ctx context.Context, r *relation.Relation, work progress.Counter) error {
	rows := st.Snap.Rows(ctx, r.Name)
	defer rows.Close()
	n, err := st.copyIn(ctx, r, loadtx.Staged(r), r.ColumnNames(), rows)
	if err != nil {
		return err
	}
	st.Rows[r.Name] = n
	work.Add(n)
	return nil
}

// createStaged makes the temporary tables that are sure to get rows. The others are made when there is a row.
func (st *stager) createStaged(ctx context.Context) error {
	filled := map[string]*relation.Relation{}
	for _, r := range relation.All() {
		if !st.Delta(r) && st.Snap.Relation(r.Name).Rows > 0 {
			filled[loadtx.Staged(r)] = r
		}
	}
	return st.MakeTables(ctx, filled)
}

// copyIn fills a temporary table by COPY, and returns how many rows it got.
func (st *stager) copyIn(ctx context.Context, r *relation.Relation, table string, columns []string, rows lines) (int64, error) {
	begin := bufio.NewReader(rows)
	if _, err := begin.Peek(1); err == io.EOF && rows.Err() == nil {
		return 0, nil
	}
	if err := st.MakeTable(ctx, r, table); err != nil {
		return 0, err
	}
	tag, err := dbconn.CopyFrom(ctx, st.Tx.Conn(), begin, "COPY "+table+" ("+sqltext.Columns("", columns)+") FROM STDIN")
	// If the snapshot cannot be read, PostgreSQL's error is only the consequence.
	if cause := rows.Err(); cause != nil {
		err = cause
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", r.Name, st.copyError(ctx, r, table, err))
	}
	if tag.RowsAffected() > 0 {
		_, err = st.Tx.Exec(ctx, "ANALYZE "+table)
	}
	st.Filled[table] = tag.RowsAffected() > 0
	return tag.RowsAffected(), err
}

// copyMore adds rows in COPY's form to a temporary table.
func (st *stager) copyMore(ctx context.Context, r *relation.Relation, table string, rows *bytes.Buffer) (int64, error) {
	if rows.Len() == 0 {
		return 0, nil
	}
	if err := st.MakeTable(ctx, r, table); err != nil {
		return 0, err
	}
	tag, err := dbconn.CopyFrom(ctx, st.Tx.Conn(), rows, "COPY "+table+" ("+sqltext.Columns("", r.ColumnNames())+") FROM STDIN")
	st.Filled[table] = st.Filled[table] || tag.RowsAffected() > 0
	return tag.RowsAffected(), err
}

// lines are rows of a snapshot, or keys.
type lines interface {
	io.Reader
	Err() error
}

var copyLine = regexp.MustCompile(`, line (\d+)(?:, column (\S+))?`)

// copyError names the row whose values COPY refused, where PostgreSQL only gives the line. Such an error is
// the snapshot's, so trying again does not help.
func (st *stager) copyError(ctx context.Context, r *relation.Relation, table string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !dbconn.IsConstraint(pg.Code) {
		return err
	}
	at := copyLine.FindStringSubmatch(pg.Where)
	if at == nil {
		return err
	}
	n, _ := strconv.Atoi(at[1])
	what := ""
	if at[2] != "" {
		what = strings.TrimSuffix(at[2], ":") + ": "
	}
	return fmt.Errorf("%s: %s%s (SQLSTATE %s)", st.rowAt(ctx, r, table, n), what, pg.Message, pg.Code)
}

// rowAt names the n-th row that was copied into a temporary table.
func (st *stager) rowAt(ctx context.Context, r *relation.Relation, table string, n int) string {
	var rows interface {
		Next() bool
		Line() []byte
		Close() error
	}
	switch {
	case table == loadtx.Revoked(r):
		rows = st.Snap.Revoked(ctx, r.Name)
	case st.Delta(r):
		rows = st.Snap.Changed(ctx, st.Base, r.Name)
	default:
		rows = st.Snap.Rows(ctx, r.Name)
	}
	defer rows.Close()
	for i := 0; rows.Next(); {
		if i++; i < n {
			continue
		}
		fields, err := snapfile.ParseLine(bytes.TrimSuffix(rows.Line(), []byte("\n")), nil)
		if err != nil || len(fields) != len(r.Columns) {
			break
		}
		var key []string
		for _, k := range r.KeyIndexes() {
			key = append(key, fmt.Sprintf("%s=%.100q", r.Columns[k].Name, fields[k]))
		}
		return strings.Join(key, " ")
	}
	return fmt.Sprintf("row %d", n)
}
