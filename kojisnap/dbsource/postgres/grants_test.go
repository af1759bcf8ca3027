package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/pull"
)

// asReader gives a role what scripts/grants-source.sql gives, and returns the DSN by which it connects.
func asReader(t *testing.T, dsn string) (as, role string) {
	t.Helper()
	script, err := os.ReadFile("../../../scripts/grants-source.sql")
	if err != nil {
		t.Fatal(err)
	}
	role = fmt.Sprintf("kojisnap_source_%d_%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "_", ".", "_").Replace(t.Name())))
	dbtest.Exec(t, dsn, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'canary-of-the-role'; ALTER ROLE %[1]s SET search_path = pg_catalog", role))
	t.Cleanup(func() { dbtest.Exec(t, dsn, fmt.Sprintf("DROP OWNED BY %s; DROP ROLE %[1]s", role)) })
	dbtest.Exec(t, dsn, "REVOKE ALL ON SCHEMA public FROM PUBLIC;"+strings.ReplaceAll(string(script), "kojisnap_source", role))
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "canary-of-the-role")
	return u.String(), role
}

// TestGrants: a role with what scripts/grants-source.sql gives reads what the owner reads, in every release of Koji's
// schema, and may read nothing else. A privilege that is missing is named before anything is read.
func TestGrants(t *testing.T) {
	for _, release := range []int{dbtest.OldestRelease, dbtest.NewestRelease} {
		t.Run(fmt.Sprint("1.", release), func(t *testing.T) {
			dsn := dbtest.ProductionOf(t, release)
			as, role := asReader(t, dsn)
			o := dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"*"}, Event: 400}
			_, owners := sourcetest.PullSource(t, open(t, dsn, 1), sourcetest.Store(t), o)
			_, readers := sourcetest.PullSource(t, open(t, as, 2), sourcetest.Store(t), o)
			sourcetest.Equal(t, owners, readers)

			rows, err := dbtest.Connect(t, dsn).Query(t.Context(), `
				SELECT c.relname::text, a.attname::text, has_column_privilege('`+role+`', c.oid, a.attnum, 'SELECT'),
					has_any_column_privilege('`+role+`', c.oid, 'INSERT, UPDATE, REFERENCES') OR has_table_privilege('`+role+`', c.oid, 'SELECT, DELETE, TRUNCATE, TRIGGER')
				FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'`)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for rows.Next() {
				var table, column string
				var may, more bool
				if err := rows.Scan(&table, &column, &may, &more); err != nil {
					t.Fatal(err)
				}
				wanted := false
				for _, c := range dbsource.WantedColumns(table) {
					wanted = wanted || c == column
				}
				if may != wanted {
					t.Errorf("%s.%s: readable %v, wanted %v", table, column, may, wanted)
				}
				if more {
					t.Errorf("%s: the role has more than SELECT on columns", table)
				}
				seen++
			}
			if err := rows.Err(); err != nil || seen < 300 {
				t.Fatalf("%d columns, %v", seen, err)
			}

			dbtest.Exec(t, dsn, fmt.Sprintf("REVOKE SELECT (sighash) ON rpmsigs FROM %s; REVOKE SELECT (id, name) ON volume FROM %[1]s", role))
			_, err = postgres.Open(t.Context(), postgres.Options{DSN: as})
			var denied *postgres.PrivilegeError
			if !errors.As(err, &denied) || len(denied.Missing) != 2 || !strings.Contains(err.Error(), "rpmsigs (sighash), volume: run scripts/grants-source.sql") {
				t.Errorf("without two privileges: %v", err)
			}
		})
	}
}

// TestMarked: a database that bears kojisnap's mark is a staging, and is not read.
func TestMarked(t *testing.T) {
	dsn := dbtest.Production(t)
	dbtest.Exec(t, dsn, "CREATE SCHEMA kojisnap; CREATE TABLE kojisnap.mark ()")
	_, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn})
	var marked *postgres.MarkedError
	if !errors.As(err, &marked) {
		t.Errorf("got %v, want a MarkedError", err)
	}
}

const canary = "canary-7f3a"

