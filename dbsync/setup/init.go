// Package setup marks a database as staging (Init), once, before the first load.
package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Options says how to mark a database. Env is required.
type Options struct {
	Env   string // what the staging environment is called
	Floor int64  // where staging's ids begin; 0 is DefaultFloor

	// Adopt takes a database that already has builds: its rows below the floor are taken for
	// production's. Confirm must then name the database as DBNAME@SYSTEM_IDENTIFIER.
	Adopt bool
	// Moved takes a database that carries the mark of the one that it was before it was moved (by
	// pg_upgrade, by dump and restore, to another server). The mark is renewed, all else that the schema
	// kojisnap has on record stays. Confirm must name the database as for Adopt. It is refused if the
	// original is still there, on the same server.
	Moved   bool
	Confirm string

	DryRun bool         // say what would be done, change nothing
	Log    *slog.Logger // nil discards
}

// Report says what Init did or, in a dry run, would do.
type Report struct {
	Mark    book.Mark      `json:"mark"`
	Already bool           `json:"already"`           // the database was marked before: nothing was done
	Renewed bool           `json:"renewed,omitempty"` // it was moved, and its mark is its own again
	DryRun  bool           `json:"dry_run,omitempty"`
	Release string         `json:"koji_schema"` // the Koji release whose schema it is, at least
	Seeds   map[string]int `json:"seeds,omitempty"`
	Moved   []Move         `json:"moved,omitempty"`
	Notes   []string       `json:"notes,omitempty"`
}

// Move is a row that was moved above the floor.
type Move struct {
	Relation string `json:"relation"`
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Name     string `json:"name,omitempty"`
}

// seeded are the relations that have rows in a fresh schema. The rows that they have at init stay where they
// are, and count as staging's.
var seeded = []string{"permissions", "channels", "volume", "btype", "archivetypes", "external_repo"}

// occupied are the tables that must be empty, or else the database must be adopted.
var occupied = []string{"build", "rpminfo", "archiveinfo", "task", "repo", "buildroot"}

// Init marks the database as staging: it writes the mark, raises the sequences to the floor, moves earlier
// rows above the floor, and inserts the user kojisnap. All of it is one transaction. A database that is marked
// already is left as it is. Errors to tell apart: book.ErrNotStaging, lockfile.ErrLocked,
// *retry.TemporaryError.
func Init(ctx context.Context, conn *pgx.Conn, opt Options) (*Report, error) {
	if opt.Floor == 0 {
		opt.Floor = book.DefaultFloor
	}
	if err := CheckEnvironment(opt.Env); err != nil {
		return nil, err
	}
	if opt.Floor < 1000 || opt.Floor >= 1<<31-1_000_000 {
		return nil, fmt.Errorf("sequence floor %d is not between 1000 and %d (Koji's ids have 31 bits)", opt.Floor, 1<<31-1_000_000)
	}
	var rep *Report
	// At READ COMMITTED, so that what others committed before our locks is seen.
	err := dbconn.Transact(ctx, conn, pgx.ReadCommitted, func(tx pgx.Tx, _ bool) (bool, error) {
		i := &initer{tx: tx, opt: opt, rep: &Report{DryRun: opt.DryRun, Seeds: map[string]int{}}}
		rep = i.rep
		err := i.run(ctx)
		return !opt.DryRun && !i.rep.Already, err
	})
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if opt.Log != nil {
		opt.Log.InfoContext(ctx, "database is marked as staging", "env", rep.Mark.Environment, "already", rep.Already, "moved", len(rep.Moved))
	}
	return rep, nil
}

var environmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// CheckEnvironment refuses a name that not all of kojisnap's steps can use for an environment: it is part of
// the names of objects in a store.
func CheckEnvironment(name string) error {
	if !environmentName.MatchString(name) {
		return fmt.Errorf("environment %q: want lower case letters, digits, - and _", name)
	}
	return nil
}

// initer is one attempt at marking a database.
type initer struct {
	tx     pgx.Tx
	opt    Options
	rep    *Report
	schema *kojidb.Schema
}

func (i *initer) run(ctx context.Context) error {
	here, err := book.Identity(ctx, i.tx)
	if err != nil {
		return err
	}
	if i.schema, err = kojidb.ReadSchema(ctx, i.tx); err != nil {
		return err
	}
	if err := i.schema.CheckKoji(here.Database); err != nil {
		return err
	}
	i.rep.Release = i.schema.Release().String()
	if i.rep.Notes, err = kojidb.TriggerNotes(ctx, i.tx, i.schema.Namespace); err != nil {
		return err
	}
	if i.tx, err = kojidb.WatchTriggers(ctx, i.tx, i.schema.Namespace); err != nil {
		return err
	}
	mark, err := book.ReadAnyMark(ctx, i.tx)
	if i.opt.Moved && errors.Is(err, book.ErrNotStaging) {
		return i.renew(ctx, here)
	}
	switch {
	case err == nil && mark.Environment != i.opt.Env:
		return fmt.Errorf("database %q is marked as environment %q already, not %q", here.Database, mark.Environment, i.opt.Env)
	case err == nil:
		i.rep.Mark, i.rep.Already = *mark, true
		return nil
	case !errors.Is(err, book.ErrNotStaging):
		return err
	}
	if err := i.checkEncoding(ctx, here.Database); err != nil {
		return err
	}
	notes, err := i.schema.CheckFits()
	if err != nil {
		return err
	}
	i.rep.Notes = append(i.rep.Notes, notes...)
	if err := i.adoptable(ctx, here); err != nil {
		return err
	}
	return i.mark(ctx, here)
}

