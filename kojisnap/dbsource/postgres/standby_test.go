package postgres_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/retry"
)

// TestStandby: a standby gives what the primary's hub gives, by several sessions that see one moment. When the standby
// cancels them, as the primary has removed what they may still read, the pull is to be tried again and leaves no
// snapshot; the next one succeeds.
func TestStandby(t *testing.T) {
	primary, standby := dbtest.Standby(t, func(dsn string) { dbtest.FillProduction(t, dsn) })
	c := hubOf(t, primary, hubtest.Options{})
	o := dbsource.Options{Hub: c.URL(), Tags: []string{"f4*"}, Event: 419}
	byHub := sourcetest.PullHub(t, c, sourcetest.Store(t), pull.Options{Tags: o.Tags, Event: o.Event})

	src := open(t, standby, 3)
	is(t, src, standby, true)
	is(t, src, primary, false)
	// Committed, and replayed there, after the pull has begun: it does not see it.
	dbtest.Exec(t, primary, `INSERT INTO events (time) VALUES (now()); UPDATE build SET state = 2 WHERE id = 36`)
	dbtest.CaughtUp(t, primary, standby)
	s := sourcetest.Store(t)
	_, bySource := sourcetest.PullSource(t, src, s, o)
	sourcetest.Equal(t, byHub, bySource)
	src.Close()

	src = open(t, standby, 3)
	dbtest.Exec(t, primary, `UPDATE rpminfo SET size = size + 1`)
	dbtest.Exec(t, primary, `VACUUM rpminfo`)
	dbtest.CaughtUp(t, primary, standby)
	o.Full = true // not the same snapshot again
	s = sourcetest.Store(t)
	_, err := dbsource.Pull(t.Context(), src, s, o)
	var later *retry.TemporaryError
	if !errors.As(err, &later) {
		t.Fatalf("after a recovery conflict: %v, want a TemporaryError", err)
	}
	if !strings.Contains(err.Error(), "hot_standby_feedback") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	if all, err := repository.Snapshots(t.Context(), s); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v after a pull that failed", len(all), err)
	}
	src.Close()
	sourcetest.PullSource(t, open(t, standby, 3), s, o)
	conflictWhileReading(t, primary, standby)
}

// conflictWhileReading makes the standby cancel a scan that has begun.
func conflictWhileReading(t *testing.T, primary, standby string) {
	t.Helper()
	// More than the buffers between server and client hold.
	dbtest.Exec(t, primary, `INSERT INTO events (id, time) SELECT n, now() FROM generate_series(1000001, 1200000) n`)
	dbtest.CaughtUp(t, primary, standby)
	src := open(t, standby, 1)
	defer src.Close()
	rows := 0
	err := src.Scan(t.Context(), dbsource.Scan{Table: "events", Columns: []string{"id", "time"}}, func([][]byte) error {
		if rows++; rows == 1 {
			dbtest.Exec(t, primary, `SET session_replication_role = replica; DELETE FROM events WHERE id > 1000000`)
			dbtest.Exec(t, primary, `VACUUM events`)
		}
		if rows%1000 == 0 { // slowly: the standby cancels the scan while it has rows to send
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	})
	var later *retry.TemporaryError
	if !errors.As(err, &later) || !strings.Contains(err.Error(), "conflict with recovery") || !strings.Contains(err.Error(), "hot_standby_feedback") {
		t.Errorf("cancelled after %d rows: %v", rows, err)
	}
}

// TestConnectionLost: sessions that the server ends are an error to be tried again, and leave no snapshot.
func TestConnectionLost(t *testing.T) {
	dsn, c := production(t)
	src := open(t, dsn, 2)
	dbtest.Exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'kojisnap'`)
	s := sourcetest.Store(t)
	_, err := dbsource.Pull(t.Context(), src, s, dbsource.Options{Hub: c.URL(), Tags: []string{"f42"}, Event: 419})
	var later *retry.TemporaryError
	if !errors.As(err, &later) {
		t.Errorf("got %v, want a TemporaryError", err)
	}
	if all, err := repository.Snapshots(t.Context(), s); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v after a pull that failed", len(all), err)
	}
}

// TestLocked: a table that an upgrade of Koji has locked is an error to be tried again, and not a wait for ever.
func TestLocked(t *testing.T) {
	dsn, c := production(t)
	src, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, LockTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	tx, err := dbtest.Connect(t, dsn).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "LOCK TABLE rpmsigs IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	_, err = dbsource.Pull(t.Context(), src, sourcetest.Store(t), dbsource.Options{Hub: c.URL(), Tags: []string{"f42"}, Event: 419})
	var later *retry.TemporaryError
	if !errors.As(err, &later) || !strings.Contains(err.Error(), "reading rpmsigs") || !strings.Contains(err.Error(), "a table is locked") {
		t.Errorf("got %v, want a TemporaryError that names the table", err)
	}
}
