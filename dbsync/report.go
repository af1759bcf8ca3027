package dbsync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
)

// maxEntries bounds each list of a report; the schema kojisnap has all of them.
const maxEntries = 1000

// LoadReport says what a load did or, in a dry run, would do. Its order is stable.
type LoadReport struct {
	Run      int64     `json:"run,omitempty"` // in the database's list of loads, 0 for a dry run
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Snapshot string    `json:"snapshot"`
	Event    int64     `json:"event"`          // E, the event to pin calls at
	Tags     []string  `json:"tags,omitempty"` // that the snapshot was asked for
	DryRun   bool      `json:"dry_run,omitempty"`
	Rollback bool      `json:"rollback,omitempty"` // some of the tags stood at later events
	// Mode is "full" if all of the snapshot's rows were read, "delta" if only what changed since
	// Base, "skipped" if none.
	Mode string `json:"mode,omitempty"`
	// Base is the snapshot that the database held, where only what changed since was read.
	Base string `json:"base,omitempty"`
	// Waited is nil if the load could begin at once.
	Waited *Waited `json:"waited,omitempty"`
	// Skipped: the database holds this very snapshot and nothing was left out of it, so its rows were not read.
	Skipped bool `json:"skipped,omitempty"`

	Relations []RelationReport `json:"relations"` // those with something to tell, in the catalogue's order
	Overlay   []OverlayChange  `json:"overlay,omitempty"`
	Touched   []string         `json:"touched,omitempty"`
	Conflicts []Entry          `json:"conflicts,omitempty"`
	LeftOut   []Entry          `json:"left_out,omitempty"`
	// Bad are those rows of LeftOut with which there is something wrong themselves.
	Bad         []Entry  `json:"bad,omitempty"`
	Kept        []Entry  `json:"kept,omitempty"`
	Overwritten []Entry  `json:"overwritten,omitempty"` // rows of an adopted database that were not production's
	Notes       []string `json:"notes,omitempty"`

	// Decided is what DecidedBuilds gives after this load.
	Decided map[int64]string `json:"-"`
}

// RelationReport counts the rows of one relation.
type RelationReport struct {
	Relation    string `json:"relation"`
	Read        int64  `json:"read,omitempty"` // of the snapshot
	Inserted    int64  `json:"inserted,omitempty"`
	Updated     int64  `json:"updated,omitempty"`
	Revoked     int64  `json:"revoked,omitempty"`
	Unrevoked   int64  `json:"unrevoked,omitempty"`
	Deleted     int64  `json:"deleted,omitempty"`
	Kept        int64  `json:"kept,omitempty"`        // staging's own decision stood against production's
	LeftOut     int64  `json:"left_out,omitempty"`    // rows that did not go in, conflicts included
	Conflicts   int64  `json:"conflicts,omitempty"`   // as staging holds their place
	Overwritten int64  `json:"overwritten,omitempty"` // of an adopted database, that were not production's
}

// changed is how many rows of Koji's table changed.
func (r RelationReport) changed() int64 {
	return r.Inserted + r.Updated + r.Revoked + r.Unrevoked + r.Deleted
}

// OverlayChange is what the overlay put there or took away.
type OverlayChange struct {
	Action string `json:"action"` // add or remove
	Entry  string `json:"entry"`  // such as "user alice: permission admin"
}

// Entry is one row of production's.
type Entry struct {
	Relation string `json:"relation"`
	Key      string `json:"key"` // "create_event=420 tag_id=2", in production's ids
	What     string `json:"what"`
}

// Add adds another relation's numbers.
func (r *RelationReport) Add(x RelationReport) {
	r.Read += x.Read
	r.Inserted += x.Inserted
	r.Updated += x.Updated
	r.Revoked += x.Revoked
	r.Unrevoked += x.Unrevoked
	r.Deleted += x.Deleted
	r.Kept += x.Kept
	r.LeftOut += x.LeftOut
	r.Conflicts += x.Conflicts
	r.Overwritten += x.Overwritten
}

