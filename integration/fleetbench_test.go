package integration_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"kojisnap/dbsync/dbtest"
	"kojisnap/hardlink/fleet/fleettest"
	"kojisnap/kojisnap/seedtest"
)

// Links of the workers, and what the source gives to all: so many workers fill it.
const (
	fleetLink   = 20e6 / 8 // bytes a second
	fleetFilled = 8
)

// BenchmarkFleet copies all builds by 1, 2, 4, 8 and 16 workers, which are kojisnap's own processes in network namespaces,
// each with a link of 20 Mbit/s (tbf), from one web server that gives 160 Mbit/s in all. Throughput is that of the time in which
// all workers are at work: from 2 s after the first byte to when 85 % is copied. linear is the throughput for each worker as a part
// of one worker's; beyond 8 workers it is of-cap, the part of the source's rate that is used. A measurement counts only while
// the processors are busy for less than 70 %: else it says "not measured". KOJISNAP_BENCH_FLEET_MB (10) is how much each worker of a round
// copies.
func BenchmarkFleet(b *testing.B) {
	each := 10
	if v := os.Getenv("KOJISNAP_BENCH_FLEET_MB"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			b.Fatalf("KOJISNAP_BENCH_FLEET_MB=%q: want a number", v)
		}
		each = n
	}
	var one float64
	for _, workers := range []int{1, 2, 4, 8, 16} {
		b.Run(fmt.Sprint(workers, "-workers"), func(b *testing.B) {
			for b.Loop() {
				got := measureFleet(b, workers, each)
				if workers == 1 {
					one = got.rate
				}
				b.ReportMetric(got.rate/1e6, "MB/s")
				b.ReportMetric(got.busy*100, "%CPU")
				if workers <= fleetFilled && one > 0 {
					b.ReportMetric(got.rate/one/float64(workers), "linear")
				}
				b.ReportMetric(got.rate/(fleetLink*fleetFilled), "of-cap")
				if got.busy >= 0.7 {
					fmt.Printf("BenchmarkFleet/%d-workers: not measured: the processors were busy for %.0f %%\n", workers, got.busy*100)
				}
			}
		})
	}
}

// measured is what a round of workers came to.
type measured struct {
	rate, busy      float64
	received, files int64 // in bytes: what the links brought, and what the files have
}

// measureFleet copies all builds by so many workers.
func measureFleet(b testing.TB, workers, each int) measured {
	b.Helper()
	network := fleettest.New(b)
	l, err := net.Listen("tcp", ":0")
	must(b, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(b, l.Close())
	dir, err := os.MkdirTemp("", "kojisnap-fleet-")
	must(b, err)
	if _, err := dbtest.StartLocalAt(dir, "'*'", network.Clients(), port); err != nil {
		os.RemoveAll(dir)
		b.Fatal(err)
	}
	b.Cleanup(func() { must(b, dbtest.StopLocal(dir)) })
	queue := func(host string) string {
		return fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", host, port)
	}
	// All hosts reach the server by one name, so that the plan has one source: each host has it at its own link's end.
	const name = "production.invalid"
	// Four shards for each worker, of rpms of 250 kB.
	f := newFleetSite(b, workers*4, max(1, each*1e6/4/250_000), 250_000, queue("127.0.0.1"))
	f.pace = rate.NewLimiter(fleetLink*fleetFilled, 1<<18)
	all := int64(0)
	for _, size := range f.files {
		all += size
	}
	source := fmt.Sprintf("http://%s:%d", name, f.port)
	args := func(command, dsn string, more ...string) []string {
		return append([]string{command, "--store", f.store, "--snapshot", f.snapshot, "--topdir", f.topdir, "--queue", dsn, "--source", source}, more...)
	}
	if o := kojisnapRun(b, args("copy", queue("127.0.0.1"), "--builds", "all", "--slots", strconv.Itoa(workers))...); o.code != 0 {
		b.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	var running []*exec.Cmd
	var hosts []*fleettest.Host
	// What the links brought, not what the server wrote: that may still be in the system's buffers.
	received := func() (n int64) {
		for _, h := range hosts {
			n += h.Received()
		}
		return n
	}
	var said []*output
	for range workers {
		h := network.Host("20mbit")
		h.Knows(name)
		hosts = append(hosts, h)
		words := append(h.Exec(), append([]string{binary(b)}, args("worker", queue(h.Here), "--until-done")...)...)
		cmd := exec.CommandContext(b.Context(), words[0], words[1:]...)
		out := &output{}
		cmd.Stdout, cmd.Stderr, cmd.Env = out, out, cleanEnv(b)
		must(b, cmd.Start())
		running, said = append(running, cmd), append(said, out)
	}
	for f.served.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	begun, first, idle := time.Now(), received(), busyTime(b)
	for deadline := time.Now().Add(5 * time.Minute); received() < all*85/100; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d bytes after 5 min: %s", received(), all, said[0].String())
		}
	}
	last, took, now := received(), time.Since(begun), busyTime(b)
	m := measured{rate: float64(last-first) / took.Seconds(), busy: (now.busy - idle.busy) / math.Max(now.all-idle.all, 1)}
	for i, cmd := range running {
		if err := cmd.Wait(); err != nil {
			b.Fatalf("a worker: %v: %s", err, said[i])
		}
	}
	f.checkWhole(b)
	m.received, m.files = received(), all
	return m
}

// processorTime is what the processors did since the machine began, in ticks.
type processorTime struct{ busy, all float64 }

func busyTime(b testing.TB) (t processorTime) {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	must(b, err)
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, err := strconv.ParseFloat(field, 64)
		must(b, err)
		if i >= 8 { // guests are in user already
			break
		}
		t.all += n
		if i != 3 && i != 4 { // idle, and waiting for the disk
			t.busy += n
		}
	}
	return t
}

// TestFleetLinks: workers on hosts of their own, in network namespaces, with links that carry 20 Mbit/s, copy everything
// once, over these links. How fast that is BenchmarkFleet measures. The long form has more of both.
func TestFleetLinks(t *testing.T) {
	workers, each := 2, 4
	if seedtest.Long() {
		workers, each = 4, 8
	}
	m := measureFleet(t, workers, each)
	t.Logf("%d workers: %.1f MB/s, the processors busy for %.0f %%", workers, m.rate/1e6, m.busy*100)
	if m.received < m.files {
		t.Errorf("the links brought %d bytes of %d", m.received, m.files)
	}
}
