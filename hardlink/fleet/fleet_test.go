package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet"
)

// testLog is a log that a failed test shows.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil && !bytes.Contains(b, []byte(`msg="queue: `)) { // River's
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// fixture is a queue with a topdir.
type fixture struct {
	*site
	t      *testing.T
	dsn    string
	q      *fleet.Queue
	topdir string
}

func newFixture(t *testing.T, size int) *fixture { return newFixtureAt(t, size, dbtest.Empty(t)) }

func newFixtureAt(t *testing.T, size int, dsn string) *fixture {
	t.Helper()
	f := &fixture{site: newSite(t, size), t: t, dsn: dsn}
	var err error
	if f.q, err = fleet.Make(t.Context(), f.dsn, testLog(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.q.Close)
	if f.topdir, err = fleet.TopdirID(f.dir, true); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) enqueue(snapshot string, shards ...fleet.Shard) fleet.Enqueued {
	f.t.Helper()
	return f.put(fleet.Plan{Topdir: f.topdir, Env: "stg", Snapshot: snapshot, Shards: shards, Sources: []fleet.Source{{Name: "web", Slots: 16}}})
}

func (f *fixture) put(p fleet.Plan) fleet.Enqueued {
	f.t.Helper()
	r, err := f.q.Enqueue(f.t.Context(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) status() fleet.Status {
	f.t.Helper()
	s, err := f.q.Status(f.t.Context(), f.topdir)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// run runs a worker until no shard is left.
func (f *fixture) run(o fleet.Options) (fleet.Done, error) {
	o.Topdir, o.UntilDone, o.Log = f.topdir, true, testLog(f.t)
	if o.Work == nil {
		o.Work = f.work
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	done, err := f.q.Run(ctx, o)
	if ctx.Err() != nil {
		f.t.Error("the shards were not done within a minute")
	}
	return done, err
}

// TestEnqueue: a plan that is put twice has each job once; a later snapshot replaces it, and what has not changed stays
// done.
func TestEnqueue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	a, b, c := f.shard("a", 1), f.shard("b", 2), f.shard("c", 3)
	if got, want := f.enqueue("1-x", a, b), (fleet.Enqueued{Snapshot: "1-x", Shards: 2, Files: 3, Bytes: 300, Queued: 2}); got != want {
		t.Errorf("first: %+v", got)
	}
	if got, want := f.enqueue("1-x", a, b), (fleet.Enqueued{Snapshot: "1-x", Shards: 2, Files: 3, Bytes: 300, Waiting: 2}); got != want {
		t.Errorf("again: %+v", got)
	}
	if got, want := f.enqueue("2-x", a, c), (fleet.Enqueued{Snapshot: "2-x", Shards: 2, Files: 4, Bytes: 400, Queued: 2, Dropped: 1}); got != want {
		t.Errorf("other snapshot: %+v", got)
	}
	if s := f.status(); s.Waiting != 2 {
		t.Errorf("%d jobs wait, want 2: those of the first snapshot go", s.Waiting)
	}
	if _, err := f.run(fleet.Options{}); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, []fleet.Shard{a, c}, 0)
	changed := f.shard("c", 4)
	if got, want := f.enqueue("3-x", a, changed), (fleet.Enqueued{Snapshot: "3-x", Shards: 2, Files: 5, Bytes: 500, Queued: 1, Done: 1}); got != want {
		t.Errorf("after the work: %+v", got)
	}
	if _, err := f.run(fleet.Options{}); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, []fleet.Shard{a, changed}, 0)
	if got, want := f.enqueue("3-x", a, changed), (fleet.Enqueued{Snapshot: "3-x", Shards: 2, Files: 5, Bytes: 500, Done: 2}); got != want {
		t.Errorf("at the end: %+v", got)
	}
}

// TestOrder: the largest shard is first.
func TestOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.enqueue("1-x", f.shard("small", 1), f.shard("large", 9), f.shard("middle", 5))
	var order []string
	if _, err := f.run(fleet.Options{Work: func(ctx context.Context, job fleet.ShardJob) error {
		order = append(order, job.Shard.Name)
		return f.work(ctx, job)
	}}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"large", "middle", "small"}) {
		t.Error(order)
	}
}

