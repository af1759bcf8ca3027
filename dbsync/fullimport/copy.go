package fullimport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// CompleteVolumes returns the names of production's volumes on which a snapshot has complete builds, sorted by nothing.
// names has the volumes by id; a build on another volume is an error.
func CompleteVolumes(ctx context.Context, snap *snapfile.Snapshot, names map[string]string) ([]string, error) {
	r := relation.Get("build")
	volume, state := r.Index("volume_id"), r.Index("state")
	seen := map[string]bool{}
	var out []string
	rows := snap.Rows(ctx, "build")
	defer rows.Close()
	var row [][]byte
	for rows.Next() {
		var err error
		if row, err = rows.Fields(row); err != nil {
			return nil, err
		}
		name, known := names[string(row[volume])]
		switch {
		case !known:
			return nil, fmt.Errorf("build id=%q stands on volume %q, which the snapshot does not have", row[0], row[volume])
		case string(row[state]) == complete && !seen[name]:
			seen[name] = true
			out = append(out, name)
		}
	}
	return out, rows.Err()
}

// copyTable copies a relation's rows into its table, which must be empty but for what is left of an attempt before.
func (im *Import) copyTable(ctx context.Context, conn *pgx.Conn, r *relation.Relation, read func(int64)) error {
	var n int64
	err := im.step(ctx, conn, func(tx pgx.Tx) (err error) {
		t := im.table[r]
		if _, err := tx.Exec(ctx, "LOCK TABLE "+t+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		where := ""
		if r.Name == "events" {
			where = " WHERE id < " + sqltext.Int(im.mark.Floor)
		}
		var foreign bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+t+where+")").Scan(&foreign); err != nil {
			return err
		}
		if foreign {
			return fmt.Errorf("table %s has got rows that are not of this import: stop staging's hub until the import is done, delete them, then go on with kojisnap load --snapshot %s", t, im.snap.ID)
		}
		if err := empty(ctx, tx, t, r, im.mark.Floor); err != nil {
			return err
		}
		convert := newConverter(r, im.mark.Floor, im.snap.Manifest.Event, im.ids)
		if r.Name == "build" {
			var text []byte
			convert.volume = func(row [][]byte) []byte {
				text = strconv.AppendInt(text[:0], int64(im.Volumes.volumeOf(r, row)), 10)
				return text
			}
		}
		n, err = im.copyRows(ctx, tx, r, t, r.ColumnNames(), convert.line, read)
		if err == nil && r.Name == "build" {
			_, err = im.copyRows(ctx, tx, r, placedVolume, []string{"build_id", "production", "volume_id", "state", "draft"}, im.placedVolume(r), nil)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO kojisnap.import_table (relation, rows, kept) VALUES ($1, $2, $3)", r.Name, n, !keeps(r))
		return err
	})
	if err == nil {
		im.copiedNow.Lock()
		defer im.copiedNow.Unlock()
		im.copied[r.Name] = n
	}
	return err
}

// placedVolume makes of a build's row that of kojisnap.placed_volume.
func (im *Import) placedVolume(r *relation.Relation) func([]byte) ([]byte, error) {
	volume, state, draft := r.Index("volume_id"), r.Index("state"), r.Index("draft")
	var row [][]byte
	var line []byte
	return func(from []byte) (_ []byte, err error) {
		if row, err = snapfile.ParseLine(bytes.Clone(from[:len(from)-1]), row); err != nil {
			return nil, err
		}
		if len(row) != len(r.Columns) {
			return nil, fmt.Errorf("a row of %d fields", len(row))
		}
		line = snapfile.AppendLine(line[:0], [][]byte{row[0], []byte(im.Volumes.Names[string(row[volume])]),
			strconv.AppendInt(nil, int64(im.Volumes.volumeOf(r, row)), 10), row[state], row[draft]})
		return line, nil
	}
}

// copyRows copies a relation's converted rows into a table that was emptied in this transaction.
func (im *Import) copyRows(ctx context.Context, tx pgx.Tx, r *relation.Relation, into string, columns []string, convert func([]byte) ([]byte, error), read func(int64)) (int64, error) {
	rows := im.rows(ctx, r)
	defer rows.Close()
	if into == placedVolume {
		if _, err := tx.Exec(ctx, "TRUNCATE ONLY "+into); err != nil {
			return 0, err
		}
	}
	from := &reader{from: rows, convert: convert, read: read}
	tag, err := dbconn.CopyFrom(ctx, tx.Conn(), from, "COPY "+into+" ("+sqltext.Columns("", columns)+") FROM STDIN (FREEZE)")
	if wrong := from.wrong(); wrong != nil {
		err = wrong // PostgreSQL's error is only the consequence
	}
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", r.Name, im.copyError(ctx, r, err))
	}
	return tag.RowsAffected(), nil
}

