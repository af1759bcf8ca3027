package fleet_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet"
)

// TestRefused: a worker refuses a queue that is none or of another version, and a plan for another topdir, another
// snapshot or other sources, before it does anything.
func TestRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newFixture(t, 100)
	run := func(o fleet.Options) error {
		o.Work = func(context.Context, fleet.ShardJob) error { t.Error("it works"); return nil }
		_, err := f.q.Run(ctx, o)
		return err
	}
	var none *fleet.NoPlanError
	if err := run(fleet.Options{Topdir: f.topdir}); !errors.As(err, &none) || none.Others != 0 {
		t.Errorf("before the plan: %v", err)
	}
	f.enqueue("1-x", f.shard("a", 1))

	other := t.TempDir()
	if _, err := fleet.TopdirID(other, false); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is it mounted?") {
		t.Errorf("a topdir without a note: %v", err)
	}
	if _, err := fleet.TopdirID(filepath.Join(other, "none"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no topdir: %v", err)
	}
	id, err := fleet.TopdirID(other, true)
	if again, _ := fleet.TopdirID(other, true); err != nil || again != id || id == f.topdir {
		t.Errorf("ids %s, %s, %s, %v", id, again, f.topdir, err)
	}
	if err := run(fleet.Options{Topdir: id}); !errors.As(err, &none) || none.Others != 1 {
		t.Errorf("other topdir: %v", err)
	}
	if err := os.WriteFile(filepath.Join(other, fleet.TopdirNote), []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.TopdirID(other, true); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged note: %v", err)
	}

	var mismatch *fleet.MismatchError
	if err := run(fleet.Options{Topdir: f.topdir, Snapshot: "2-x"}); !errors.As(err, &mismatch) || !strings.Contains(err.Error(), "snapshot 1-x, this worker 2-x") {
		t.Errorf("other snapshot: %v", err)
	}
	if err := run(fleet.Options{Topdir: f.topdir, Sources: []string{"web", "https://me:s3cr3t@x/"}}); !errors.As(err, &mismatch) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("other sources: %v", err)
	}

	open := func() error {
		q, err := fleet.Open(ctx, f.dsn, nil)
		if err == nil {
			q.Close()
		}
		return err
	}
	var version *fleet.VersionError
	for _, c := range []struct{ do, undo, says string }{
		{"UPDATE kojisnap_queue.fleet_format SET version = version + 1", "UPDATE kojisnap_queue.fleet_format SET version = version - 1", "newer"},
		{"UPDATE kojisnap_queue.fleet_format SET version = version - 1", "UPDATE kojisnap_queue.fleet_format SET version = version + 1", "no queue"},
		{"INSERT INTO kojisnap_queue.river_migration (line, version, created_at) VALUES ('main', 99, now())", "DELETE FROM kojisnap_queue.river_migration WHERE version = 99", "newer"},
	} {
		if err := f.q.Exec(ctx, c.do); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil || !strings.Contains(err.Error(), c.says) || c.says == "newer" && !errors.As(err, &version) {
			t.Errorf("%s: %v", c.do, err)
		}
		if c.says == "newer" {
			if q, err := fleet.Make(ctx, f.dsn, nil); err == nil {
				t.Errorf("%s: it is migrated", c.do)
				q.Close()
			}
		}
		if err := f.q.Exec(ctx, c.undo); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	if _, err := fleet.Open(ctx, dbtest.Empty(t), nil); !errors.Is(err, fleet.ErrNoQueue) {
		t.Errorf("an empty database: %v", err)
	}
	var dsn *dbconn.DSNError
	if _, err := fleet.Open(ctx, "x", nil); !errors.As(err, &dsn) {
		t.Errorf("a bad DSN: %v", err)
	}
}

// TestPooler: a worker refuses a queue behind a pooler in transaction mode, where two workers would have the same locks.
func TestPooler(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.enqueue("1-x", f.shard("a", 1))
	q, err := fleet.Open(t.Context(), dbtest.Pooler(t, f.dsn), testLog(t))
	if err == nil {
		defer q.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err = q.Run(ctx, fleet.Options{Topdir: f.topdir, Work: f.work, UntilDone: true, Log: testLog(t)})
	}
	if err == nil || !strings.Contains(err.Error(), "pooler") {
		t.Errorf("a pooler: %v", err)
	}
	if s := f.status(); s.Shards.Done != 0 {
		t.Errorf("it worked: %+v", s)
	}
}

// TestHeal: a shard whose job was lost gets another one, once; one that is done or failed does not.
func TestHeal(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newFixture(t, 100)
	f.enqueue("1-x", f.shard("a", 1), f.shard("b", 2), f.shard("c", 3))
	for _, sql := range []string{
		"DELETE FROM kojisnap_queue.river_job WHERE args ->> 'shard' IN ('a', 'c')",
		"UPDATE kojisnap_queue.fleet_shard SET state = 'failed' WHERE shard = 'c'",
	} {
		if err := f.q.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := f.q.Heal(ctx, f.topdir); err != nil {
			t.Fatal(err)
		}
		if s := f.status(); s.Waiting != 2 {
			t.Errorf("%d jobs wait, want 2", s.Waiting)
		}
	}
}

// TestTwin: two jobs for one shard, as after a rescue by River of a job that still runs: one works, and the other waits
// and finds it done.
func TestTwin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.delay.Store(int64(20 * time.Millisecond))
	shard := f.shard("a", 50)
	f.enqueue("1-x", shard)
	if err := f.q.Exec(t.Context(), `INSERT INTO kojisnap_queue.river_job (state, args, kind, max_attempts, priority, queue, metadata, scheduled_at)
		SELECT state, args, kind, max_attempts, priority, queue, metadata, scheduled_at FROM kojisnap_queue.river_job`); err != nil {
		t.Fatal(err)
	}
	// The work's own lock must not hide what the queue does.
	var calls, atWork atomic.Int64
	done, err := f.run(fleet.Options{Jobs: 2, Work: func(ctx context.Context, job fleet.ShardJob) error {
		calls.Add(1)
		if atWork.Add(1) > 1 {
			t.Error("two work on one shard")
		}
		defer atWork.Add(-1)
		return f.work(ctx, job)
	}})
	if err != nil || done.Shards != 1 || done.Files != 50 || calls.Load() != 1 {
		t.Errorf("%+v, %v, %d calls", done, err, calls.Load())
	}
	f.checkWhole(t, []fleet.Shard{shard}, 0)
}
