package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// column is a column of the staging database as its catalogue has it.
type column struct {
	name       string
	notNull    bool
	hasDefault bool
	local      bool // a timestamp without a time zone, as before Koji 1.22
}

// schema is what the staging database's catalogue says of Koji's tables.
type schema struct {
	namespace string
	tables    map[string][]column
}

// others are the tables outside the catalogue that every Koji since 1.21 has and this
// package reads or writes.
var others = []string{"user_perms", "user_groups", "user_krb_principals", "cg_users", "sessions", "host",
	"host_config", "host_channels", "task", "repo", "buildroot", "buildroot_listing", "tag_updates"}

// readSchema reads the catalogue of the schema that holds Koji's tables.
func readSchema(ctx context.Context, q querier) (*schema, error) {
	rows, err := q.Query(ctx, `
		SELECT n.nspname, c.relname, a.attname, a.attnotnull, a.atthasdef OR a.attidentity <> '', a.atttypid = 'timestamp'::regtype
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p')
			AND n.nspname = coalesce((SELECT k.nspname FROM pg_class b JOIN pg_namespace k ON k.oid = b.relnamespace
				WHERE b.oid = to_regclass('rpminfo')), current_schema())
		ORDER BY c.relname, a.attnum`, pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	s := &schema{tables: map[string][]column{}}
	var table string
	var c column
	_, err = pgx.ForEachRow(rows, []any{&s.namespace, &table, &c.name, &c.notNull, &c.hasDefault, &c.local}, func() error {
		s.tables[table] = append(s.tables[table], c)
		return nil
	})
	return s, err
}

// checkKoji refuses a database that is not Koji's or lacks tables that a load needs.
func (s *schema) checkKoji(database string) error {
	var missing []string
	have := 0
	for _, name := range append(relationNames(), others...) {
		if _, ok := s.tables[name]; ok {
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

// column returns a column of a table.
func (s *schema) column(table, name string) (column, bool) {
	i := slices.IndexFunc(s.tables[table], func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return s.tables[table][i], true
}

// added are columns by which schemas can be told apart, newest first.
var added = []struct {
	release       relation.Release
	table, column string
}{
	{35, "repo_queue", "id"}, {34, "build", "draft"}, {33, "host", "update_time"}, {32, "rpm_checksum", "rpm_id"},
	{30, "archivetypes", "compression_type"}, {28, "permissions", "description"}, {26, "channels", "enabled"},
	{25, "repo", "task_id"}, {24, "tag_external_repos", "arches"}, {23, "proton_queue", "id"},
}

// release returns the Koji release whose schema this is at least.
func (s *schema) release() relation.Release {
	for _, a := range added {
		if _, ok := s.column(a.table, a.column); ok {
			return a.release
		}
	}
	if s.localTimes() {
		return 21
	}
	return 22
}

// localTimes reports whether the tables keep times without a time zone, in that of the database.
func (s *schema) localTimes() bool {
	c, _ := s.column("events", "time")
	return c.local
}

// checkFits refuses a schema that rows of the catalogue cannot go into, and returns notes on
// columns that this program does not know.
func (s *schema) checkFits() (notes []string, err error) {
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			if _, ok := s.column(r.Name, c.Name); !ok && c.Since == 0 {
				return nil, fmt.Errorf("table %s has no column %s: the schema is older than Koji 1.21, or not Koji's", r.Name, c.Name)
			}
		}
		for _, c := range s.tables[r.Name] {
			if r.Index(c.name) >= 0 || r.Name == "users" && c.name == "password" {
				continue
			}
			if c.notNull && !c.hasDefault {
				return nil, fmt.Errorf("column %s.%s is new to this kojisnap and has no default: the schema is newer than it can load", r.Name, c.name)
			}
			notes = append(notes, fmt.Sprintf("column %s.%s is new to this kojisnap: loaded rows get its default", r.Name, c.name))
		}
	}
	for table, known := range written {
		for _, c := range s.tables[table] {
			if c.notNull && !c.hasDefault && !slices.Contains(known, c.name) {
				return nil, fmt.Errorf("column %s.%s is new to this kojisnap and has no default: the schema is newer than it can load", table, c.name)
			}
		}
	}
	return notes, nil
}

// written are the columns of tables outside the catalogue that loads give values to.
var written = map[string][]string{
	"tag_updates":         {"tag_id", "update_event", "updater_id", "update_type"},
	"user_krb_principals": {"user_id", "krb_principal"},
	"user_perms":          {"user_id", "perm_id", "create_event", "creator_id"},
	"cg_users":            {"cg_id", "user_id", "create_event", "creator_id"},
	"host":                {"user_id", "name"},
	"host_config":         {"host_id", "arches", "capacity", "create_event", "creator_id"},
	"host_channels":       {"host_id", "channel_id", "create_event", "creator_id"},
}

// given are the usable columns that production's hub has. Those that it was too old for are
// defaults in the snapshot: a new row gets them, what a row holds stays.
func (m *merger) given(r *relation.Relation) []string {
	var out []string
	for _, name := range m.usable(r) {
		if m.snap.Manifest.Has(r.Columns[r.Index(name)]) {
			out = append(out, name)
		}
	}
	return out
}

// columns returns the catalogue's columns that the staging table has too.
func (s *schema) columns(r *relation.Relation) []relation.Column {
	var out []relation.Column
	for _, c := range r.Columns {
		if _, ok := s.column(r.Name, c.Name); ok {
			out = append(out, c)
		}
	}
	return out
}

func relationNames() []string {
	var names []string
	for _, r := range relation.All() {
		names = append(names, r.Name)
	}
	return names
}

// querier is what pgx connections and transactions have in common here.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