// rows opens a relation's rows. Of checksums those count whose signature the snapshot has.
func (im *Import) rows(ctx context.Context, r *relation.Relation) loadtx.LineReader {
	if r.Name == checksums {
		return loadtx.NewSignedSums(im.snap.Rows(ctx, r.Name), im.snap.Rows(ctx, "rpmsigs"), false)
	}
	return im.snap.Rows(ctx, r.Name)
}

var copyLine = regexp.MustCompile(`, line (\d+)(?:, column (\S+))?`)

// copyError names the row that COPY refused, where PostgreSQL only gives the line.
func (im *Import) copyError(ctx context.Context, r *relation.Relation, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !dbconn.IsConstraint(pg.Code) {
		return err
	}
	said := pg.Message
	if at := copyLine.FindStringSubmatch(pg.Where); at != nil {
		n, _ := strconv.Atoi(at[1])
		if at[2] != "" {
			said = strings.TrimSuffix(at[2], ":") + ": " + said
		}
		said = im.rowAt(ctx, r, n) + ": " + said
	}
	return fmt.Errorf("%s (SQLSTATE %s); %s", said, pg.Code, im.cure())
}

// cure says what to do about rows that the tables refuse.
func (im *Import) cure() string {
	return fmt.Sprintf("database %q stays marked as one that an import fills: correct that in production, pull again, and begin anew with kojisnap load --import restart; "+
		"or load with --import never, which leaves out such a row with all that refers to it", im.database)
}

// rowAt names the n-th row.
func (im *Import) rowAt(ctx context.Context, r *relation.Relation, n int) string {
	rows := im.rows(ctx, r)
	defer rows.Close()
	for i := 1; rows.Next(); i++ {
		if i == n {
			c := &converter{rel: r, row: bytes.Split(bytes.TrimSuffix(rows.Line(), []byte("\n")), []byte("\t"))}
			if len(c.row) == len(r.Columns) {
				return c.key()
			}
			break
		}
	}
	return fmt.Sprintf("row %d", n)
}

// keeps reports whether kojisnap keeps something of each row.
func keeps(r *relation.Relation) bool { return r.InPlace || kojidb.Keyed(r) }

// keep records what kojisnap keeps of a relation's rows: hashes, or their keys.
func (im *Import) keep(ctx context.Context, conn *pgx.Conn, r *relation.Relation) error {
	return im.step(ctx, conn, func(tx pgx.Tx) error {
		sql := "TRUNCATE ONLY {p}; INSERT INTO {p} ({keys}) SELECT {keys} FROM {t} t"
		if r.InPlace {
			sql = "INSERT INTO kojisnap.placed (relation, id, hash) SELECT {r}, t.{id}, {hash} FROM {t} t WHERE t.{id} < {floor}"
		}
		if _, err := tx.Exec(ctx, sqltext.Expand(sql, "p", book.PlacedKeys(r), "keys", sqltext.Columns("", r.Key), "t", im.table[r], "r", sqltext.QuoteLiteral(r.Name),
			"id", sqltext.QuoteIdent(r.Columns[0].Name), "hash", im.hash[r], "floor", sqltext.Int(im.mark.Floor))); err != nil {
			return fmt.Errorf("keep records of %s: %w", r.Name, err)
		}
		_, err := tx.Exec(ctx, "UPDATE kojisnap.import_table SET kept = true WHERE relation = $1", r.Name)
		return err
	})
}
