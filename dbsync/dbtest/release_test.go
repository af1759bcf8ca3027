package dbtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
)

// TestReleases upgrades each release's database to the next: it then has that release's tables,
// columns, constraints, indexes, functions and names.
func TestReleases(t *testing.T) {
	dsn := dbtest.Release(t, dbtest.OldestRelease)
	want := shape(t, dsn)
	for n := dbtest.OldestRelease; n < dbtest.NewestRelease; n++ {
		dbtest.Exec(t, dsn, dbtest.Upgrade(n, n+1))
		got := shape(t, dsn)
		before := want
		dsn = dbtest.Release(t, n+1)
		want = shape(t, dsn)
		if n+1 == 28 {
			want["permissions build"] = true // a fresh 1.28 has it no more, an upgraded one has
		}
		for s := range want {
			if !got[s] {
				t.Errorf("upgraded from 1.%d: lacks %s", n, s)
			}
		}
		for s := range got {
			if !want[s] {
				t.Errorf("upgraded from 1.%d: has %s", n, s)
			}
		}
		delete(want, "permissions build")
		changed := fmt.Sprint(before) != fmt.Sprint(want)
		if n+1 == 27 || n+1 == 29 {
			changed = !changed
		}
		if !changed {
			t.Errorf("what is said of 1.%d changes nothing, or what changed nothing does", n+1)
		}
	}
}

// shape is what there is in a database but ids and texts.
func shape(t testing.TB, dsn string) map[string]bool {
	t.Helper()
	rows, err := dbtest.Connect(t, dsn).Query(t.Context(), `
		SELECT concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
		UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', 'function', proname, format_type(prorettype, NULL)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		UNION ALL SELECT 'permissions ' || name FROM permissions UNION ALL SELECT 'channels ' || name FROM channels
		UNION ALL SELECT 'btype ' || name FROM btype UNION ALL SELECT 'archivetypes ' || name FROM archivetypes
		UNION ALL SELECT concat_ws(' ', 'external_repo', id, name) FROM external_repo UNION ALL SELECT concat_ws(' ', 'volume', id, name) FROM volume`)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		if out[s] {
			t.Errorf("twice: %s", s)
		}
		out[s] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestProductionOf: what a release's production has are its own tables and columns.
func TestProductionOf(t *testing.T) {
	for _, n := range []int{dbtest.OldestRelease, 26, 33} {
		want, got := shape(t, dbtest.Release(t, n)), shape(t, dbtest.ProductionOf(t, n))
		for s := range want {
			if !got[s] && s != "permissions build" {
				t.Errorf("1.%d: production lacks %s", n, s)
			}
		}
		for s := range got {
			if kind, _, _ := strings.Cut(s, " "); !want[s] && slices.Contains([]string{"column", "constraint", "CREATE", "function"}, kind) {
				t.Errorf("1.%d: production has %s", n, s)
			}
		}
	}
}
