package fleet_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet"
	"kojisnap/kojisnap/seedtest"
)

// TestKilled: workers are killed with SIGKILL every few seconds, and others take their place. Each shard goes on within
// seconds, not after River's 25 min: each file is there once and whole, nothing is lost, and no two workers are at one shard.
func TestKilled(t *testing.T) {
	t.Parallel()
	kills, every, files := 3, 2*time.Second, 60
	if seedtest.Long() {
		kills, every, files = 8, 5*time.Second, 200
	}
	f := newFixture(t, 20_000)
	f.delay.Store(int64(25 * time.Millisecond))
	var shards []fleet.Shard
	for i := range 16 {
		shards = append(shards, f.shard(fmt.Sprint(i), files))
	}
	f.enqueue("1-x", shards...)
	c := workerConfig{DSN: f.dsn, Dir: f.dir, Jobs: 2}
	workers := []*process{spawn(t, c), spawn(t, c), spawn(t, c)}
	for i := range kills {
		time.Sleep(every)
		victim := &workers[i%len(workers)]
		if err := (*victim).cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if code := (*victim).wait(t, time.Second*10); code != -1 {
			t.Fatalf("the worker ended with %d before it was killed: this tests nothing\n%s", code, (*victim).out.String())
		}
		*victim = spawn(t, c)
	}
	for _, w := range workers {
		if code := w.wait(t, 2*time.Minute); code != 0 {
			t.Errorf("exit %d: %s", code, w.out.String())
		}
	}
	f.checkWhole(t, shards, kills*c.Jobs)
	s := f.status()
	if !s.Complete() {
		t.Errorf("%+v", s)
	}
	var lost int
	if err := f.q.Scan(t.Context(), &lost, "SELECT sum(lost) FROM kojisnap_queue.fleet_shard"); err != nil || lost == 0 {
		t.Errorf("%d jobs were lost, %v: this tests nothing", lost, err)
	}
}

// TestDeadly: a shard over which workers die again and again is failed, and named.
func TestDeadly(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.enqueue("1-x", f.shard("a", 1), f.shard("b", 2))
	if err := f.q.Exec(t.Context(), `UPDATE kojisnap_queue.fleet_shard SET lost = $1 WHERE shard = 'b'`, fleet.LostMost-1); err != nil {
		t.Fatal(err)
	}
	// A worker took it and died.
	if err := f.q.Exec(t.Context(), `UPDATE kojisnap_queue.river_job SET state = 'running', attempt = 1, attempted_at = now() - interval '1 minute', attempted_by = '{dead}' WHERE args ->> 'shard' = 'b'`); err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(fleet.Options{}); err != nil {
		t.Fatal(err)
	}
	s := f.status()
	if s.Shards != (fleet.Counts{All: 2, Done: 1, Failed: 1}) || len(s.Failures) != 1 || s.Failures[0].Shard != "b" || !strings.Contains(s.Failures[0].Error, "workers died") {
		t.Errorf("%+v", s)
	}
}

// TestQueueRestarts: PostgreSQL is restarted, as by a crash, while workers are at work, and is then away for some time.
// Work stops, and goes on when it answers again.
func TestQueueRestarts(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "kojisnap-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := dbtest.StartLocal(dir)
	if err != nil {
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dbtest.StopLocal(dir); err != nil {
			t.Error(err)
		}
	})
	f := newFixtureAt(t, 20_000, dsn)
	f.delay.Store(int64(25 * time.Millisecond))
	var shards []fleet.Shard
	for i := range 8 {
		shards = append(shards, f.shard(fmt.Sprint(i), 80))
	}
	f.enqueue("1-x", shards...)
	c := workerConfig{DSN: dsn, Dir: f.dir, Jobs: 2}
	workers := []*process{spawn(t, c), spawn(t, c)}
	time.Sleep(2 * time.Second)
	if err := dbtest.RestartLocal(dir); err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		if code := w.wait(t, 2*time.Minute); code != 0 {
			t.Errorf("exit %d: %s", code, w.out.String())
		}
		if out := w.out.String(); !strings.Contains(out, "the queue does not answer") || !strings.Contains(out, "the queue answers again") {
			t.Errorf("the log does not tell of it: %s", out)
		}
	}
	f.checkWhole(t, shards, 0)
	if s := f.status(); !s.Complete() {
		t.Errorf("%+v", s)
	}
}
