package dbtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// Standby starts two servers of its own: a primary, and a standby that follows it by streaming replication and that
// after half a second cancels whatever reads what the primary has removed. It returns the DSNs of a database on each: fill makes it,
// on the primary. Both are stopped when the test ends. Where PostgreSQL's programs are missing the test is skipped, or
// fails if KOJISNAP_TEST_ALL is set.
func Standby(t testing.TB, fill func(dsn string)) (primary, standby string) {
	t.Helper()
	bin, err := binaries()
	if err == nil {
		_, err = os.Stat(filepath.Join(bin, "pg_basebackup"))
	}
	if err != nil {
		if os.Getenv("KOJISNAP_TEST_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first, second := serverDir(t), serverDir(t)
	primary, err = startLocal(first, "-c wal_level=replica -c max_wal_senders=4 -c full_page_writes=on")
	must(err)
	t.Cleanup(func() { stopServer(t, first) })
	fill(primary)
	cred, err := credential(second)
	must(err)
	must(runAs(cred, second, filepath.Join(bin, "pg_basebackup"), "-D", filepath.Join(second, "data"), "-h", first, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"))
	options := fmt.Sprintf("-k %s -c listen_addresses='' -c fsync=off -c max_connections=200 -c max_standby_streaming_delay=500 -c hot_standby_feedback=off", second)
	must(control(second, "-l", filepath.Join(second, "log"), "-o", options, "start"))
	t.Cleanup(func() { stopServer(t, second) })
	return primary, fmt.Sprintf("postgres://postgres@/postgres?host=%s", second)
}

func serverDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "kojisnap-pg-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func stopServer(t testing.TB, dir string) {
	if err := StopLocal(dir); err != nil {
		t.Error(err)
	}
}

// CaughtUp waits until a standby has replayed what its primary has written.
func CaughtUp(t testing.TB, primary, standby string) {
	t.Helper()
	var position string
	if err := Connect(t, primary).QueryRow(t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&position); err != nil {
		t.Fatal(err)
	}
	conn := Connect(t, standby)
	for {
		var there bool
		if err := conn.QueryRow(t.Context(), "SELECT pg_last_wal_replay_lsn() >= '"+position+"'::pg_lsn").Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// FillProduction makes of an empty database one with the schema of Koji 1.35 and all rows of package kojiprod.
func FillProduction(t testing.TB, dsn string) {
	t.Helper()
	Exec(t, dsn, kojiprod.SchemaSQL(false))
	if err := fillProduction(dsn); err != nil {
		t.Fatal(err)
	}
}
