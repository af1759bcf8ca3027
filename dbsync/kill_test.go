package dbsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// at calls a function when a stage has counted so many units.
type at struct {
	stage string
	n     int64
	do    func()
}

// counting is held while a stage counts: an import counts in several sessions at once.
var counting sync.Mutex

func (a *at) Begin(stage string, _ int64) progress.Counter { return &counter{at: a, stage: stage} }

type counter struct {
	at    *at
	stage string
	n     int64
}

func (c *counter) Add(n int64) {
	counting.Lock()
	defer counting.Unlock()
	if c.n += n; c.at.do != nil && c.stage == c.at.stage && c.n >= c.at.n {
		do := c.at.do
		c.at.do = nil
		do()
	}
}
func (c *counter) End() {}

// TestKilled ends the load's backend in the middle: nothing has changed, and a rerun completes.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	snap := w.snapshot(shot{})
	s := newStaging(t, admin)
	other := dbtest.Connect(t, s.dsn)
	whole := s.whole()
	for _, point := range seedtest.Some([]at{{stage: "read", n: 1000}, {stage: "merge", n: 1}, {stage: "merge", n: 30}, {stage: "merge", n: 38}}, 1) { // TestKilledAnywhere has more
		t.Run(fmt.Sprintf("%s %d", point.stage, point.n), func(t *testing.T) {
			conn := dbtest.Connect(t, s.dsn)
			pid := conn.PgConn().PID()
			point.do = func() {
				if _, err := other.Exec(t.Context(), "SELECT pg_terminate_backend($1, 5000)", int32(pid)); err != nil {
					t.Error(err)
				}
			}
			_, err := dbsync.Load(t.Context(), conn, snap, dbsync.LoadOptions{Progress: &point})
			var temporary *retry.TemporaryError
			if !errors.As(err, &temporary) {
				t.Errorf("load: %v", err)
			}
			same(t, whole, s.whole())
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := dbsync.Load(ctx, dbtest.Connect(t, s.dsn), snap, dbsync.LoadOptions{Progress: &at{stage: "merge", n: 20, do: cancel}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("load: %v", err)
		}
		same(t, whole, s.whole())
	})
	s.load(snap, dbsync.LoadOptions{})
	s.check(w, shot{})
}

// killer is a connection's tracer that ends its backend before the n-th statement.
type killer struct {
	t     *testing.T
	other *pgx.Conn
	n     int
	count int
}

func (k *killer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if k.count++; k.count == k.n {
		if _, err := k.other.Exec(ctx, "SELECT pg_terminate_backend($1, 5000)", int32(conn.PgConn().PID())); err != nil {
			k.t.Error(err)
		}
	}
	return ctx
}

func (k *killer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (k *killer) connect(dsn string) *pgx.Conn {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		k.t.Fatal(err)
	}
	config.Tracer, config.DefaultQueryExecMode = k, pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(k.t.Context(), config)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// TestKilledAnywhere ends the backend of an init, of a first load, of a second one and of one with
// an overlay (in the short form they are one) at some twelve places each, from the first statement to the last.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	dsn := dbtest.Fresh(t)
	s := &staging{t: t, dsn: dsn, conn: dbtest.Connect(t, dsn)}
	s.exec(admin)
	other := dbtest.Connect(t, dsn)
	over := parse(t, exampleOverlay)
	first := w.snapshot(shot{})
	for _, c := range changes {
		c.change(w)
	}
	second := w.snapshot(shot{})
	load := func(snap *snapfile.Snapshot, opt dbsync.LoadOptions) func(*pgx.Conn) error {
		return func(conn *pgx.Conn) error {
			_, err := dbsync.Load(t.Context(), conn, snap, opt)
			return err
		}
	}
	type job struct {
		name string
		run  func(*pgx.Conn) error
		dry  func(*pgx.Conn) error
	}
	jobs := []job{
		{"init", func(conn *pgx.Conn) error {
			_, err := setup.Init(t.Context(), conn, setup.Options{Env: "stg"})
			return err
		}, func(conn *pgx.Conn) error {
			_, err := setup.Init(t.Context(), conn, setup.Options{Env: "stg", DryRun: true})
			return err
		}},
		{"first load", load(first, dbsync.LoadOptions{}), load(first, dbsync.LoadOptions{DryRun: true})},
		{"second load", load(second, dbsync.LoadOptions{}), load(second, dbsync.LoadOptions{DryRun: true})},
		{"overlay", load(second, dbsync.LoadOptions{Overlay: over}), load(second, dbsync.LoadOptions{Overlay: over, DryRun: true})},
	}
	if !seedtest.Long() {
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return j.name == "second load" })
	}
	for _, job := range jobs {
		whole := s.whole()
		counter := &killer{t: t, other: other}
		if err := job.dry(counter.connect(dsn)); err != nil {
			t.Fatal(err)
		}
		points := 3
		if seedtest.Long() {
			points = 12
		}
		for i := range points {
			k := &killer{t: t, other: other, n: 2 + (counter.count-3)*i/(points-1)} // the first and the last are kojisnap's lock
			err := job.run(k.connect(dsn))
			var temporary *retry.TemporaryError
			if !errors.As(err, &temporary) {
				t.Errorf("%s, killed at statement %d of %d: %v", job.name, k.n, counter.count, err)
			}
			same(t, whole, s.whole())
		}
		if err := job.run(dbtest.Connect(t, dsn)); err != nil {
			t.Fatalf("%s, after all that: %v", job.name, err)
		}
	}
}

