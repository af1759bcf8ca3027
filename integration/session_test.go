package integration_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/seedtest"
)

// TestPooler: behind pgbouncer in transaction mode, where each transaction may have another session of
// PostgreSQL's, all works as without, again and again, and no lock stays behind.
func TestPooler(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	direct := w.dsn
	w.dsn = dbtest.Pooler(t, direct)
	c := w.config(t, "f42-compose")
	// Another client of the pool, which used temporary tables.
	dbtest.Exec(t, w.dsn, "BEGIN; CREATE TEMP TABLE theirs (x integer) ON COMMIT DROP; INSERT INTO theirs VALUES (1); COMMIT")
	succeed(t, "init", "-c", c)
	times := 2
	if seedtest.Long() {
		times = 3
	}
	for range times {
		if o := kojisnapRun(t, "sync", "-c", c); o.code != 0 {
			t.Fatalf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
		}
		succeed(t, "load", "-c", c, "--audit")
		succeed(t, "status", "-c", c)
	}
	if got := one(t, direct, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); got != "0" {
		t.Errorf("%s advisory locks stay behind", got)
	}
	if got := one(t, w.dsn, "SELECT current_setting('TimeZone') || current_setting('search_path') || current_setting('temp_buffers')"); got != one(t, direct, "SELECT current_setting('TimeZone') || current_setting('search_path') || current_setting('temp_buffers')") {
		t.Errorf("settings of ours stay behind: %s", got)
	}
}

// TestSettings: what a role, a database or a DSN sets changes nothing of what is loaded: not the bytes of
// names, not the times, and not which tables are meant.
func TestSettings(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	w.update(t, "build", hubtest.Values{"id": w.buildID(t, "bash/5.3.0/2.fc42")}, hubtest.Values{"source": "git+https://example.com/ž€ß#\\1"})
	plain := w.dsn
	role := fmt.Sprintf("kojisnap_odd_%s", strings.TrimPrefix(one(t, w.dsn, "SELECT current_database()"), "kojisnap_test_"))
	dbtest.Exec(t, w.dsn, "CREATE ROLE "+role+" LOGIN SUPERUSER")
	t.Cleanup(func() { dbtest.Exec(t, plain, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	sums := func() string {
		t.Helper()
		return one(t, plain, `SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM (
			SELECT row(b.*)::text FROM build b UNION ALL SELECT row(e.*)::text FROM events e WHERE id < 990000000 UNION ALL SELECT row(t.*)::text FROM tag t
			UNION ALL SELECT row(p.*)::text FROM kojisnap.placed p) x`)
	}
	c := w.config(t, "f42-compose")
	succeed(t, "sync", "-c", c)
	want := sums()
	u, err := url.Parse(w.dsn)
	must(t, err)
	u.User = url.User(role)
	q := u.Query()
	q.Set("client_encoding", "auto")
	u.RawQuery = q.Encode()
	w.dsn = u.String()
	c = w.config(t, "f42-compose")
	sync := []string{"sync"}
	all := []string{"client_encoding = 'LATIN1'", "DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Tokyo'", "IntervalStyle = 'sql_standard'", "extra_float_digits = -5",
		"standard_conforming_strings = off", "bytea_output = 'escape'"}
	// What they do adds up; only one search_path can be set at a time.
	together := strings.Join(all, "; ALTER ROLE "+role+" SET ") + "; ALTER ROLE " + role + " SET "
	sets := []string{together + "search_path = ''", together + "search_path = kojisnap, public", together + "search_path = pg_catalog"}
	if seedtest.Long() {
		sets = append(append(sets, all...), "search_path = ''", "search_path = kojisnap, public", "search_path = pg_catalog")
	}
	for i, set := range sets {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dbtest.Exec(t, plain, "ALTER ROLE "+role+" RESET ALL; ALTER ROLE "+role+" SET "+set)
			for _, args := range [][]string{{"load", "--audit"}, sync} {
				sync = []string{"load"} // one is enough
				o := kojisnapRun(t, append(args, "-c", c)...)
				if o.code != 0 {
					t.Fatalf("%s: %v: exit code %d: %s%s", set, args, o.code, o.stdout, o.stderr)
				}
			}
			if got := sums(); got != want {
				t.Errorf("other rows than without %s", set)
			}
			var status struct{ Mark struct{ Environment string } }
			must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &status))
		})
	}
}

// TestOtherEncoding: a database whose own encoding cannot hold what production has is refused.
func TestOtherEncoding(t *testing.T) {
	t.Parallel()
	dsn := dbtest.Empty(t)
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		name := "kojisnap_" + strings.ToLower(encoding) + one(t, dsn, "SELECT pg_backend_pid()")
		dbtest.Exec(t, dsn, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C'")
		t.Cleanup(func() { dbtest.Exec(t, dsn, "DROP DATABASE "+name) })
		u, err := url.Parse(dsn)
		must(t, err)
		u.Path = "/" + name
		dbtest.Exec(t, u.String(), kojiprod.SchemaSQL(true))
		if o := kojisnapRun(t, "init", "--env", "stg", "--db", u.String()); o.code != 1 || !strings.Contains(o.stderr, encoding) || !strings.Contains(o.stderr, "UTF8") {
			t.Errorf("%s: exit code %d: %s", encoding, o.code, o.stderr)
		}
	}
}

// one is the only value of the last of some statements.
func one(t testing.TB, dsn, sql string) string {
	t.Helper()
	results, err := dbtest.Connect(t, dsn).PgConn().Exec(t.Context(), sql).ReadAll()
	must(t, err)
	return string(results[len(results)-1].Rows[0][0])
}
