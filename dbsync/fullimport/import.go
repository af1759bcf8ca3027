package fullimport

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/loadtx"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Import is one session's work on a full import.
type Import struct {
	Volumes  *Volumes // where builds go; the caller sets it, as the next two; nil if BuildsCopied
	Log      *slog.Logger
	Progress progress.Progress
	Sessions int // how many work at once; below 1: DefaultSessions

	snap      *snapfile.Snapshot
	mark      *book.Mark
	database  string
	session   string
	relations []*relation.Relation
	table     map[*relation.Relation]string
	hash      map[*relation.Relation]string  // the SQL of what kojisnap.placed keeps of the rows t
	ids       map[string]map[string][]byte   // by relation: staging's ids where they differ from production's
	counts    map[string]book.RelationReport // of the names
	copied    map[string]int64               // rows of the relations that are there already
	kept      map[string]bool                // relations of which kojisnap has what it keeps
	copiedNow sync.Mutex                     // for copied, while Run works
	dropped   bool
	objects   []object
	connect   func(context.Context) (*pgx.Conn, error)
}

// DefaultSessions is how many sessions copy unless the caller says otherwise.
const DefaultSessions = 4

// Begin marks the database, in the transaction that has merged the names, and records what is to be dropped. The import begins when the transaction is committed.
func Begin(ctx context.Context, l *loadtx.Load) error {
	counts, err := json.Marshal(l.Counts)
	if err != nil {
		return err
	}
	// After Undo the mark is there already, and what was dropped is on record.
	tag, err := l.Tx.Exec(ctx, `UPDATE kojisnap.import SET snapshot = $1, event = $2, who = $3, counts = $4, started = clock_timestamp()`,
		l.Snap.ID, int32(l.Snap.Manifest.Event), book.Who(), string(counts))
	if err != nil || tag.RowsAffected() > 0 {
		return err
	}
	if _, err := l.Tx.Exec(ctx, `INSERT INTO kojisnap.import (snapshot, event, who, session, counts) VALUES ($1, $2, $3, '', $4)`,
		l.Snap.ID, int32(l.Snap.Manifest.Event), book.Who(), string(counts)); err != nil {
		return err
	}
	return saveObjects(ctx, l)
}

// Join takes an import over that was begun, maybe in this very transaction: no other session works on it any more once
// the transaction is committed.
func Join(ctx context.Context, l *loadtx.Load) (*Import, error) {
	im := &Import{snap: l.Snap, mark: l.Mark, database: l.Tx.Conn().Config().Database, session: rand.Text(), relations: Relations(l), table: map[*relation.Relation]string{},
		hash: map[*relation.Relation]string{}, ids: map[string]map[string][]byte{}, copied: map[string]int64{}, kept: map[string]bool{}, Log: slog.New(slog.DiscardHandler)}
	config := l.Tx.Conn().Config()
	im.connect = func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, config.Copy()) }
	for _, r := range im.relations {
		im.table[r] = table(l, r)
		if r.InPlace {
			im.hash[r] = loadtx.HashOf("t", l.Hashed(r))
		}
	}
	var counts []byte
	if err := l.Tx.QueryRow(ctx, "UPDATE kojisnap.import SET session = $1 RETURNING dropped, counts", im.session).Scan(&im.dropped, &counts); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(counts, &im.counts); err != nil {
		return nil, err
	}
	return im, im.read(ctx, l.Tx)
}

// read reads how far the import is, and the ids of names. A session that worked on it before may have committed a step
// after the transaction of Join began, so Run reads it once more.
func (im *Import) read(ctx context.Context, tx pgx.Tx) (err error) {
	rows, err := tx.Query(ctx, "SELECT relation, rows, kept FROM kojisnap.import_table")
	if err != nil {
		return err
	}
	var name string
	var n int64
	var kept bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &n, &kept}, func() error { im.copied[name], im.kept[name] = n, kept; return nil }); err != nil {
		return err
	}
	if rows, err = tx.Query(ctx, "SELECT relation, prod_id, staging_id FROM kojisnap.idmap WHERE prod_id <> staging_id AND relation <> 'volume'"); err != nil {
		return err
	}
	var from, to int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &from, &to}, func() error {
		if im.ids[name] == nil {
			im.ids[name] = map[string][]byte{}
		}
		im.ids[name][strconv.FormatInt(from, 10)] = strconv.AppendInt(nil, to, 10)
		return nil
	}); err != nil {
		return err
	}
	im.objects, err = readObjects(ctx, tx)
	return err
}

