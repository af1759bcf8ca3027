// Package kojidb has facts about Koji's own tables: which columns a database has (ReadSchema), what gives out
// its ids (IDColumns), what refers to what, how a row is called for people, and what a site has added
// (WatchTriggers).
package kojidb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/sqltext"
	"kojisnap/kojisnap/relation"
)

// Column is a column of a table, from PostgreSQL's catalogue.
type Column struct {
	Name       string
	NotNull    bool
	hasDefault bool
	local      bool // a timestamp without a time zone, as before Koji 1.22
}

// Schema is what PostgreSQL's catalogue says of Koji's tables.
type Schema struct {
	Namespace string
	Tables    map[string][]Column
}

// OtherTables are the tables outside of kojisnap's catalogue that every Koji since 1.21 has and that kojisnap
// reads or writes.
var OtherTables = []string{"user_perms", "user_groups", "user_krb_principals", "cg_users", "sessions", "host",
	"host_config", "host_channels", "task", "repo", "buildroot", "buildroot_listing", "tag_updates"}

// ReadSchema reads the catalogue of the schema that holds Koji's tables.
func ReadSchema(ctx context.Context, q dbconn.Querier) (*Schema, error) {
	rows, err := q.Query(ctx, `
		SELECT n.nspname, c.relname, a.attname, a.attnotnull, a.atthasdef OR a.attidentity <> '', a.atttypid = 'timestamp'::regtype
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p')
			AND n.nspname = coalesce((SELECT k.nspname FROM pg_class b JOIN pg_namespace k ON k.oid = b.relnamespace
				WHERE b.oid = to_regclass('rpminfo')), current_schema())
		ORDER BY c.relname, a.attnum`)
	if err != nil {
		return nil, err
	}
	s := &Schema{Tables: map[string][]Column{}}
	var table string
	var c Column
	_, err = pgx.ForEachRow(rows, []any{&s.Namespace, &table, &c.Name, &c.NotNull, &c.hasDefault, &c.local}, func() error {
		s.Tables[table] = append(s.Tables[table], c)
		return nil
	})
	return s, err
}

// CheckKoji refuses a database that is not Koji's or lacks tables that a load needs.
func (s *Schema) CheckKoji(database string) error {
	var missing []string
	have := 0
	for _, name := range append(RelationNames(), OtherTables...) {
		if _, ok := s.Tables[name]; ok {
			have++
		} else {
			missing = append(missing, name)
		}
	}
	switch {
	case have == 0:
		return fmt.Errorf("database %q is not Koji's: it has none of Koji's tables", database)
	case len(missing) > 0:
		return fmt.Errorf("database %q is not a Koji 1.21 or later: it lacks the tables %s", database, strings.Join(missing, ", "))
	}
	return nil
}

// Column returns a column of a table.
func (s *Schema) Column(table, name string) (Column, bool) {
	i := slices.IndexFunc(s.Tables[table], func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return s.Tables[table][i], true
}

// added are columns by which releases of the schema can be told apart, newest first.
var added = []struct {
	release       relation.Release
	table, column string
}{
	{35, "repo_queue", "id"}, {34, "build", "draft"}, {33, "host", "update_time"}, {32, "rpm_checksum", "rpm_id"},
	{30, "archivetypes", "compression_type"}, {28, "permissions", "description"}, {26, "channels", "enabled"},
	{25, "repo", "task_id"}, {24, "tag_external_repos", "arches"}, {23, "proton_queue", "id"},
}

// Release returns the newest Koji release that the schema is surely at.
func (s *Schema) Release() relation.Release {
	for _, a := range added {
		if _, ok := s.Column(a.table, a.column); ok {
			return a.release
		}
	}
	if s.LocalTimes() {
		return 21
	}
	return 22
}

// LocalTimes reports whether the tables have times without a time zone, in that of the database.
func (s *Schema) LocalTimes() bool {
	c, _ := s.Column("events", "time")
	return c.local
}

// CheckFits refuses a schema that the catalogue's rows cannot go into, and returns notes on columns that this
// program does not know.
func (s *Schema) CheckFits() (notes []string, err error) {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			if _, ok := s.Column(r.Name, c.Name); !ok && c.Since == 0 {
				return nil, fmt.Errorf("table %s has no column %s: the schema is older than Koji 1.21, or not Koji's", r.Name, c.Name)
			}
		}
		for _, c := range s.Tables[r.Name] {
			if r.Index(c.Name) >= 0 || r.Name == "users" && c.Name == "password" {
				continue
			}
			if c.NotNull && !c.hasDefault {
				return nil, fmt.Errorf("column %s.%s is new to this kojisnap and has no default: the schema is newer than it can load", r.Name, c.Name)
			}
			notes = append(notes, fmt.Sprintf("column %s.%s is new to this kojisnap: loaded rows get its default", r.Name, c.Name))
		}
	}
	for table, known := range written {
		for _, c := range s.Tables[table] {
			if c.NotNull && !c.hasDefault && !slices.Contains(known, c.Name) {
				return nil, fmt.Errorf("column %s.%s is new to this kojisnap and has no default: the schema is newer than it can load", table, c.Name)
			}
		}
	}
	return notes, nil
}

// written are the columns that loads write in tables outside of the catalogue.
var written = map[string][]string{
	"rpm_checksum":        {"rpm_id", "sigkey", "checksum", "checksum_type"},
	"tag_updates":         {"tag_id", "update_event", "updater_id", "update_type"},
	"user_krb_principals": {"user_id", "krb_principal"},
	"user_perms":          {"user_id", "perm_id", "create_event", "creator_id"},
	"cg_users":            {"cg_id", "user_id", "create_event", "creator_id"},
	"host":                {"user_id", "name"},
	"host_config":         {"host_id", "arches", "capacity", "create_event", "creator_id"},
	"host_channels":       {"host_id", "channel_id", "create_event", "creator_id"},
}

// Columns returns the catalogue's columns of a relation that the table has.
func (s *Schema) Columns(r *relation.Relation) []relation.Column {
	var out []relation.Column
	for _, c := range r.Columns {
		if _, ok := s.Column(r.Name, c.Name); ok {
			out = append(out, c)
		}
	}
	return out
}

// TableColumns returns the columns that a table has; older schemas lack some.
func TableColumns(ctx context.Context, tx pgx.Tx, table string) ([]string, error) {
	rows, err := tx.Query(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped", sqltext.QuoteIdent(table))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
