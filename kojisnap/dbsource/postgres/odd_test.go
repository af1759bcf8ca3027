package postgres_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
)

// TestOddValues: texts and times that COPY, XML or a snapshot writes in a form of its own are the same by both ways.
func TestOddValues(t *testing.T) {
	dsn := dbtest.Production(t)
	dbtest.Exec(t, dsn, `SET session_replication_role = replica;
		ALTER DATABASE `+databaseOf(t, dsn)+` SET TimeZone = 'Asia/Kathmandu';
		ALTER DATABASE `+databaseOf(t, dsn)+` SET DateStyle = 'German';
		ALTER DATABASE `+databaseOf(t, dsn)+` SET search_path = pg_catalog;
		UPDATE permissions SET description = E'tab\t newline\n backslash \\ \\N \\. ''quoted'' "twice" </value> ü 漢 😀' WHERE id = 1;
		UPDATE permissions SET description = '' WHERE id = 2;
		UPDATE permissions SET description = '\N' WHERE id = 3;
		UPDATE tag_packages SET extra_arches = E'\\' WHERE package_id = (SELECT min(package_id) FROM tag_packages);
		UPDATE build SET start_time = 'infinity' WHERE id = 36;
		UPDATE build SET start_time = '-infinity' WHERE id = 35;
		UPDATE build SET start_time = '1911-02-03 04:05:06.7+00' WHERE id = 34;
		UPDATE build SET start_time = '2001-02-03 04:05:06.000001+00' WHERE id = 33;
		UPDATE build SET extra = '{"n": [1, -2.5, 1e-07, true, null, "\u00fc\"\\"], "m": {}}' WHERE id = 36;
		CREATE TABLE public.plugin_table (a text); CREATE SCHEMA site; CREATE TABLE site.rpminfo (id integer)`)
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("options", "-csearch_path=public")
	address.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	c := hubOf(t, address.String(), hubtest.Options{})
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"*"}, Builds: []string{"33", "34", "35", "36"}, Event: 419}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: o.Tags, Builds: o.Builds, Event: o.Event})
	r, bySource := sourcetest.PullSource(t, open(t, dsn, 2), sourcetest.Store(t), o)
	sourcetest.Equal(t, byHub, bySource)
	var unknown []string
	for _, table := range r.Source.Tables {
		if table.Class == string(dbsource.Unknown) {
			unknown = append(unknown, table.Name)
		}
	}
	if !slices.Equal(unknown, []string{"plugin_table", "site.rpminfo"}) {
		t.Errorf("unknown tables: %q", unknown)
	}
}

// TestExceptions: rows that no hub shows as they are differ as the list of exceptions says, and no others do.
func TestExceptions(t *testing.T) {
	dsn := dbtest.Production(t)
	c := hubOf(t, dsn, hubtest.Options{})
	dbtest.Exec(t, dsn, `SET session_replication_role = replica;
		UPDATE build SET extra = '{"b":1,   "a" : 2}' WHERE id = 36;
		UPDATE build SET source = E'git\b\f\x0bcontrol' WHERE id = 35;
		UPDATE build SET source = E'cr\r\nlf' WHERE id = 34;
		UPDATE rpminfo SET extra = '{"n": 123456789012345678901234567890}' WHERE id = (SELECT min(id) FROM rpminfo WHERE build_id = 36);
		UPDATE external_repo SET name = 'OTHERS' WHERE id = 0;
		INSERT INTO users (id, name, status, usertype) VALUES (7777, 'odd', 0, 9);
		UPDATE build SET owner = 7777 WHERE id = 36;
		UPDATE archiveinfo SET btype_id = NULL WHERE id = (SELECT min(id) FROM archiveinfo);
		UPDATE package SET name = '../climbs' WHERE id = (SELECT pkg_id FROM build WHERE id = 32)`)
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"*"}, Builds: []string{"33", "34", "35", "36"}, Event: 419}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: o.Tags, Builds: o.Builds, Event: o.Event})
	_, bySource := sourcetest.PullSource(t, open(t, dsn, 2), sourcetest.Store(t), o)
	for name, want := range map[string][]string{
		"build":         {`"b":1,   "a" : 2`, `git` + "\b\f\v" + `control`, `cr\r\nlf`},
		"rpminfo":       {`123456789012345678901234567890`},
		"external_repo": {"OTHERS"},
		"users":         {"7777\todd\t0\t9"},
	} {
		text := strings.Join(sourcetest.Rows(t, bySource, name, false), "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s by the database: no %q", name, w)
			}
		}
	}
	allowed := []string{"maven_archives", "image_archives", "win_archives", "archive_components", "archive_rpm_components"} // hang on archives
	for _, x := range sourcetest.Exceptions {
		if x.Relation == "*" { // texts: of those that this test changes
			allowed = append(allowed, "build", "rpminfo")
		}
		allowed = append(allowed, x.Relation)
	}
	different := sourcetest.Different(t, byHub, bySource)
	for name, n := range different {
		if !slices.Contains(allowed, name) {
			t.Errorf("%d rows of %s differ, which is no exception", n, name)
		}
	}
	if different["build"] != 2*3 || different["rpminfo"] != 2 || different["external_repo"] != 2 || different["archiveinfo"] != 1 {
		t.Errorf("rows that differ: %v", different)
	}
	// What both leave out they leave out for the same reason.
	climbs := func(s *snapfile.Snapshot) (found []string) {
		for _, x := range s.Manifest.LeftOut {
			if strings.Contains(x.Reason, "climbs") {
				found = append(found, x.String())
			}
		}
		return found
	}
	if a, b := climbs(byHub), climbs(bySource); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("left out by the hub:\n%s\nby the database:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

func databaseOf(t *testing.T, dsn string) (name string) {
	t.Helper()
	if err := dbtest.Connect(t, dsn).QueryRow(t.Context(), "SELECT quote_ident(current_database())").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestNotKoji: a database without Koji's tables is named as none.
func TestNotKoji(t *testing.T) {
	_, err := postgres.Open(t.Context(), postgres.Options{DSN: dbtest.Empty(t)})
	if err == nil || !strings.Contains(err.Error(), "is it a Koji database?") {
		t.Errorf("an empty database: %v", err)
	}
}
