package loadtx

import (
	"context"
	"maps"
	"slices"
	"strings"

	"kojisnap/dbsync/kojidb"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// TempTables makes the temporary tables by which the steps of a load speak with each other. They last as long
// as the transaction. Ids and keys in them are staging's, once the names are merged.
//
// Each relation has further ones: see Staged, Revoked and Deleted. Some steps make tables for themselves,
// named after the relation, too: ks_leaving_, ks_hidden_, ks_place_ and ks_dropped_; and ks_lack. So does
// package apply: ks_desired_key, and ks_rules_, ks_ruled_, ks_outside_, ks_settled_, ks_desired_ and
// ks_replaced_ with the name of a table.
//
// PostgreSQL makes a second table and an index for each table with a column of unlimited text. The columns that
// hold names of relations are limited, to spare that.
const TempTables = `
	-- What the report and the bookkeeping tell of rows that did not go in as production has them.

	-- Rows that are left out, with the reason. conflict: staging holds their place; bad: there is something
	-- wrong with the row itself.
	CREATE TEMP TABLE ks_left_out (relation text, key text, conflict boolean, reason text, bad boolean) ON COMMIT DROP;
	-- Rows where staging's own decision stands against production's.
	CREATE TEMP TABLE ks_kept (relation text, key text, reason text) ON COMMIT DROP;
	-- Rows of an adopted database that this load overwrites though no load wrote them.
	CREATE TEMP TABLE ks_overwritten (relation text, key text, reason text) ON COMMIT DROP;
	-- Keys of rows that the next load looks at again, whether they change or not: kojisnap.aside stores them.
	CREATE TEMP TABLE ks_deferred (relation text, key text[]) ON COMMIT DROP;

	-- What becomes of rows with an id.

	-- Rows that are left out with all that refers to them.
	CREATE TEMP TABLE ks_skipped (relation varchar(63), id integer) ON COMMIT DROP;
	-- All rows that are left out: their row in Koji's table, if any, keeps its present name.
	CREATE TEMP TABLE ks_not_written (relation varchar(63), id integer) ON COMMIT DROP;
	-- Rows that staging changed in place since a load wrote them.
	CREATE TEMP TABLE ks_edited (relation varchar(63), id integer) ON COMMIT DROP;
	-- Rows of Koji's table that gave up their name to another one of production's.
	CREATE TEMP TABLE ks_parked (relation varchar(63), id integer) ON COMMIT DROP;
	-- Rpms and archives that production deleted, and that go.
	CREATE TEMP TABLE ks_doomed (relation varchar(63), id integer) ON COMMIT DROP;

	-- Builds.

	-- Builds of production's that staging made its own. hides: what production tagged is not what is there now.
	CREATE TEMP TABLE ks_held_build (id integer, reason text, hides boolean) ON COMMIT DROP;
	-- Builds that this load inserts.
	CREATE TEMP TABLE ks_new_build (id integer) ON COMMIT DROP;
	-- Builds that the snapshot was asked for by name.
	CREATE TEMP TABLE ks_named_build (id integer) ON COMMIT DROP;
	-- Builds below which production deleted rows since the base.
	CREATE TEMP TABLE ks_shrunk_build (id integer) ON COMMIT DROP;
	-- Builds whose rows the snapshot has completely: rows that it does not have, production deleted.
	CREATE TEMP TABLE ks_covered_build (id integer) ON COMMIT DROP;
	-- Builds whose files were copied.
	CREATE TEMP TABLE ks_copied_build (name text, version text, release text) ON COMMIT DROP;
	-- Staging's volume for the name of a volume of production's.
	CREATE TEMP TABLE ks_volume_map (production text, id integer) ON COMMIT DROP;

	-- Tags.

	-- The tags and external repos of the snapshot's scope.
	CREATE TEMP TABLE ks_scope_tag (tag_id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_scope_repo (id integer) ON COMMIT DROP;
	-- Tags whose config staging removed, with the event and the user of that.
	CREATE TEMP TABLE ks_removed_tag (tag_id integer, event integer, user_id integer) ON COMMIT DROP;
	-- Up to which event the history of a tag lacks a row.
	CREATE TEMP TABLE ks_history_hole (tag_id integer, event integer) ON COMMIT DROP;
	-- Tags that changed, and builds that changed in a way that their tags show.
	CREATE TEMP TABLE ks_touched_tag (tag_id integer) ON COMMIT DROP;
	CREATE TEMP TABLE ks_touched_build (id integer) ON COMMIT DROP;
`

// None is a temporary table with the columns of all relations that stays empty: it has no partition. It stands for
// the temporary tables of relations that have no rows, as to make each of those takes longer than all that a load
// of few changes does with them.
const None = "ks_none"

// always are the temporary tables that statements name.
var always = []string{"users", "external_repo", "volume", "build", "tag_listing", "tag_config"}

// MakeTables makes None, and the temporary tables of relations that are there in any case. names are further ones
// that are known to get rows.
func (l *Load) MakeTables(ctx context.Context, names map[string]*relation.Relation) error {
	types := map[string]string{"ks_production": "text", "ks_may_insert": "boolean"}
	names = maps.Clone(names)
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			switch t := kojidb.SQLType(c.Type); {
			case types[c.Name] == "":
				types[c.Name] = t
			case types[c.Name] != t:
				names[Staged(r)] = r // None cannot stand for it
			}
		}
		if slices.Contains(always, r.Name) {
			names[Staged(r)] = r
		}
	}
	if build := relation.Get("build"); l.Delta(build) {
		names[Deleted(build)] = build
	}
	var sql strings.Builder
	var none []string
	for _, c := range slices.Sorted(maps.Keys(types)) {
		none = append(none, sqltext.QuoteIdent(c)+" "+types[c])
	}
	sql.WriteString("CREATE TEMP TABLE " + None + " (" + sqltext.Join(none) + ") PARTITION BY LIST (id) ON COMMIT DROP;\n")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		sql.WriteString(definition(names[name], name))
	}
	_, err := l.Tx.Exec(ctx, sql.String())
	l.made = map[string]bool{}
	for name := range names {
		l.made[name] = true
	}
	return err
}