// checkEncoding refuses an encoding other than UTF8: production's texts may not fit.
func (i *initer) checkEncoding(ctx context.Context, database string) error {
	var encoding string
	if err := i.tx.QueryRow(ctx, "SHOW server_encoding").Scan(&encoding); err != nil || encoding == "UTF8" {
		return err
	}
	return fmt.Errorf("database %q has the encoding %s, which does not hold all that production has: make it anew with ENCODING 'UTF8' (CREATE DATABASE … TEMPLATE template0), then dump and restore", database, encoding)
}

// adoptable refuses a database that has builds or another database's mark, unless the caller confirmed it by
// name.
func (i *initer) adoptable(ctx context.Context, here book.Mark) error {
	var copied bool
	if err := i.tx.QueryRow(ctx, "SELECT to_regnamespace('kojisnap') IS NOT NULL").Scan(&copied); err != nil {
		return err
	}
	var full []string
	for _, t := range occupied {
		var has bool
		if err := i.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+sqltext.QuoteIdent(t)+")").Scan(&has); err != nil {
			return err
		}
		if has {
			full = append(full, t)
		}
	}
	want := here.Database + "@" + here.System
	switch {
	case copied && !i.opt.Adopt:
		return fmt.Errorf("database %q carries the mark of another database, so it is a copy; to make it a staging of its own, adopt it: --adopt --confirm %s: %w", here.Database, want, book.ErrNotStaging)
	case len(full) > 0 && !i.opt.Adopt:
		return fmt.Errorf("database %q has rows in %s: it may be production's; if it is staging, adopt it: --adopt --confirm %s", here.Database, strings.Join(full, ", "), want)
	case i.opt.Adopt && i.opt.Confirm != want:
		return fmt.Errorf("adopting database %q needs the confirmation %s, not %q", here.Database, want, i.opt.Confirm)
	case copied:
		_, err := i.tx.Exec(ctx, "DROP SCHEMA kojisnap CASCADE")
		return err
	}
	return nil
}

// mark makes the schema kojisnap and moves rows above the floor.
func (i *initer) mark(ctx context.Context, here book.Mark) error {
	if err := i.lock(ctx); err != nil {
		return err
	}
	if _, err := i.tx.Exec(ctx, book.MigrationSQL(0)); err != nil {
		return err
	}
	if err := i.seeds(ctx); err != nil {
		return err
	}
	if !i.opt.Adopt {
		low, err := i.low(ctx)
		if err != nil {
			return err
		}
		for _, r := range low {
			if err := i.move(ctx, r); err != nil {
				return fmt.Errorf("move rows of %s: %w", r.Name, err)
			}
		}
	}
	user, err := i.user(ctx)
	if err != nil {
		return fmt.Errorf("user %s: %w", book.User, err)
	}
	m := book.Mark{Environment: i.opt.Env, Database: here.Database, OID: here.OID, System: here.System,
		Floor: i.opt.Floor, Adopted: i.opt.Adopt, User: user, Format: book.Format}
	err = i.tx.QueryRow(ctx, `INSERT INTO kojisnap.mark (format, environment, database, oid, system_identifier, floor, adopted, user_id, marked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp()) RETURNING marked_at`,
		book.Format, m.Environment, m.Database, int64(m.OID), m.System, m.Floor, m.Adopted, m.User).Scan(&m.MarkedAt)
	if err != nil {
		return err
	}
	m.MarkedAt = m.MarkedAt.UTC()
	i.rep.Mark = m
	if i.opt.DryRun {
		return nil // setval is not undone by a rollback
	}
	return kojidb.RaiseSequences(ctx, i.tx, i.opt.Floor)
}

// lock keeps the hub from inserting rows with low ids meanwhile. Readers do not wait.
func (i *initer) lock(ctx context.Context) error {
	tables := []string{sqltext.QuoteIdent("task"), sqltext.QuoteIdent("repo"), sqltext.QuoteIdent("buildroot")}
	for _, r := range relation.All() {
		if r.Columns[0].Name == "id" {
			tables = append(tables, sqltext.QuoteIdent(r.Name))
		}
	}
	_, err := i.tx.Exec(ctx, "LOCK TABLE "+strings.Join(tables, ", ")+" IN SHARE ROW EXCLUSIVE MODE")
	return err
}

// seeds records the rows that are staging's though their ids are below the floor. An adopted database has only
// the two that Koji's code knows by id 0.
func (i *initer) seeds(ctx context.Context) error {
	for _, name := range seeded {
		where := "id < $1"
		if name == "external_repo" || i.opt.Adopt && name != "volume" {
			where = "id = 0 AND id < $1"
		}
		tag, err := i.tx.Exec(ctx, "INSERT INTO kojisnap.seed SELECT "+sqltext.QuoteLiteral(name)+", id, name FROM "+sqltext.QuoteIdent(name)+" WHERE "+where, i.opt.Floor)
		if err != nil {
			return err
		}
		if n := tag.RowsAffected(); n > 0 {
			i.rep.Seeds[name] = int(n)
		}
	}
	return nil
}

// user returns the id of the user kojisnap, which it inserts if it is not there.
func (i *initer) user(ctx context.Context) (id int64, err error) {
	err = i.tx.QueryRow(ctx, "SELECT id FROM users WHERE name = $1", book.User).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	err = i.tx.QueryRow(ctx, `INSERT INTO users (id, name, status, usertype) OVERRIDING SYSTEM VALUE
		SELECT greatest($1, max(id) + 1), $2, 1, 0 FROM users RETURNING id`, i.opt.Floor, book.User).Scan(&id)
	return id, err
}
