package hubtest_test

import (
	"context"
	"sync"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
)

func database(t *testing.T, dsn string) *hubtest.Database {
	t.Helper()
	db, err := hubtest.PostgreSQL(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestRecordingsFromPostgreSQL(t *testing.T) {
	compareRecordings(t, database(t, dbtest.Production(t)))
}

func TestCommittedContent(t *testing.T) {
	dsn := dbtest.Production(t)
	url := serve(t, hubtest.New(database(t, dsn), hubtest.Options{}))
	names := func() []string { return members(t, call(t, url, "listVolumes"), "name") }
	equal(t, "at first", names(), []string{"DEFAULT", "archive01", "ssd02"})

	conn := dbtest.Connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO volume (id, name) VALUES (50, E'tab\\there')"); err != nil {
		t.Fatal(err)
	}
	equal(t, "before the commit", names(), []string{"DEFAULT", "archive01", "ssd02"})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "after the commit", names(), []string{"DEFAULT", "archive01", "ssd02", "tab\there"})
	for _, step := range []struct {
		sql  string
		want []string
	}{
		{"UPDATE volume SET name = 'renamed' WHERE id = 50", []string{"DEFAULT", "archive01", "ssd02", "renamed"}},
		{"DELETE FROM volume WHERE id = 50", []string{"DEFAULT", "archive01", "ssd02"}},
		{"INSERT INTO volume (id, name) VALUES (51, 'other')", []string{"DEFAULT", "archive01", "ssd02", "other"}},
		{"DELETE FROM volume WHERE id = 51; INSERT INTO volume (id, name) VALUES (51, 'again')", []string{"DEFAULT", "archive01", "ssd02", "again"}},
		{"ALTER TABLE volume RENAME COLUMN name TO label", nil},
	} {
		dbtest.Exec(t, dsn, step.sql)
		if step.want == nil {
			equal(t, step.sql, names(), []string{"", "", "", ""})
			continue
		}
		equal(t, step.sql, names(), step.want)
	}
}

// A request sees one moment, whatever is committed while it runs.
func TestRequestIsOneMoment(t *testing.T) {
	dsn := dbtest.Production(t)
	url := serve(t, hubtest.New(database(t, dsn), hubtest.Options{}))
	conn := dbtest.Connect(t, dsn)
	ctx, stop := context.WithCancel(t.Context())
	moved := make(chan error, 1)
	go func() {
		// Each commit moves the members of a group to another one: each is always in exactly one.
		from, to := "provenpackagers", "nobody"
		for ctx.Err() == nil {
			if _, err := conn.Exec(ctx, "UPDATE users SET name = $2 WHERE usertype = 2 AND name = $1", from, to); err != nil && ctx.Err() == nil {
				moved <- err
				return
			}
			from, to = to, from
		}
		moved <- nil
	}()
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for range 40 {
				got := call(t, url, "multiCall", multi(inner("getUser", "<string>provenpackagers</string>"), inner("getUser", "<string>nobody</string>")))
				if n := len(members(t, got, "usertype")); n != 1 {
					t.Errorf("%d groups in one request, want 1", n)
				}
			}
		})
	}
	readers.Wait()
	stop()
	if err := <-moved; err != nil {
		t.Error(err)
	}
}

func TestNoDatabase(t *testing.T) {
	if _, err := hubtest.PostgreSQL(t.Context(), "postgres://127.0.0.1:1/none?connect_timeout=1"); err == nil {
		t.Error("no error without a server")
	}
	db := database(t, dbtest.Production(t))
	url := serve(t, hubtest.New(db, hubtest.Options{}))
	db.Close()
	got := call(t, url, "listVolumes")
	equal(t, "fault", members(t, got, "faultString"), []string{"database outage"})
	equal(t, "code", members(t, got, "faultCode"), []string{"1014"})
}

func TestEmptyDatabase(t *testing.T) {
	url := serve(t, hubtest.New(database(t, dbtest.Empty(t)), hubtest.Options{}))
	equal(t, "volumes", call(t, url, "count", "<string>listVolumes</string>"), call(t, url, "count", "<string>listTags</string>"))
}