// TestSecrets: what each secret column holds reaches neither the store nor a log nor an error, whichever role reads.
// Passwords in URLs are taken out, as for hubs.
func TestSecrets(t *testing.T) {
	dsn := dbtest.Production(t)
	dbtest.Exec(t, dsn, `SET session_replication_role = replica;
		UPDATE users SET password = '`+canary+`' || id;
		UPDATE external_repo_config SET url = 'https://user:`+canary+`@example.com/$arch/';
		DELETE FROM user_krb_principals;
		INSERT INTO user_krb_principals (user_id, krb_principal) SELECT id, '`+canary+`' || id FROM users;
		INSERT INTO sessions (user_id, key, hostip) SELECT id, '`+canary+`', '`+canary+`' FROM users;
		INSERT INTO build_reservations (build_id, token, created) SELECT id, '`+canary+`', now() FROM build ON CONFLICT DO NOTHING;
		INSERT INTO build_notifications (user_id, email) SELECT id, '`+canary+`' FROM users;
		UPDATE task SET request = '`+canary+`', result = '`+canary+`', label = NULL;
		INSERT INTO proton_queue (address, props, body) VALUES ('`+canary+`', '{}', '"`+canary+`"');
		CREATE TABLE plugin_secrets (token text); INSERT INTO plugin_secrets VALUES ('`+canary+`')`)
	as, _ := asReader(t, dsn)
	for _, dsn := range []string{dsn, as} {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		src, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, Jobs: 2, Log: logger})
		if err != nil {
			t.Fatal(err)
		}
		s := sourcetest.Store(t)
		r, err := dbsource.Pull(t.Context(), src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"*"}, Event: 419, Log: logger})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Stripped) == 0 {
			t.Error("no URL was stripped of its password")
		}
		if objects := sourcetest.InStore(t, s); bytes.Contains(objects, []byte(canary)) || len(objects) < 10_000 {
			at := bytes.Index(objects, []byte(canary))
			t.Errorf("the store has %d bytes, a canary at %d: %.200s", len(objects), at, objects[max(at-100, 0):])
		}
		if strings.Contains(log.String(), "canary") || log.Len() == 0 {
			t.Errorf("the log has a canary, or nothing: %s", log.String())
		}
		src.Close()
		for _, scan := range []dbsource.Scan{{Table: "users", Columns: []string{"password"}}, {Table: "sessions", Columns: []string{"key"}}, {Table: "plugin_secrets", Columns: []string{"token"}}} {
			again := open(t, dsn, 1)
			if err := again.Scan(t.Context(), scan, func([][]byte) error { return nil }); err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s.%s can be scanned: %v", scan.Table, scan.Columns[0], err)
			}
		}
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{DSN: strings.Replace(as, "/kojisnap_test", "/none", 1)}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a database that is not there: %v", err)
	}
}

// TestOtherProduction: a database that is not that of the hub whose snapshots the store has is refused with --full
// and another hub named as the ways out, and so is a hub's snapshot as the base of another production's.
func TestOtherProduction(t *testing.T) {
	dsn, c := production(t)
	s := sourcetest.Store(t)
	sourcetest.PullHub(t, c, s, pull.Options{Tags: []string{"f42"}, Event: 400})
	other := dbtest.Production(t)
	dbtest.Exec(t, other, "UPDATE events SET time = time + interval '1 microsecond' WHERE id = 400")
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"f41"}, Event: 419}
	_, err := dbsource.Pull(t.Context(), open(t, other, 1), s, o)
	var foreign *dbsource.OtherHubError
	if !errors.As(err, &foreign) || !strings.Contains(err.Error(), "--full") {
		t.Errorf("another production's database: %v", err)
	}
	if _, err := dbsource.Pull(t.Context(), open(t, dsn, 1), s, o); err != nil {
		t.Errorf("its own database: %v", err)
	}
	// A database of before the last snapshot has no such event; the time of an earlier one tells.
	dbtest.Exec(t, other, "SET session_replication_role = replica; DELETE FROM events WHERE id > 390; UPDATE events SET time = time + interval '1 microsecond'")
	o.Event = 390
	if _, err := dbsource.Pull(t.Context(), open(t, other, 1), s, o); !errors.As(err, &foreign) {
		t.Errorf("an earlier database of another production: %v", err)
	}
	o.Full = true
	if _, err := dbsource.Pull(t.Context(), open(t, other, 1), s, o); err != nil {
		t.Fatalf("with --full: %v", err)
	}
	// Production was restored, as it seems: from now on this is its history, though the store has later events.
	o.Full = false
	if _, err := dbsource.Pull(t.Context(), open(t, other, 1), s, o); err != nil {
		t.Errorf("after --full: %v", err)
	}
}
