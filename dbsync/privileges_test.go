package dbsync_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/overlay"
	"kojisnap/dbsync/setup"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/retry"
)

// role makes a role that is no superuser, called after the database, for the time of a test.
func (s *staging) role(name string) string {
	s.t.Helper()
	name = s.one("SELECT current_database()") + "_" + name
	s.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'secret' NOSUPERUSER NOCREATEDB NOCREATEROLE", name))
	dsn := s.dsn
	s.t.Cleanup(func() {
		dbtest.Exec(s.t, dsn, "REASSIGN OWNED BY "+name+" TO CURRENT_USER; DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name)
	})
	return name
}

// as connects as a role.
func (s *staging) as(role string) *pgx.Conn {
	s.t.Helper()
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.User, config.Password = role, "secret"
	conn, err := pgx.ConnectConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(s.t.Context()) })
	return conn
}

// owned makes a fresh database whose tables belong to a role that is no superuser, as Koji's do.
func owned(t *testing.T) (s *staging, owner string) {
	dsn := dbtest.Fresh(t)
	s = &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	s.exec(admin)
	owner = s.role("owner")
	s.exec(strings.ReplaceAll(`DO $$ DECLARE r record; BEGIN
		FOR r IN SELECT c.oid::regclass AS name FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
			EXECUTE format('ALTER TABLE %s OWNER TO OWNER_', r.name);
		END LOOP; END $$`, "OWNER_", owner))
	s.exec(fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", s.one("SELECT current_database()"), owner))
	s.exec("REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as PostgreSQL 15 does by itself
	return s, owner
}

// TestOwner runs all as the owner of Koji's database, who is no superuser.
func TestOwner(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s, owner := owned(t)
	conn := s.as(owner)
	if _, err := setup.Init(t.Context(), conn, setup.Options{Env: "stg"}); err != nil {
		t.Fatal(err)
	}
	s.everything(w, conn)
}

// everything loads all, all changes, and an overlay, as a role.
func (s *staging) everything(w *production, conn *pgx.Conn) {
	s.t.Helper()
	admin := s.conn
	defer func() { s.conn = admin }()
	s.conn = conn
	over, err := overlay.Parse("overlay.toml", []byte(exampleOverlay))
	if err != nil {
		s.t.Fatal(err)
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	for _, c := range changes {
		c.change(w)
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	s.conn = admin
	s.check(w, shot{})
	s.conn = conn
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: over})
	w.event()
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Overlay: new(overlay.Overlay)})
	if _, err := status.Read(s.t.Context(), conn); err != nil {
		s.t.Error(err)
	}
}

// TestGrants loads as a role that has no more than what scripts/grants.sql gives, and without
// each of some of it, which is a line that names what is missing.
func TestGrants(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../scripts/grants.sql")
	if err != nil {
		t.Fatal(err)
	}
	w := newProduction(t)
	s, owner := owned(t)
	role := s.role("loader")
	if _, err := setup.Init(t.Context(), s.as(owner), setup.Options{Env: "stg"}); err != nil {
		t.Fatal(err)
	}
	grants := strings.NewReplacer("TO kojisnap", "TO "+role).Replace(string(body))
	if _, err := s.as(owner).Exec(t.Context(), grants); err != nil {
		t.Fatal(err)
	}
	conn := s.as(role)
	s.everything(w, conn)
	if _, err := conn.Exec(t.Context(), "SELECT password FROM users"); err == nil {
		t.Error("it can read passwords")
	}

	whole := s.whole()
	w.find("build", "id", 1)["epoch"] = str(9)
	w.event()
	snap := w.snapshot(shot{})
	for _, c := range []struct{ grant, on, says string }{
		{"USAGE", "SCHEMA kojisnap", "schema kojisnap"},
		{"SELECT", "kojisnap.mark", "table mark"},
		{"INSERT", "kojisnap.load", "table load"},
		{"SELECT", "tag_listing", "table tag_listing"},
		{"UPDATE", "build", "table build"},
		{"INSERT", "events", "table events"},
		{"INSERT", "tag_updates", "table tag_updates"},
		{"SELECT", "SEQUENCE rpminfo_id_seq", "sequence rpminfo_id_seq"},
		{"SELECT (id)", "users", "table users"},
	} {
		s.exec(fmt.Sprintf("REVOKE %s ON %s FROM %s", c.grant, c.on, role))
		_, err := dbsync.Load(t.Context(), conn, snap, dbsync.LoadOptions{})
		var temporary *retry.TemporaryError
		if err == nil || !strings.Contains(err.Error(), "permission denied for "+c.says) || !strings.Contains(err.Error(), "grants.sql") || errors.As(err, &temporary) {
			t.Errorf("without %s on %s: %v", c.grant, c.on, err)
		}
		s.exec(fmt.Sprintf("GRANT %s ON %s TO %s", c.grant, c.on, role))
	}
	same(t, whole, s.whole())
	s.conn = conn
	s.load(snap, dbsync.LoadOptions{})
}

// TestReadOnly: a server or a role that may not write is told so.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	snap := w.snapshot(shot{})
	s.exec(fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = on", s.one("SELECT current_database()")))
	conn := dbtest.Connect(t, s.dsn)
	_, err := dbsync.Load(t.Context(), conn, snap, dbsync.LoadOptions{})
	_, initErr := setup.Init(t.Context(), conn, setup.Options{Env: "stg"})
	for _, err := range []error{err, initErr} {
		if err == nil || !strings.Contains(err.Error(), "default_transaction_read_only is on") {
			t.Errorf("it says %v", err)
		}
	}
	if _, err := status.Read(t.Context(), conn); err != nil {
		t.Errorf("status: %v", err)
	}
}