// Totals returns how many rows were inserted, updated, and revoked or deleted.
func (r *LoadReport) Totals() (inserted, updated, gone int64) {
	var sum RelationReport
	for _, x := range r.Relations {
		sum.Add(x)
	}
	return sum.Inserted, sum.Updated + sum.Unrevoked, sum.Revoked + sum.Deleted
}

// Changed reports whether Koji's tables changed.
func (r *LoadReport) Changed() bool {
	for _, x := range r.Relations {
		if x.changed() > 0 {
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
		{&m.rep.Bad, "ks_out WHERE bad", func(*RelationReport, int64) {}},
		{&m.rep.Kept, "ks_kept", func(r *RelationReport, n int64) { r.Kept = n }},
		{&m.rep.Overwritten, "ks_over", func(r *RelationReport, n int64) { r.Overwritten = n }},
	} {
		entries, err := readEntries(ctx, m.tx, l.table, maxEntries)
		if err != nil {
			return err
		}
		*l.into = entries
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
	for name, n := range m.rows {
		m.counts.of(name).Read = n
	}
	m.rep.Relations = m.counts.sorted()
	return nil
}

// readEntries reads rows with the columns relation, key and reason.
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
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries, productionKeys(ctx, db, entries)
}

// productionKeys puts production's ids into keys that were noted with staging's.
func productionKeys(ctx context.Context, db querier, entries []Entry) error {
	rows, err := db.Query(ctx, "SELECT relation, staging_id, prod_id FROM kojisnap.idmap WHERE staging_id <> prod_id", pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	type id struct {
		relation string
		id       int64
	}
	var staging id
	var prod int64
	ids := map[id]int64{}
	if _, err := pgx.ForEachRow(rows, []any{&staging.relation, &staging.id, &prod}, func() error { ids[staging] = prod; return nil }); err != nil {
		return err
	}
	for i, e := range entries {
		r := relation.Get(e.Relation)
		values, ok := e.values(r)
		if !ok {
			continue
		}
		for j, column := range r.Key {
			of := r.Columns[r.Index(column)].Ref
			if column == "id" {
				of = r.Name
			}
			if n, err := strconv.ParseInt(values[j], 10, 64); err == nil {
				if prod, ok := ids[id{of, n}]; ok {
					values[j] = strconv.FormatInt(prod, 10)
				}
			}
			values[j] = column + "=" + values[j]
		}
		entries[i].Key = strings.Join(values, " ")
	}
	return nil
}

// values takes a key apart, in the order of the relation's key. A text, where there is one, is
// the last, so that nothing in it is taken for another column.
func (e Entry) values(r *relation.Relation) (values []string, ok bool) {
	if r == nil {
		return nil, false
	}
	rest := e.Key
	for i, column := range r.Key {
		if rest, ok = strings.CutPrefix(rest, column+"="); !ok {
			return nil, false
		}
		value := rest
		if i < len(r.Key)-1 {
			if value, rest, ok = strings.Cut(rest, " "); !ok {
				return nil, false
			}
		}
		values = append(values, value)
	}
	return values, true
}

// Keys returns the columns of the key that hold numbers.
func (e Entry) Keys() map[string]int64 {
	keys := map[string]int64{}
	r := relation.Get(e.Relation)
	values, _ := e.values(r)
	for i, v := range values {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && r.Columns[r.Index(r.Key[i])].Type != relation.Text {
			keys[r.Key[i]] = n
		}
	}
	return keys
}

// Text returns a column of the key as text, empty if the key has none of that name.
func (e Entry) Text(column string) string {
	r := relation.Get(e.Relation)
	if values, ok := e.values(r); ok {
		if i := slices.Index(r.Key, column); i >= 0 {
			return values[i]
		}
	}
	return ""
}

// hasID reports whether rows of the relation have an id of their own.
func hasID(r *relation.Relation) bool { return r.Columns[0].Name == "id" }