// TestLocks: a second kojisnap is turned away; a lock of the hub's is waited for.
func TestLocks(t *testing.T) {
	t.Parallel()
	w, s, first := newLoadedOf(t, shot{}, admin)
	conn := dbtest.Connect(t, s.dsn)
	// It waits for a lock much less long than PostgreSQL waits before it looks for a deadlock.
	for _, deadlock := range []string{"1s", "100ms"} {
		s.exec("SET deadlock_timeout = '" + deadlock + "'")
		s.load(first, dbsync.LoadOptions{Audit: true, Progress: &at{stage: "merge", n: 5, do: func() {
			if got := s.one("SELECT current_setting('lock_timeout')::interval * 20 = current_setting('deadlock_timeout')::interval"); got != "true" {
				t.Errorf("with a deadlock_timeout of %s, lock_timeout is %s", deadlock, s.one("SHOW lock_timeout"))
			}
			if _, err := dbsync.Load(t.Context(), conn, first, dbsync.LoadOptions{}); !errors.Is(err, lockfile.ErrLocked) {
				t.Errorf("a second load: %v", err)
			}
		}}})
	}

	w.find("build", "id", 1)["epoch"] = str(9)
	w.event()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT * FROM build WHERE id = 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	merges := 0
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Progress: stages(func(stage string) {
		if stage == "merge" {
			if merges++; merges == 2 {
				tx.Rollback(t.Context())
			}
		}
	})})
	if merges != 2 || counted(rep, "build").Updated != 1 {
		t.Errorf("%d attempts, report: %+v", merges, rep.Relations)
	}
	s.check(w, shot{})
}

type stages func(string)

func (f stages) Begin(stage string, _ int64) progress.Counter { f(stage); return &counter{at: &at{}} }

// TestVacuum: a load waits for none, neither before its commit nor for its statistics after it.
func TestVacuum(t *testing.T) {
	t.Parallel()
	w := newProduction(t)
	s := newStaging(t)
	tx, err := dbtest.Connect(t, s.dsn).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The lock that VACUUM holds.
	if _, err := tx.Exec(t.Context(), "LOCK TABLE build, rpminfo IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.check(w, shot{})
	if got := s.one("SELECT reltuples FROM pg_class WHERE oid = 'rpmsigs'::regclass"); got == "-1" {
		t.Error("the other tables were not analyzed")
	}
}

// TestHubReadsOn: the hub's reads go on while a load is about to commit, and see nothing of it.
func TestHubReadsOn(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	w.find("tag", "id", 4)["name"] = str("renamed")
	hub := &staging{t: t, dsn: s.dsn, conn: dbtest.Connect(t, s.dsn)}
	hub.exec("SET lock_timeout = '1ms'")
	before := hub.whole()
	done := false
	s.load(w.snapshot(shot{}), dbsync.LoadOptions{Progress: &at{stage: "merge", n: 38, do: func() {
		same(t, before, hub.whole())
		hub.exec(`BEGIN; INSERT INTO tag_updates (tag_id, updater_id, update_type) VALUES (3, 990000000, 2);
			INSERT INTO tag_listing (build_id, tag_id, creator_id) VALUES (20, 3, 990000000); ROLLBACK`)
		done = true
	}}})
	if !done {
		t.Error("the load did not come to its end")
	}
	s.check(w, shot{})
}

// TestHubWritesMeanwhile: the hub edits a row that the load is about to write. The load begins
// again, and finds that the row is staging's.
func TestHubWritesMeanwhile(t *testing.T) {
	t.Parallel()
	w, s := newLoaded(t, admin)
	w.find("build", "id", 1)["epoch"] = str(9)
	w.revoke(w.find("tag_listing", "build_id", 9, "tag_id", 4, "active", "t"))
	hub := &staging{t: t, dsn: s.dsn, conn: dbtest.Connect(t, s.dsn)}
	merges := 0
	rep := s.load(w.snapshot(shot{}), dbsync.LoadOptions{Progress: stages(func(stage string) {
		if stage != "merge" {
			return
		}
		if merges++; merges == 1 {
			hub.exec("UPDATE build SET owner = 990000000 WHERE id = 1")
		}
	})})
	if got := s.one("SELECT owner || ' ' || coalesce(epoch, 0) FROM build WHERE id = 1"); got != "990000000 0" || merges != 2 {
		t.Errorf("build 1: %s, after %d attempts", got, merges)
	}
	if len(rep.Kept) != 1 || rep.Kept[0].Key != "id=1" || counted(rep, "tag_listing").Revoked != 1 {
		t.Errorf("report: %+v", rep)
	}
}

// TestDamagedSnapshot: what is wrong with a snapshot comes through, and nothing has changed. One that
// lacks a row that others refer to is loaded without these, which are named.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	s := newStaging(t)
	whole := s.whole()
	for _, what := range []string{"damaged", "missing", "not closed"} {
		t.Run(what, func(t *testing.T) {
			w := newProduction(t)
			if what == "not closed" {
				w.drop("users", "id", 1)
			}
			snap := w.snapshot(shot{})
			object := snap.Relation("tag_listing").Segments[0].Object()
			switch what {
			case "damaged":
				body := w.store.objects[object]
				body[len(body)/2] ^= 0x40
			case "missing":
				delete(w.store.objects, object)
			}
			rep, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{DryRun: what == "not closed"})
			var damaged *snapfile.DamagedError
			switch {
			case what == "not closed" && err == nil && len(rep.Bad) > 0:
				for _, e := range rep.Bad {
					if !strings.Contains(e.What, "users 1, which is neither in the snapshot nor here") {
						t.Errorf("bad: %+v", e)
					}
				}
			case err == nil, what == "damaged" && !errors.As(err, &damaged), what == "missing" && !strings.Contains(err.Error(), object), what == "not closed":
				t.Errorf("load: %v", err)
			}
			same(t, whole, s.whole())
		})
	}
}
