package dbsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// maxEntries bounds each list of a report; the schema kojisnap has all of them.
const maxEntries = 1000

// LoadReport says what a load did or, in a dry run, would do. Its order is stable.
type LoadReport struct {
	Snapshot string `json:"snapshot"`
	Event    int64  `json:"event"` // E, the event to pin calls at
	DryRun   bool   `json:"dry_run,omitempty"`
	// Base is the snapshot that the database held, where only what changed since was read.
	Base string `json:"base,omitempty"`
	// Skipped: the database holds this very snapshot and nothing was left out of it, so its rows were not read.
	Skipped bool `json:"skipped,omitempty"`

	Relations   []RelationReport `json:"relations"` // those with something to tell, in the catalogue's order
	Touched     []string         `json:"touched,omitempty"`
	Conflicts   []Entry          `json:"conflicts,omitempty"`
	LeftOut     []Entry          `json:"left_out,omitempty"`
	Kept        []Entry          `json:"kept,omitempty"`
	Overwritten []Entry          `json:"overwritten,omitempty"` // rows of an adopted database that were not production's
	Notes       []string         `json:"notes,omitempty"`
}

// RelationReport counts the rows of one relation.
type RelationReport struct {
	Relation  string `json:"relation"`
	Inserted  int64  `json:"inserted,omitempty"`
	Updated   int64  `json:"updated,omitempty"`
	Revoked   int64  `json:"revoked,omitempty"`
	Unrevoked int64  `json:"unrevoked,omitempty"`
	Deleted   int64  `json:"deleted,omitempty"`
	Kept      int64  `json:"kept,omitempty"`      // staging's own decision stood against production's
	LeftOut   int64  `json:"left_out,omitempty"`  // rows that did not go in, conflicts included
	Conflicts int64  `json:"conflicts,omitempty"` // as staging holds their place
}

// Entry is one row.
type Entry struct {
	Relation string `json:"relation"`
	Key      string `json:"key"`
	What     string `json:"what"`
}

// Changed reports whether Koji's tables changed.
func (r *LoadReport) Changed() bool {
	for _, x := range r.Relations {
		if x.Inserted+x.Updated+x.Revoked+x.Unrevoked+x.Deleted > 0 {
			return true
		}
	}
	return false
}

// Relation returns what the report says of a relation, the zero value if nothing.
func (r *LoadReport) Relation(name string) RelationReport {
	for _, x := range r.Relations {
		if x.Relation == name {
			return x
		}
	}
	return RelationReport{Relation: name}
}

// counts collects a report's numbers by relation.
type counts map[string]*RelationReport

func (c counts) of(name string) *RelationReport {
	if c[name] == nil {
		c[name] = &RelationReport{Relation: name}
	}
	return c[name]
}

// sorted returns what is not zero, in the catalogue's order, other tables behind it.
func (c counts) sorted() []RelationReport {
	out := []RelationReport{}
	for _, name := range append(relationNames(), overlayTables...) {
		if x := c[name]; x != nil && *x != (RelationReport{Relation: name}) {
			out = append(out, *x)
		}
	}
	return out
}

// finishReport fills the lists from the temporary tables.
func (m *merger) finishReport(ctx context.Context) error {
	for _, l := range []struct {
		into  *[]Entry
		table string
		count func(*RelationReport, int64)
	}{
		{&m.rep.Conflicts, "ks_out WHERE conflict", func(r *RelationReport, n int64) { r.Conflicts, r.LeftOut = n, r.LeftOut+n }},
		{&m.rep.LeftOut, "ks_out WHERE NOT conflict", func(r *RelationReport, n int64) { r.LeftOut += n }},
		{&m.rep.Kept, "ks_kept", func(r *RelationReport, n int64) { r.Kept = n }},
		{&m.rep.Overwritten, "ks_over", nil},
	} {
		entries, err := readEntries(ctx, m.tx, l.table, maxEntries)
		if err != nil {
			return err
		}
		*l.into = entries
		if l.count == nil {
			continue
		}
		rows, err := m.tx.Query(ctx, "SELECT relation, count(*) FROM "+l.table+" GROUP BY 1", pgx.QueryExecModeExec)
		if err != nil {
			return err
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { l.count(m.counts.of(name), n); return nil }); err != nil {
			return err
		}
	}
	m.rep.Relations = m.counts.sorted()
	return nil
}

func readEntries(ctx context.Context, db querier, from string, limit int) ([]Entry, error) {
	order := "array_position(ARRAY["
	for i, n := range relationNames() {
		if i > 0 {
			order += ", "
		}
		order += lit(n)
	}
	rows, err := db.Query(ctx, fmt.Sprintf("SELECT relation, key, reason FROM %s ORDER BY %s], relation), length(key), key, reason LIMIT %d", from, order, limit),
		pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Entry, err error) {
		err = row.Scan(&e.Relation, &e.Key, &e.What)
		return e, err
	})
	if len(entries) == 0 {
		return nil, err
	}
	return entries, err
}

// hasID reports whether rows of the relation have an id of their own.
func hasID(r *relation.Relation) bool { return r.Columns[0].Name == "id" }
