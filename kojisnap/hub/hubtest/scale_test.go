package hubtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/seedtest"
)

func makeHub(t testing.TB, opts generate.Options) *hubtest.Memory {
	t.Helper()
	m, err := generate.Hub(opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// unconstrained makes of a fresh database one without rows and without foreign keys, which the table fks has.
func unconstrained(dsn string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, "TRUNCATE "+strings.Join(kojiprod.Tables(), ", ")+`; CREATE SCHEMA hubtest;
		CREATE TABLE hubtest.fks AS SELECT conrelid::regclass::text AS tab, conname AS con,
		pg_get_constraintdef(oid) AS def FROM pg_constraint WHERE contype = 'f';
		DO $$ DECLARE c record; BEGIN FOR c IN SELECT * FROM hubtest.fks LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.tab, c.con); END LOOP; END $$`).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// copyInto copies all tables into a database with Koji's schema. The constraints are checked when all rows
// are there.
func copyInto(t testing.TB, m *hubtest.Memory) *pgx.Conn {
	t.Helper()
	// Tables refer to each other in any order. So there are no foreign keys until they are added at the end, which
	// checks each row.
	conn := dbtest.Connect(t, dbtest.Template(t, "unconstrained", unconstrained))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range kojiprod.Tables() {
		var text bytes.Buffer
		if err := m.WriteCopy(&text, table); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Conn().PgConn().CopyFrom(t.Context(), &text, "COPY "+table+" FROM STDIN WITH (HEADER match)"); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	if _, err := tx.Exec(t.Context(), `DO $$ DECLARE c record; BEGIN FOR c IN SELECT * FROM hubtest.fks LOOP
		EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.tab, c.con, c.def); END LOOP; END $$`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

func fingerprint(t testing.TB, m *hubtest.Memory) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, table := range kojiprod.Tables() {
		h := sha256.New()
		if err := m.WriteCopy(h, table); err != nil {
			t.Fatal(err)
		}
		sums[table] = fmt.Sprintf("%x", h.Sum(nil))
	}
	return sums
}

func TestScaleIsItsSeed(t *testing.T) {
	opts := generate.Options{Seed: 1, Builds: 30, Outside: 2}
	first := fingerprint(t, makeHub(t, opts))
	equal(t, "the same seed", fingerprint(t, makeHub(t, opts)), first)
	opts.Seed = 2
	other := fingerprint(t, makeHub(t, opts))
	for _, table := range []string{"package", "build", "rpminfo", "rpmsigs", "tag_listing", "events", "users"} {
		if other[table] == first[table] {
			t.Errorf("%s is the same for another seed", table)
		}
	}
}

// number runs a query that returns a count.
func number(t testing.TB, conn *pgx.Conn, sql string) (n float64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func TestScaleHoldsConstraints(t *testing.T) {
	const builds = 300
	conn := copyInto(t, makeHub(t, generate.Options{Seed: 7, Builds: builds}))
	const inside = ` FROM tag_listing l JOIN tag ON tag.id = l.tag_id JOIN build b ON b.id = l.build_id WHERE l.active AND tag.name = 'f42'`
	const rpms = ` FROM rpminfo WHERE build_id IN (SELECT build_id` + inside + `)`
	const sigs = ` FROM rpmsigs WHERE rpm_id IN (SELECT id` + rpms + `)`
	for _, test := range []struct {
		what, sql string
		low, high float64
	}{
		{"builds", "SELECT count(*)" + inside, builds, builds},
		{"rpms a build", "SELECT count(*) / 300.0" + rpms, 8, 12},
		{"signatures an rpm", "SELECT (SELECT count(*)" + sigs + " AND sigkey <> '')::float / (SELECT count(*)" + rpms + ")", 1.2, 1.3},
		{"empty-key signatures an rpm", "SELECT (SELECT count(*)" + sigs + " AND sigkey = '')::float / (SELECT count(*)" + rpms + ")", .95, .999},
		{"builds outside", "SELECT (SELECT count(*) FROM build)::float / 300 - 1", 10, 16},
		{"rpms outside", "SELECT (SELECT count(*) FROM rpminfo)::float / (SELECT count(*)" + rpms + ") - 1", 10, 16},
		{"signatures outside", "SELECT (SELECT count(*) FROM rpmsigs)::float / (SELECT count(*)" + sigs + ") - 1", 10, 16},
		{"the largest build's rpms", "SELECT max(n) FROM (SELECT count(*) AS n" + rpms + " GROUP BY build_id) AS r", 60, 2000},
		{"the median build's rpms", "SELECT percentile_disc(.5) WITHIN GROUP (ORDER BY n) FROM (SELECT count(*) AS n" + rpms + " GROUP BY build_id) AS r", 2, 7},
		{"share of debuginfo", "SELECT count(*) FILTER (WHERE name LIKE '%-debuginfo')::float / count(*)" + rpms, .1, .4},
		{"length of a package's name", "SELECT avg(length(name)) FROM package", 10, 22},
		{"packages without a list entry", "SELECT count(*) FROM package WHERE id NOT IN (SELECT package_id FROM tag_packages WHERE active)", 0, 0},
		{"entries without an owner", `SELECT count(*) FROM tag_packages p WHERE active AND NOT EXISTS (SELECT FROM tag_package_owners o
			WHERE o.active AND o.package_id = p.package_id AND o.tag_id = p.tag_id)`, 0, 0},
		{"blocked packages", "SELECT count(*) FROM tag_packages p JOIN tag ON tag.id = tag_id WHERE p.active AND blocked AND tag.name = 'f42'", 5, 60},
		{"revoked tag_listing", "SELECT count(*) FILTER (WHERE active IS NULL)::float / count(*) FROM tag_listing", .3, .7},
		{"events out of order", "SELECT count(*) FROM events a JOIN events b ON b.id = a.id + 1 WHERE a.time >= b.time", 0, 0},
		{"revoked before made", "SELECT count(*) FROM tag_listing WHERE revoke_event <= create_event", 0, 0},
		{"deleted builds with signatures", "SELECT count(*) FROM rpmsigs JOIN rpminfo r ON r.id = rpm_id JOIN build b ON b.id = build_id WHERE state = 2", 0, 0},
		{"active and not complete", "SELECT count(*) FROM tag_listing JOIN build ON build.id = build_id WHERE active AND state <> 1", 0, 0},
		{"digests that are not", "SELECT count(*) FROM rpmsigs, rpminfo r WHERE r.id = rpm_id AND (length(sighash) <> 32 OR length(payloadhash) <> 32 OR ltrim(sighash || payloadhash, '0123456789abcdef') <> '')", 0, 0},
		// Each of 20 pieces, cut by id, has builds of the scope.
		{"pieces with builds of the scope", "SELECT count(DISTINCT b.id * 20 / (SELECT max(id) + 1 FROM build))" + inside, 20, 20},
		{"other kinds of rows", `SELECT least((SELECT count(*) FROM users WHERE usertype = 2), (SELECT count(*) FROM group_config),
			(SELECT count(*) FROM external_repo_config), (SELECT count(*) FROM build_target_config), (SELECT count(*) FROM locks))`, 2, 1e9},
	} {
		if got := number(t, conn, test.sql); got < test.low || got > test.high {
			t.Errorf("%s: got %v, want %v to %v", test.what, got, test.low, test.high)
		}
	}
}

// The hub answers the same from a generated database and from PostgreSQL.
func TestScaleAnswers(t *testing.T) {
	compareAnswers(t, makeHub(t, generate.Options{Seed: 3, Builds: 40, Outside: 2}))
}

func compareAnswers(t *testing.T, m *hubtest.Memory) {
	t.Helper()
	conn := copyInto(t, m)
	db := database(t, conn.Config().ConnString())
	tags, err := m.Select("tag", hubtest.Values{"name": "f42"})
	if err != nil || len(tags) != 1 {
		t.Fatal(tags, err)
	}
	tagged, err := m.Select("tag_listing", hubtest.Values{"active": true, "tag_id": tags[0]["id"]})
	if err != nil {
		t.Fatal(err)
	}
	if len(tagged) == 0 {
		t.Fatal("no build is tagged")
	}
	build := fmt.Sprintf("<int>%d</int>", tagged[0]["build_id"])
	memory, postgres := serve(t, hubtest.New(m, hubtest.Options{})), serve(t, hubtest.New(db, hubtest.Options{}))
	for _, test := range []struct {
		method string
		params []string
	}{
		{"getTag", []string{f42}},
		{"listTagged", []string{f42}},
		{"listTaggedRPMS", []string{f42, named("rpmsigs", yes)}},
		{"getBuild", []string{build}},
		{"listRPMs", []string{build}},
		{"queryRPMSigs", []string{named("rpm_id", "<int>7</int>")}},
		{"queryRPMSigs", []string{named("sigkey", "<string>"+generate.Key+"</string>")}},
		{"getFullInheritance", []string{"<string>f42-compose</string>"}},
		{"listBuilds", []string{named("queryOpts", `<struct><member><name>order</name><value><string>-build_id</string></value></member>
			<member><name>limit</name><value><int>9</int></value></member><member><name>offset</name><value><int>30</int></value></member></struct>`)}},
		{"queryHistory", []string{named("tag", f42)}},
		{"queryHistory", nil},
		{"listBuilds", nil},
		{"listRPMs", []string{named("queryOpts", `<struct><member><name>order</name><value><string>id</string></value></member>
			<member><name>limit</name><value><int>70</int></value></member><member><name>offset</name><value><int>50</int></value></member></struct>`)}},
		{"listTags", nil},
		{"untaggedBuilds", nil},
		{"listPackages", []string{f42}},
		{"getInheritanceData", []string{f42}},
		{"getLastEvent", nil},
		{"tagLastChangeEvent", []string{f42}},
		{"listUsers", nil},
		{"listBTypes", nil},
	} {
		got, want := call(t, memory, test.method, test.params...), call(t, postgres, test.method, test.params...)
		if got != want {
			a, err := parseTree([]byte(got))
			if err != nil {
				t.Fatal(err)
			}
			b, err := parseTree([]byte(want))
			if err != nil {
				t.Fatal(err)
			}
			sortAll(a)
			sortAll(b)
			if d := difference("", a, b); d != "" {
				t.Errorf("%s: %.300s", test.method, d)
			}
		}
		if len(got) < 120 || strings.Contains(got, "<fault>") || strings.Contains(got, "<data>\n</data></array></value>\n</param>") {
			t.Errorf("%s: only %s", test.method, got)
		}
	}
}

func TestScaleOptions(t *testing.T) {
	if _, err := generate.Hub(generate.Options{Builds: -1}); err == nil {
		t.Error("a negative number of builds is no error")
	}
	m := makeHub(t, generate.Options{Builds: 10, Factor: 3, Outside: -1})
	tags, err := m.Select("tag", hubtest.Values{"name": generate.Tag})
	if err != nil || len(tags) != 1 {
		t.Fatal(tags, err)
	}
	active, err := m.Select("tag_listing", hubtest.Values{"tag_id": tags[0]["id"], "active": true})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "builds", len(active), 30)
}

// sortAll turns all arrays into sets.
func sortAll(n *node) {
	for _, c := range n.Child {
		sortAll(c)
	}
	n.sortMembers()
	if n.Name == "data" {
		slices.SortFunc(n.Child, func(a, b *node) int { return strings.Compare(a.text(), b.text()) })
	}
}

// Pages have the same rows as the whole list, however they are found.
func TestPages(t *testing.T) {
	m := makeHub(t, generate.Options{Seed: 4, Builds: 75, Outside: 1})
	mutate(t, m, generate.MutatorOptions{Seed: 4}, 30)
	url := serve(t, hubtest.New(m, hubtest.Options{}))
	ids := func(order string, offset, limit int) []string {
		opts := "<struct><member><name>order</name><value><string>" + order + "</string></value></member>"
		for name, n := range map[string]int{"offset": offset, "limit": limit} {
			opts += fmt.Sprintf("<member><name>%s</name><value><int>%d</int></value></member>", name, n)
		}
		return members(t, call(t, url, "listRPMs", named("queryOpts", opts+"</struct>")), "id")
	}
	for _, order := range seedtest.Some([]string{"id", "-id", "payloadhash", "-size,id", "name", "-name"}, 4) {
		whole := ids(order, 0, 0)
		if len(whole) < 1200 {
			t.Fatalf("only %d rpms", len(whole))
		}
		for _, page := range [][2]int{{0, 7}, {3, 40}, {len(whole) - 5, 40}, {len(whole) + 5, 40}, {1, 2000}, {500, 0}} {
			want := whole[min(page[0], len(whole)):]
			if page[1] > 0 {
				want = want[:min(page[1], len(want))]
			}
			if got := ids(order, page[0], page[1]); !slices.Equal(got, want) {
				t.Errorf("order %s, page %v: %d rows %.60q, want %d %.60q", order, page, len(got), got, len(want), want)
			}
		}
	}
}
