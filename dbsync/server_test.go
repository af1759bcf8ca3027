package dbsync_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/retry"
)

// private is a staging on a server of its own, which a test may stop.
func private(t *testing.T) (s *staging, dir string) {
	dir, err := os.MkdirTemp("", "kojisnap-own-")
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := dbtest.StartLocal(dir)
	if err != nil {
		os.RemoveAll(dir)
		t.Skipf("no PostgreSQL on this machine: %v", err)
	}
	t.Cleanup(func() {
		if err := dbtest.StopLocal(dir); err != nil {
			t.Error(err)
		}
	})
	return &staging{t: t, dsn: dsn}, dir
}

// begin makes a database like a fresh Koji's, in a tablespace, and marks it.
func (s *staging) begin(tablespace string) { s.t.Helper(); s.beginAs("stg", tablespace) }

// beginAs is begin with a name for the database.
func (s *staging) beginAs(name, tablespace string) {
	s.t.Helper()
	dbtest.Exec(s.t, s.dsn, "CREATE DATABASE "+name+" TABLESPACE "+tablespace)
	s.dsn = strings.Replace(s.dsn, "/postgres?", "/"+name+"?", 1)
	dbtest.Exec(s.t, s.dsn, kojiprod.SchemaSQL(true)+";"+admin)
	s.conn = dbtest.Connect(s.t, s.dsn)
	if _, err := setup.Init(s.t.Context(), s.conn, setup.Options{Env: "stg"}); err != nil {
		s.t.Fatal(err)
	}
}

// TestRestart: the server crashes amid a load, then comes back as a standby, and is promoted.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	snap := w.snapshot(shot{})
	s, dir := private(t)
	s.begin("pg_default")
	whole := s.whole()
	restart := func() {
		if err := dbtest.RestartLocal(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, point := range []at{{stage: "read", n: 500}, {stage: "merge", n: 20}} {
		point.do = restart
		_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Progress: &point})
		var temporary *retry.TemporaryError
		if !errors.As(err, &temporary) {
			t.Errorf("restarted at %s %d: %v", point.stage, point.n, err)
		}
		s.conn = dbtest.Connect(t, s.dsn)
		same(t, whole, s.whole())
	}

	if err := os.WriteFile(filepath.Join(dir, "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	restart()
	s.conn = dbtest.Connect(t, s.dsn)
	for _, dry := range []bool{true, false} {
		if _, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{DryRun: dry}); err == nil || !strings.Contains(err.Error(), `database "stg" is a standby's`) {
			t.Errorf("a standby: %v", err)
		}
	}
	if st, err := status.Read(t.Context(), s.conn); err != nil || st.Mark.Environment != "stg" {
		t.Errorf("a standby's status: %+v, %v", st, err)
	}
	same(t, whole, s.whole())
	if got := s.one("SELECT pg_promote()"); got != "true" {
		t.Fatalf("promoted: %s", got)
	}
	s.load(snap, dbsync.LoadOptions{})
	s.check(w, shot{})
}

// TestServerFull: the disk of the database is full; with room again the load completes.
func TestServerFull(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	snap := w.snapshot(shot{})
	s, dir := private(t)
	space, disk := s.tablespace(dir, 64<<20)
	s.begin(space)
	whole := s.whole()
	for _, room := range []int{0, 200 << 10, 1 << 20} { // from the first temporary table on
		disk.fill(room)
		_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{})
		if err == nil || !strings.Contains(err.Error(), "No space left on device") || !strings.Contains(err.Error(), "make room") {
			t.Errorf("with %d bytes of room: %v", room, err)
		}
		disk.clear()
		same(t, whole, s.whole())
	}
	s.load(snap, dbsync.LoadOptions{})
	s.check(w, shot{})
}
