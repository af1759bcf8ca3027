// Package loadtx is what the steps of a load share: the transaction, the temporary tables, and the report. It knows
// none of the steps.
package loadtx

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Load is what all steps of one attempt at a load share: the transaction, what is known of the database and of
// the snapshot, what the temporary tables hold, and the report. One goroutine uses it.
type Load struct {
	Tx         pgx.Tx
	Mark       *book.Mark
	Schema     *kojidb.Schema
	IDColumns  []kojidb.IDColumn // what gives out ids
	NoIdentity map[string]bool   // tables without a replica identity

	Snap *snapfile.Snapshot
	Base *snapfile.Snapshot // what the database holds, where only what changed since is read; nil: all is
	// Imported are the relations whose rows a full import has copied to Koji's tables, with their numbers. Base is then
	// Snap itself: nothing of these relations has changed. All rows of the other ones are read. nil: no full import.
	Imported map[string]int64

	Rows    map[string]int64 // by relation: how many rows of the snapshot were read
	Deleted map[string]int64 // by relation: how many rows production deleted since the base
	Filled  map[string]bool  // the temporary tables that got rows
	made    map[string]bool  // the temporary tables of relations that are there; see None

	Report *book.LoadReport
	Counts Counts
	event  int64 // see StagingEvent; 0 before the first call
}

// ExpandSQL replaces the placeholders of SQL about a relation. {t} is Koji's table, {r} the relation's name;
// {s}, {revoked} and {deleted} are its temporary tables, see Staged, Revoked and Deleted. {key} is the
// condition that rows of t and s are the same. {floor}, {E} and {user} are the floor, the snapshot's event,
// and the id of the user kojisnap. pairs are further names and values.
func (l *Load) ExpandSQL(r *relation.Relation, sql string, pairs ...string) string {
	return sqltext.Expand(sql, append([]string{"t", sqltext.QuoteIdent(r.Name), "s", l.Table(Staged(r)), "revoked", l.Table(Revoked(r)), "deleted", l.Table(Deleted(r)), "r", sqltext.QuoteLiteral(r.Name), "key", sqltext.Equal("t", "s", r.Key),
		"floor", sqltext.Int(l.Mark.Floor), "E", sqltext.Int(l.Snap.Manifest.Event), "user", sqltext.Int(l.Mark.User)}, pairs...)...)
}

// ExecSQL runs expanded SQL and returns the number of rows that its last statement changed.
func (l *Load) ExecSQL(ctx context.Context, r *relation.Relation, sql string, pairs ...string) (int64, error) {
	tag, err := l.Tx.Exec(ctx, l.ExpandSQL(r, sql, pairs...))
	return tag.RowsAffected(), err
}

// RelationsIn returns the relations that the column relation of a table has, by name.
func (l *Load) RelationsIn(ctx context.Context, table string) ([]*relation.Relation, error) {
	rows, err := l.Tx.Query(ctx, "SELECT DISTINCT relation FROM "+table+" ORDER BY 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*relation.Relation, error) {
		var name string
		err := row.Scan(&name)
		return relation.Get(name), err
	})
}

// Usable returns the columns of a relation that loads write: those that the table has, except ids of tables
// that no snapshot has.
func (l *Load) Usable(r *relation.Relation) []string {
	var out []string
	for _, c := range l.Schema.Columns(r) {
		if !c.External {
			out = append(out, c.Name)
		}
	}
	return out
}

// Given returns the usable columns that production's hub has. For others, which its release lacked, the
// snapshot has defaults: new rows get those, other rows keep what they have.
func (l *Load) Given(r *relation.Relation) []string {
	var out []string
	for _, name := range l.Usable(r) {
		if l.Snap.Manifest.Has(r.Columns[r.Index(name)]) {
			out = append(out, name)
		}
	}
	return out
}

// HasRows reports whether there are rows to change or delete; from is their FROM. It asks only where
// PostgreSQL refuses the statement even for no rows: on a published table without a replica identity.
func (l *Load) HasRows(ctx context.Context, r *relation.Relation, from string, pairs ...string) (bool, error) {
	if !l.NoIdentity[r.Name] {
		return true, nil
	}
	var some bool
	err := l.Tx.QueryRow(ctx, l.ExpandSQL(r, "SELECT EXISTS (SELECT FROM "+from+")", pairs...)).Scan(&some)
	return some, err
}

// Delta reports whether the temporary table of a relation has only what changed since the base. Names are
// always read whole, as they are few and other rows are judged by them. So are the configs that are in the
// scope for more than their own tag.
func (l *Load) Delta(r *relation.Relation) bool {
	if l.Base == nil || r.Named() && r.Name != "package" {
		return false
	}
	if l.Imported != nil {
		_, is := l.Imported[r.Name]
		return is
	}
	return r.Name != "build_target_config" && r.Name != "external_repo_config"
}

// StagingEvent returns the event of this load. The first call takes it from staging's sequence.
func (l *Load) StagingEvent(ctx context.Context) (int64, error) {
	if l.event != 0 {
		return l.event, nil
	}
	err := l.Tx.QueryRow(ctx, "INSERT INTO events (time) VALUES (clock_timestamp()) RETURNING id").Scan(&l.event)
	if err == nil && l.event < l.Mark.Floor {
		err = fmt.Errorf("the sequence of events gave %d, below the floor %d", l.event, l.Mark.Floor)
	}
	return l.event, err
}
