package fleet_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet"
	"kojisnap/hardlink/fleet/fleettest"
	"kojisnap/kojisnap/seedtest"
)

// TestCutOff: a worker that is cut off from the queue, and not from the source, stops within 10 s; then, and not before,
// another one gets its shards. If its work does not stop, its process ends. When it is connected again, it goes on.
func TestCutOff(t *testing.T) {
	t.Parallel()
	network := fleettest.New(t)
	mute, deaf := network.Host(""), network.Host("")
	port := freePort(t)
	dir, err := os.MkdirTemp("", "kojisnap-fleet-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dbtest.StartLocalAt(dir, "'*'", network.Clients(), port); err != nil {
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dbtest.StopLocal(dir); err != nil {
			t.Error(err)
		}
	})
	dsn := func(host string) string {
		return fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", host, port)
	}
	f := newFixtureAt(t, 2000, dsn("127.0.0.1"))
	f.delay.Store(int64(50 * time.Millisecond))
	// The workers reach the server at different addresses of this machine, so it listens at all, and each has its own URL.
	server := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", ":0"); err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)
	url := func(host string) string {
		return fmt.Sprintf("http://%s:%d", host, server.Listener.Addr().(*net.TCPAddr).Port)
	}
	shards := []fleet.Shard{f.shard("1", 1200), f.shard("2", 1200)}
	f.enqueue("1-x", shards...)
	worker := func(h *fleettest.Host, isDeaf bool) *process {
		return spawn(t, workerConfig{DSN: dsn(h.Here), Dir: f.dir, URL: url(h.Here), Jobs: 1, Deaf: isDeaf}, h.Exec()...)
	}
	first, second := worker(mute, false), worker(deaf, true)
	f.waitFor("both work", 20*time.Second, func() bool { return len(f.pids()) == 2 })
	mute.Cut(port)
	deaf.Cut(port)
	cut := time.Now()
	if code := second.wait(t, 20*time.Second); code != 5 || !strings.Contains(second.out.String(), "did not stop within 10s") {
		t.Errorf("the worker whose work does not stop ended with %d: %s", code, second.out.String())
	}
	time.Sleep(time.Until(cut.Add(12 * time.Second)))
	for pid, at := range f.pids() {
		if took := at.Sub(cut); took > 10*time.Second {
			t.Errorf("process %d worked for %v after it was cut off", pid, took)
		} else if took < 0 {
			t.Errorf("process %d ended %v before it was cut off: this tests nothing", pid, -took)
		}
	}
	if !seedtest.Long() {
		return // PostgreSQL's and the reclaimer's waits take half a minute more
	}
	third := spawn(t, workerConfig{DSN: dsn("127.0.0.1"), Dir: f.dir, Jobs: 2})
	f.waitFor("another gets the shards", 60*time.Second, func() bool { return len(f.pids()) == 3 })
	if took := time.Since(cut); took < 20*time.Second {
		t.Errorf("another got a shard %v after the cut", took)
	}
	mute.Mend()
	f.delay.Store(int64(5 * time.Millisecond))
	for _, w := range []*process{first, third} {
		if code := w.wait(t, 2*time.Minute); code != 0 {
			t.Errorf("exit %d: %s", code, w.out.String())
		}
	}
	f.checkWhole(t, shards, 2)
}

// pids returns the processes that copied, and when they did last.
func (f *fixture) pids() map[int]time.Time {
	last := map[int]time.Time{}
	for _, e := range f.events(f.t) {
		last[e.pid] = e.at
	}
	return last
}

// waitFor fails unless something is so in time.
func (f *fixture) waitFor(what string, within time.Duration, is func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("after %v not yet: %s", within, what)
		}
	}
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
