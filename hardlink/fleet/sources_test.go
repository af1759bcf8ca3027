package fleet_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kojisnap/hardlink/fleet"
)

// TestSlots: no more jobs than a source has slots read it at a time, in whatever workers, and each has its part of the
// limits.
func TestSlots(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.delay.Store(int64(20 * time.Millisecond))
	var shards []fleet.Shard
	for i := range 12 {
		shards = append(shards, f.shard(fmt.Sprint(i), 10))
	}
	f.put(fleet.Plan{Topdir: f.topdir, Snapshot: "1-x", Shards: shards, Sources: []fleet.Source{{Name: "web", Slots: 3, Bytes: 1000, Requests: 6}, {Name: "dir", Slots: 5}}})
	var wrong atomic.Value
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			if _, err := f.run(fleet.Options{Jobs: 2, Sources: []string{"dir", "web"}, Work: func(ctx context.Context, job fleet.ShardJob) error {
				if job.Limits["web"] != (fleet.Limit{Bytes: 333, Requests: 2}) || job.Limits["dir"] != (fleet.Limit{}) || len(job.Limits) != 2 {
					wrong.Store(job.Limits)
				}
				return f.work(ctx, job)
			}}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	f.checkWhole(t, shards, 0)
	if most := f.most.Load(); most != 3 {
		t.Errorf("%d jobs read the source at a time, want 3", most)
	}
	if l := wrong.Load(); l != nil {
		t.Errorf("limits %v", l)
	}
}

// TestClosed: a source that answers 503 is left alone, then closed for all; one job tries it again, and when it serves,
// all go on. Shards do not fail of it.
func TestClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	f.delay.Store(int64(5 * time.Millisecond))
	f.site.status.Store(http.StatusServiceUnavailable)
	var shards []fleet.Shard
	for i := range 8 {
		shards = append(shards, f.shard(fmt.Sprint(i), 40))
	}
	f.enqueue("1-x", shards...)
	set := func(sql string) {
		t.Helper()
		if err := f.q.Exec(t.Context(), "UPDATE kojisnap_queue.fleet_source SET "+sql); err != nil {
			t.Fatal(err)
		}
	}
	set("failures = 2") // two failures in the past: the next closes it
	var calls atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := f.run(fleet.Options{Jobs: 4, ClosedFor: time.Hour, Work: func(ctx context.Context, job fleet.ShardJob) error {
			calls.Add(1)
			return f.work(ctx, job)
		}}); err != nil {
			t.Error(err)
		}
	}()
	closed := func() {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			at := f.status().Sources[0]
			if at.Failures == 3 && at.OpenAt != nil && at.Error != "" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%+v is not closed", at)
			}
		}
		time.Sleep(time.Second) // the others look for a turn several times
	}
	closed()
	n := calls.Load()
	if n > 4 {
		t.Errorf("%d jobs read a closed source, want those 4 at most that had begun", n)
	}
	set("open_at = now()") // its hour is over
	closed()
	if probes := calls.Load() - n; probes != 1 {
		t.Errorf("%d jobs tried a source that was closed, want one", probes)
	}
	f.site.status.Store(0)
	set("open_at = now()")
	<-ended
	f.checkWhole(t, shards, int(calls.Load()))
	if s := f.status(); !s.Complete() || len(s.Failures) != 0 || s.Sources[0].Failures != 0 || s.Sources[0].OpenAt != nil || s.Sources[0].Error != "" {
		t.Errorf("%+v", s)
	}
}

// TestRetryAfter: a source is left alone for as long as it asks, and short of the third failure it is not closed.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 100)
	shard := f.shard("a", 1)
	f.enqueue("1-x", shard)
	var times []time.Time
	if _, err := f.run(fleet.Options{Work: func(ctx context.Context, job fleet.ShardJob) error {
		if times = append(times, time.Now()); len(times) == 1 {
			return &fleet.SourceError{Source: "web", After: 7 * time.Second, Err: fmt.Errorf("429")}
		}
		return f.work(ctx, job)
	}}); err != nil {
		t.Fatal(err)
	}
	if len(times) != 2 || times[1].Sub(times[0]) < 7*time.Second || times[1].Sub(times[0]) > 20*time.Second {
		t.Errorf("asked at %v", times)
	}
}
