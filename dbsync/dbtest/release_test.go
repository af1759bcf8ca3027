package dbtest_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
)

// TestReleases upgrades each release's database to the next: it then has that release's tables,
// columns, constraints, indexes, functions and names. The short form upgrades the oldest to the newest, which does
// all that is to be done between them, and some to the next.
func TestReleases(t *testing.T) {
	var next []int
	for n := dbtest.OldestRelease; n < dbtest.NewestRelease; n++ {
		next = append(next, n)
	}
	steps := [][2]int{{dbtest.OldestRelease, dbtest.NewestRelease}}
	for _, n := range seedtest.Some(next, 3) {
		steps = append(steps, [2]int{n, n + 1})
	}
	shapes := map[int]map[string]bool{}
	of := func(n int, dsn string) map[string]bool {
		if shapes[n] == nil {
			shapes[n] = shape(t, dsn)
		}
		return shapes[n]
	}
	for _, step := range steps {
		from, to := step[0], step[1]
		dsn := dbtest.Release(t, from)
		before := of(from, dsn)
		dbtest.Exec(t, dsn, dbtest.Upgrade(from, to))
		got := shape(t, dsn)
		if shapes[to] == nil {
			of(to, dbtest.Release(t, to))
		}
		want := maps.Clone(shapes[to])
		changed := fmt.Sprint(before) != fmt.Sprint(want)
		if from < 28 && to >= 28 {
			want["permissions build"] = true // a fresh 1.28 has it no more, an upgraded one has
		}
		for s := range want {
			if !got[s] {
				t.Errorf("upgraded from 1.%d to 1.%d: lacks %s", from, to, s)
			}
		}
		for s := range got {
			if !want[s] {
				t.Errorf("upgraded from 1.%d to 1.%d: has %s", from, to, s)
			}
		}
		if to == from+1 && (to == 27 || to == 29) {
			changed = !changed
		}
		if !changed {
			t.Errorf("what is said of 1.%d changes nothing, or what changed nothing does", to)
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