// MakeTable makes one of the temporary tables of a relation (Staged, Revoked or Deleted), unless it is there. It is
// called before rows are put in.
func (l *Load) MakeTable(ctx context.Context, r *relation.Relation, name string) error {
	if l.made[name] {
		return nil
	}
	_, err := l.Tx.Exec(ctx, definition(r, name))
	l.made[name] = true
	return err
}

// Table returns the name under which a temporary table of a relation can be read, and rows of it changed or deleted:
// that of None if it was not made.
func (l *Load) Table(name string) string {
	if l.made[name] {
		return name
	}
	return None
}

func definition(r *relation.Relation, name string) string {
	columns, extra := r.ColumnNames(), ""
	switch {
	case name == Deleted(r):
		columns = r.Key
	case name == Revoked(r):
		extra = ", ks_may_insert boolean"
	case r.Name == "build":
		extra = ", ks_production text"
	case r.Name == "rpm_checksum":
		extra = ", sighash text" // of the signature
	}
	defs := make([]string, len(columns))
	for i, c := range columns {
		defs[i] = sqltext.QuoteIdent(c) + " " + kojidb.SQLType(r.Columns[r.Index(c)].Type)
	}
	return "CREATE TEMP TABLE " + name + " (" + sqltext.Join(defs) + extra + ") ON COMMIT DROP;\n"
}

// Staged names the temporary table of a relation's rows in the view at E: all rows or, where there is a base,
// those that changed since. Steps take those rows out of it that must not be written.
func Staged(r *relation.Relation) string { return sqltext.QuoteIdent("ks_" + r.Name) }

// Revoked names the temporary table of rows that left the view: revoked rows of a versioned relation, and
// builds that were reset or deleted. Its column ks_may_insert says that the row may go in.
func Revoked(r *relation.Relation) string { return sqltext.QuoteIdent("ks_revoked_" + r.Name) }

// Deleted names the temporary table of the keys of rows that production deleted since the base. It is there
// only where Delta is true.
func Deleted(r *relation.Relation) string { return sqltext.QuoteIdent("ks_deleted_" + r.Name) }
