package kojidb

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kojisnap/dbsync/dbconn"
)

// guard is a transaction that makes sure that rows are written. If a BEFORE trigger swallows a row, PostgreSQL
// reports no error, only a lower count. Koji's tables have no triggers, but a site may add some. Then each
// statement that writes to such a table runs as EXPLAIN ANALYZE, which tells how many rows were to be written,
// and how many were.
type guard struct {
	pgx.Tx
	triggers map[string][]trigger // of tables, by their bare names
}

// trigger is a BEFORE ROW trigger.
type trigger struct {
	name        string
	conditional bool // PostgreSQL does not call it for every row
}

// WatchTriggers wraps a transaction in such a guard, if one of Koji's tables has BEFORE triggers. It refuses
// rules with INSTEAD.
func WatchTriggers(ctx context.Context, tx pgx.Tx, namespace string) (pgx.Tx, error) {
	g := &guard{tx, map[string][]trigger{}}
	var table string
	var t trigger
	var before, rule bool
	rules := []string{}
	err := surroundings(ctx, tx, namespace, []any{&table, &t.name, &before, &t.conditional, &rule}, func() {
		switch {
		case rule:
			rules = append(rules, fmt.Sprintf("%q on %s", t.name, table))
		case before:
			g.triggers[table] = append(g.triggers[table], t)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case len(rules) > 0:
		return nil, fmt.Errorf("rules of this database's own put something else in place of what is written: %s; drop them, or disable them (ALTER TABLE … DISABLE RULE)", strings.Join(rules, ", "))
	case len(g.triggers) == 0:
		return tx, nil
	}
	return g, nil
}

// surroundings finds the enabled triggers on Koji's tables, and the rules with INSTEAD.
func surroundings(ctx context.Context, db dbconn.Querier, namespace string, into []any, each func()) error {
	rows, err := db.Query(ctx, `
		SELECT c.relname, t.tgname, t.tgtype & 3 = 3, t.tgqual IS NOT NULL OR t.tgattr::text <> '', false
			FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = ANY($2) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
		UNION ALL SELECT c.relname, r.rulename, true, false, true
			FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p') AND r.is_instead AND r.ev_enabled IN ('O', 'A')
		ORDER BY 1, 2`, namespace, append(RelationNames(), OtherTables...))
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error { each(); return nil })
	return err
}

// TriggerNotes names the triggers and rules that a site has added to Koji's tables.
func TriggerNotes(ctx context.Context, db dbconn.Querier, namespace string) (notes []string, err error) {
	var table, name string
	var before, conditional, rule bool
	err = surroundings(ctx, db, namespace, []any{&table, &name, &before, &conditional, &rule}, func() {
		what := "trigger"
		if rule {
			what = "rule"
		}
		notes = append(notes, fmt.Sprintf("%s %q on table %s is this database's own: it works on what is loaded, too", what, name, table))
	})
	return notes, err
}

// writing finds the tables that a statement writes to.
var writing = regexp.MustCompile(`(?i)\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+(?:ONLY\s+)?"?(\w+)"?(?:\s|$)`)

// watched reports whether a statement writes to a table with triggers.
func (g *guard) watched(sql string) bool {
	for _, m := range writing.FindAllStringSubmatch(sql, -1) {
		if len(g.triggers[m[1]]) > 0 {
			return true
		}
	}
	return false
}

// Exec runs a statement. Several in one string are not watched.
func (g *guard) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if !g.watched(sql) || strings.Contains(sql, ";") {
		return g.Tx.Exec(ctx, sql, args...)
	}
	// The count of a statement that begins with WITH is that of its last part, which returns nothing.
	if !strings.Contains(sql, "RETURNING") {
		sql += " RETURNING 1"
	}
	wrote, err := g.explain(ctx, g.Tx, sql, args)
	return pgconn.NewCommandTag(fmt.Sprintf("INSERT 0 %d", wrote)), err
}

// Query runs a watched statement first in a savepoint that is undone, as its rows are needed, too.
func (g *guard) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := g.try(ctx, sql, args); err != nil {
		return nil, err
	}
	return g.Tx.Query(ctx, sql, args...)
}

// QueryRow does the same for one row.
func (g *guard) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := g.try(ctx, sql, args); err != nil {
		return errorRow{err}
	}
	return g.Tx.QueryRow(ctx, sql, args...)
}

type errorRow struct{ err error }

func (r errorRow) Scan(...any) error { return r.err }

func (g *guard) try(ctx context.Context, sql string, args []any) error {
	if !g.watched(sql) {
		return nil
	}
	try, err := g.Begin(ctx) // a savepoint
	if err != nil {
		return err
	}
	if _, err := g.explain(ctx, try, sql, args); err != nil {
		return err
	}
	return try.Rollback(ctx)
}

// node is one of EXPLAIN's.
type node struct {
	Type      string  `json:"Node Type"`
	Operation string  `json:"Operation"`
	Relation  string  `json:"Relation Name"`
	Rows      float64 `json:"Actual Rows"`
	Loops     float64 `json:"Actual Loops"`
	Parent    string  `json:"Parent Relationship"`
	Conflicts float64 `json:"Conflicting Tuples"`
	Plans     []node  `json:"Plans"`
}

func (n node) rows() float64 { return n.Rows * n.Loops }

// explain runs a statement, and returns how many rows its top level wrote.
func (g *guard) explain(ctx context.Context, tx pgx.Tx, sql string, args []any) (int64, error) {
	var body string
	if err := tx.QueryRow(ctx, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "+sql, args...).Scan(&body); err != nil {
		return 0, err
	}
	var told []struct {
		Plan     node
		Triggers []struct {
			Name     string `json:"Trigger Name"`
			Relation string
			Calls    float64
		}
	}
	if err := json.Unmarshal([]byte(body), &told); err != nil || len(told) != 1 {
		return 0, fmt.Errorf("what EXPLAIN says of a statement cannot be read: %w", err)
	}
	called := map[string]float64{}
	for _, t := range told[0].Triggers {
		if slices.ContainsFunc(g.triggers[t.Relation], func(own trigger) bool { return own.name == t.Name }) {
			called[t.Relation] = max(called[t.Relation], t.Calls)
		}
	}
	var wrote float64
	if p := told[0].Plan; p.Type == "ModifyTable" {
		wrote = p.rows()
	}
	return int64(wrote), g.compare(told[0].Plan, called)
}

// compare returns an error if fewer rows were written than planned.
func (g *guard) compare(n node, called map[string]float64) error {
	own := g.triggers[n.Relation]
	if n.Type == "ModifyTable" && len(own) > 0 {
		planned := called[n.Relation]
		// The plan of an UPDATE or a DELETE may find a row twice, but calls the triggers once.
		if n.Operation == "Insert" || slices.ContainsFunc(own, func(t trigger) bool { return t.conditional }) {
			planned = 0
			for _, from := range n.Plans {
				if from.Parent == "Outer" || from.Parent == "Member" {
					planned += from.rows()
				}
			}
		}
		if lost := planned - n.Conflicts - n.rows(); lost > 0 {
			var names []string
			for _, t := range own {
				names = append(names, fmt.Sprintf("%q", t.name))
			}
			return fmt.Errorf("table %s has not taken %.0f of %.0f rows: a trigger of this database's own keeps them away (%s): drop or disable it", n.Relation, lost, planned, strings.Join(names, ", "))
		}
	}
	for _, p := range n.Plans {
		if err := g.compare(p, called); err != nil {
			return err
		}
	}
	return nil
}