// TestWorkers: three workers share the shards, and the status counts what they do.
func TestWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 1000)
	var shards []fleet.Shard
	for i := range 30 {
		shards = append(shards, f.shard(fmt.Sprint(i), 1+i))
	}
	f.enqueue("1-x", shards...)
	if s := f.status(); s.Complete() || s.Settled() || s.Shards != (fleet.Counts{All: 30, Left: 30}) || s.Bytes.Done != 0 || s.Left != nil {
		t.Errorf("before: %+v", s)
	}
	var wait sync.WaitGroup
	var done [3]fleet.Done
	for i := range done {
		wait.Go(func() {
			var err error
			if done[i], err = f.run(fleet.Options{Jobs: 2}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	f.checkWhole(t, shards, 0)
	s := f.status()
	if !s.Complete() || s.Shards != (fleet.Counts{All: 30, Done: 30}) || s.Files != (fleet.Amount{All: 465, Done: 465}) || s.Bytes.Done != 465000 || s.Waiting != 0 {
		t.Errorf("after: %+v", s)
	}
	if s.Rate == 0 || s.Left == nil || *s.Left != 0 || len(s.Workers) == 0 {
		t.Errorf("rate %d, left %v, workers %v", s.Rate, s.Left, s.Workers)
	}
	var all fleet.Done
	for _, d := range done {
		all.Shards, all.Files, all.Bytes = all.Shards+d.Shards, all.Files+d.Files, all.Bytes+d.Bytes
	}
	if all.Shards != 30 || all.Files != 465 || all.Bytes != 465000 {
		t.Errorf("the workers made %+v", all)
	}
}

// TestPoisoned: a shard that fails each time, or panics, is failed after some attempts, and others go on; a shard of
// which something was kept back is failed at once. Passwords in errors are hidden. The plan put again tries them again.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	shards := []fleet.Shard{f.shard("bad", 9), f.shard("panics", 8), f.shard("held", 7), f.shard("good", 1)}
	f.enqueue("1-x", shards...)
	poison := true
	tries := map[string]int{}
	work := func(ctx context.Context, job fleet.ShardJob) error {
		tries[job.Shard.Name]++
		switch {
		case !poison || job.Shard.Name == "good":
			return f.work(ctx, job)
		case job.Shard.Name == "panics":
			panic("at the disco")
		case job.Shard.Name == "held":
			return &fleet.IncompleteError{Err: errors.New("2 builds are kept back")}
		}
		return errors.New("cannot read https://me:s3cr3t@host/x")
	}
	if _, err := f.run(fleet.Options{Work: work}); err != nil {
		t.Fatal(err)
	}
	s := f.status()
	if s.Complete() || !s.Settled() || s.Shards != (fleet.Counts{All: 4, Done: 1, Failed: 3}) || len(s.Failures) != 3 {
		t.Fatalf("%+v", s)
	}
	for i, want := range []struct {
		shard, text string
		failures    int
	}{{"bad", "cannot read https://…@host/x", fleet.Attempts}, {"held", "2 builds are kept back", 1}, {"panics", "at the disco", fleet.Attempts}} {
		got := s.Failures[i]
		if got.Shard != want.shard || !strings.Contains(got.Error, strings.ReplaceAll(want.text, "…", "me:xxxxx")) || got.Failures != want.failures || tries[want.shard] != want.failures || got.State != "failed" || got.Worker == "" {
			t.Errorf("%+v after %d tries, want %+v", got, tries[want.shard], want)
		}
	}
	poison = false
	if r := f.enqueue("1-x", shards...); r.Queued != 3 || r.Done != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := f.run(fleet.Options{Work: work}); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, shards, 0)
}

// TestTime: a job that had its time goes back to the queue, is resumed, and no attempt is counted.
func TestTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.delay.Store(int64(20 * time.Millisecond))
	shards := []fleet.Shard{f.shard("long", 120), f.shard("short", 1)}
	f.enqueue("1-x", shards...)
	calls := 0
	if _, err := f.run(fleet.Options{JobTime: 300 * time.Millisecond, Work: func(ctx context.Context, job fleet.ShardJob) error {
		calls++
		return f.work(ctx, job)
	}}); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, shards, calls)
	if calls <= fleet.Attempts+1 {
		t.Errorf("%d calls: this tests nothing", calls)
	}
	if s := f.status(); !s.Complete() {
		t.Errorf("%+v", s)
	}
}

// TestStop: when a worker is told to stop, work of less than the grace is done, other work goes back at once, and a
// worker goes on with it where it was.
func TestStop(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.delay.Store(int64(30 * time.Millisecond))
	shards := []fleet.Shard{f.shard("long", 500), f.shard("short", 10), f.shard("next", 1)}
	f.enqueue("1-x", shards...)
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	done, err := f.q.Run(ctx, fleet.Options{Topdir: f.topdir, Jobs: 2, Grace: 4 * time.Second, Log: testLog(t), Work: func(ctx context.Context, job fleet.ShardJob) error {
		if job.Shard.Name == "short" {
			cancel()
		}
		return f.work(ctx, job)
	}})
	if err != nil || done.Shards != 1 || time.Since(begun) > 14*time.Second {
		t.Errorf("%+v, %v after %v", done, err, time.Since(begun))
	}
	s := f.status()
	if s.Shards != (fleet.Counts{All: 3, Done: 1, Left: 2}) || s.Waiting != 2 || len(s.Failures) != 0 || s.Files.Done <= 10 {
		t.Errorf("%+v", s)
	}
	f.delay.Store(0)
	if _, err := f.run(fleet.Options{}); err != nil {
		t.Fatal(err)
	}
	f.checkWhole(t, shards, 1)
}

// TestHidden: no password of a DSN is in an error or in the log.
func TestHidden(t *testing.T) {
	var log bytes.Buffer
	for _, dsn := range []string{"postgres://me:s3cr3t@127.0.0.1:1/x", "host=127.0.0.1 port=1 password=s3cr3t", "postgres://me:s3cr3t@127.0.0.1:x/x", "password='s3cr3t"} {
		_, err := fleet.Open(t.Context(), dsn, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.HasPrefix(err.Error(), "queue: ") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	if strings.Contains(log.String(), "s3cr3t") {
		t.Error(log.String())
	}
}