// BuildsCopied reports whether the builds are in, so that nothing more depends on Volumes.
func (im *Import) BuildsCopied() bool { _, in := im.copied["build"]; return in }

// Counts returns the rows that each copied relation has got, and the numbers of the names.
func (im *Import) Counts() (copied map[string]int64, names map[string]book.RelationReport) {
	return im.copied, im.counts
}

// Finish clears the mark, in the transaction with which all is done.
func Finish(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "DELETE FROM kojisnap.import; DELETE FROM kojisnap.import_table; DELETE FROM kojisnap.import_object")
	return err
}

// Undo empties the tables of an import that was begun, so that it can begin anew, also with another snapshot. The
// names stay, as after a load.
func Undo(ctx context.Context, l *loadtx.Load) error {
	if err := patient(ctx, l.Tx); err != nil {
		return err
	}
	if err := dropObjects(ctx, l.Tx); err != nil {
		return err
	}
	for _, r := range copiedRelations(l) {
		if err := empty(ctx, l.Tx, table(l, r), r, l.Mark.Floor); err != nil {
			return err
		}
		sql := sqltext.Expand("DELETE FROM kojisnap.placed WHERE relation = {r}", "r", sqltext.QuoteLiteral(r.Name))
		switch {
		case kojidb.Keyed(r):
			sql = "TRUNCATE " + book.PlacedKeys(r)
		case r.Name == "build":
			sql += "; TRUNCATE " + placedVolume
		}
		if _, err := l.Tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	_, err := l.Tx.Exec(ctx, "DELETE FROM kojisnap.import_table")
	return err
}

// Abandon undoes an import that was begun: its tables are empty, and as they were.
func Abandon(ctx context.Context, l *loadtx.Load) error {
	if err := Undo(ctx, l); err != nil {
		return err
	}
	all, err := readObjects(ctx, l.Tx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if err := o.make(ctx, l.Tx); err != nil {
			return fmt.Errorf("%s %q of %s: %w", o.Kind, o.Name, o.Table, err)
		}
	}
	for _, o := range all {
		if o.Kind != foreign || !o.Validated {
			continue
		}
		if err := o.validate(ctx, l.Tx); err != nil {
			return fmt.Errorf("foreign key %q of %s: %w", o.Name, o.Table, err)
		}
	}
	return Finish(ctx, l.Tx)
}

// empty empties a table but for staging's own events.
func empty(ctx context.Context, tx pgx.Tx, table string, r *relation.Relation, floor int64) error {
	sql := "TRUNCATE ONLY {t}"
	if r.Name == "events" {
		sql = `CREATE TEMP TABLE ks_own_events ON COMMIT DROP AS SELECT * FROM {t} WHERE id >= {floor};
			TRUNCATE ONLY {t}; INSERT INTO {t} OVERRIDING SYSTEM VALUE SELECT * FROM ks_own_events`
	}
	_, err := tx.Exec(ctx, sqltext.Expand(sql, "t", table, "floor", sqltext.Int(floor)))
	return err
}

// patient lets a transaction wait longer for locks than loads do: it drops and makes what a hub that runs has locked,
// for a moment, and its tables have nothing yet that a client would ask for. If this program is killed, the server
// looks for it every few seconds (since PostgreSQL 14), and not only when a statement has ended.
func patient(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '20s'; SET LOCAL maintenance_work_mem = '256MB';
		SELECT set_config(name, '5s', true) FROM (VALUES ('client_connection_check_interval')) v (name) WHERE current_setting(name, true) IS NOT NULL`)
	return err
}

// tries is how often a step is tried that meets locks.
const tries = 5

// step runs a step of the import in a transaction, which fn records itself, and commits it. It begins again if locks are
// in the way.
func (im *Import) step(ctx context.Context, conn *pgx.Conn, fn func(tx pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := im.once(ctx, conn, fn)
		if code := dbconn.SQLState(err); code != "55P03" && code != "40P01" || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 100 * time.Millisecond):
		}
	}
}

func (im *Import) once(ctx context.Context, conn *pgx.Conn, fn func(tx pgx.Tx) error) error {
	tx, err := dbconn.Begin(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer dbconn.End(ctx, tx)
	if err := patient(ctx, tx); err != nil {
		return err
	}
	var ours bool
	if err := tx.QueryRow(ctx, "SELECT count(*) > 0 FROM (SELECT FROM kojisnap.import WHERE session = $1 FOR SHARE) i", im.session).Scan(&ours); err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("the full import goes on elsewhere: %w", lockfile.ErrLocked)
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
