package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// row is a row by column, as COPY has its values. What is NULL is not in it.
type row map[string]string

func (r row) id(column string) int {
	n, err := strconv.Atoi(r[column])
	if err != nil {
		return -1
	}
	return n
}

func (r row) with(column, value string) row {
	out := row{column: value}
	for c, v := range r {
		if c != column {
			out[c] = v
		}
	}
	return out
}

// values are some columns' values as one string, and whether none of them is NULL.
func (r row) values(columns []string) (string, bool) {
	var b strings.Builder
	all := true
	for _, c := range columns {
		v, ok := r[c]
		all = all && ok
		fmt.Fprintf(&b, "%q ", v)
	}
	return b.String(), all
}

// state is the rows of tables, by their keys in the way that reports write them. Those of
// kojisnap's tables are under "kojisnap.NAME".
type state map[string]map[string]row

// keyOf is a row's key; a table that no snapshot has is keyed by all its columns.
func keyOf(table string, r row) string {
	var key []string
	if rel := relation.Get(table); rel != nil {
		for _, c := range rel.Key {
			key = append(key, c+"="+r[c])
		}
		return strings.Join(key, " ")
	}
	for c, v := range r {
		key = append(key, fmt.Sprintf("%s=%q", c, v))
	}
	sort.Strings(key)
	return strings.Join(key, " ")
}

// sorted are the keys of a map in order.
func sorted[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// database is a staging database as the judge reads it: table by table.
type database struct {
	t       testing.TB
	conn    *pgx.Conn
	columns map[string][]string
	refs    []reference
}

// reference is a column that a foreign key binds to another table's id.
type reference struct{ table, column, to string }

func openDatabase(t testing.TB, dsn string) *database {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	d := &database{t: t, conn: conn, columns: map[string][]string{}}
	d.exec("SET TimeZone = 'UTC'")
	for _, f := range d.strings(`SELECT CASE n.nspname WHEN 'public' THEN '' ELSE 'kojisnap.' END || c.relname, a.attname
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
			AND (n.nspname = 'public' OR n.nspname = 'kojisnap' AND c.relname IN ('idmap', 'left_out', 'kept', 'load')) ORDER BY c.oid, a.attnum`) {
		d.columns[f[0]] = append(d.columns[f[0]], f[1])
	}
	for _, f := range d.strings(`SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text FROM pg_constraint c,
			unnest(c.conkey, c.confkey) AS k(child, parent), pg_attribute a, pg_attribute p
		WHERE c.contype = 'f' AND a.attrelid = c.conrelid AND a.attnum = k.child AND p.attrelid = c.confrelid AND p.attnum = k.parent AND p.attname = 'id'
		ORDER BY 1, 2`) {
		d.refs = append(d.refs, reference{strings.Trim(f[0], `"`), f[1], strings.Trim(f[2], `"`)})
	}
	return d
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.conn.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatalf("%s %v: %v", sql, args, err)
	}
}

// strings are a query's rows of text.
func (d *database) strings(sql string, args ...any) (out [][]string) {
	d.t.Helper()
	for _, values := range d.values(sql, args...) {
		line := make([]string, len(values))
		for i, v := range values {
			if v != nil {
				line[i] = fmt.Sprint(v)
			}
		}
		out = append(out, line)
	}
	return out
}

// values are a query's rows.
func (d *database) values(sql string, args ...any) [][]any {
	d.t.Helper()
	found, err := d.conn.Query(d.t.Context(), sql, args...)
	must(d.t, err)
	out, err := pgx.CollectRows(found, func(r pgx.CollectableRow) ([]any, error) { return r.Values() })
	if err != nil {
		d.t.Fatalf("%s %v: %v", sql, args, err)
	}
	return out
}

func (d *database) read() state {
	d.t.Helper()
	s := state{}
	for table, columns := range d.columns {
		s[table] = map[string]row{}
		var b bytes.Buffer
		var quoted []string
		for _, c := range columns {
			quoted = append(quoted, pgx.Identifier{c}.Sanitize())
		}
		if _, err := d.conn.PgConn().CopyTo(d.t.Context(), &b, "COPY "+pgx.Identifier(strings.Split(table, ".")).Sanitize()+" ("+strings.Join(quoted, ", ")+") TO STDOUT"); err != nil {
			d.t.Fatalf("%s: %v", table, err)
		}
		for line := range bytes.Lines(b.Bytes()) {
			fields, err := snapfile.ParseLine(bytes.TrimSuffix(line, []byte("\n")), nil)
			must(d.t, err)
			r := asRow(columns, fields)
			s[table][keyOf(table, r)] = r
		}
	}
	return s
}

func asRow(columns []string, fields [][]byte) row {
	r := row{}
	for i, f := range fields {
		if f != nil {
			r[columns[i]] = string(f)
		}
	}
	return r
}

// differences are the rows in which two states differ, of Koji's tables alone.
func differences(before, after state) (out []string) {
	for _, table := range sorted(before) {
		if strings.HasPrefix(table, "kojisnap.") {
			continue
		}
		for _, key := range sorted(before[table]) {
			if r, ok := after[table][key]; !ok {
				out = append(out, fmt.Sprintf("%s %s: gone", table, key))
			} else if !maps.Equal(r, before[table][key]) {
				out = append(out, fmt.Sprintf("%s %s: %v, it was %v", table, key, r, before[table][key]))
			}
		}
		for _, key := range sorted(after[table]) {
			if _, ok := before[table][key]; !ok {
				out = append(out, fmt.Sprintf("%s %s: new: %v", table, key, after[table][key]))
			}
		}
	}
	return out
}

// wanted is a snapshot as the judge reads it.
type wanted struct {
	id    string
	event string
	view  map[string][]row // with production's ids
	gone  state            // rows that it tells were revoked since its base, likewise
	scope []string         // ids of tags
	truth *truth
	snap  *snapfile.Snapshot
	lost  bool // the store has it no more
}

// number is the event.
func (w *wanted) number() int { return row{"event": w.event}.id("event") }

func readSnapshot(t testing.TB, snap *snapfile.Snapshot, h *truth) *wanted {
	t.Helper()
	w := &wanted{id: snap.ID, event: fmt.Sprint(snap.Manifest.Event), view: map[string][]row{}, gone: state{}, truth: h, snap: snap}
	for _, tag := range snap.Manifest.Scope.All {
		w.scope = append(w.scope, fmt.Sprint(tag.ID))
	}
	if len(snap.Manifest.LeftOut) > 0 {
		t.Fatalf("the pull left out %v", snap.Manifest.LeftOut)
	}
	for _, r := range relation.All() {
		w.view[r.Name] = allRows(t, r, snap.Rows(t.Context(), r.Name))
		w.gone[r.Name] = map[string]row{}
		for _, s := range allRows(t, r, snap.Revoked(t.Context(), r.Name)) {
			w.gone[r.Name][keyOf(r.Name, s)] = s
		}
	}
	return w
}

func allRows(t testing.TB, r *relation.Relation, from *snapfile.Rows) (out []row) {
	t.Helper()
	defer from.Close()
	for from.Next() {
		fields, err := from.Fields(nil)
		must(t, err)
		out = append(out, asRow(r.ColumnNames(), fields))
	}
	must(t, from.Err())
	return out
}
