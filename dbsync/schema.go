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
		SELECT n.nspname, c.relname, a.attname, a.attnotnull, a.atthasdef OR a.attidentity <> ''
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
	_, err = pgx.ForEachRow(rows, []any{&s.namespace, &table, &c.name, &c.notNull, &c.hasDefault}, func() error {
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

// release returns the Koji release whose schema this is at least, by the columns that
// releases added.
func (s *schema) release() relation.Release {
	if _, ok := s.tables["repo_queue"]; ok {
		return 35
	}
	newest := relation.Release(21)
	for _, r := range relation.All() {
		for _, c := range r.Columns {
			if _, ok := s.column(r.Name, c.Name); ok && c.Since > newest {
				newest = c.Since
			}
		}
	}
	return newest
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
	return notes, nil
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
