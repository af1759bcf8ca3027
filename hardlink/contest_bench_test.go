package hardlink_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/volumes"
)

// peer is another tool: its command for a source directory and a target directory.
type peer struct {
	name string
	args []string // SRC and DST stand for the directories
}

var (
	rsync         = peer{"rsync-a", []string{"rsync", "-a", "SRC/packages", "DST"}}
	rsyncChecksum = peer{"rsync-a-checksum", []string{"rsync", "-a", "--checksum", "SRC/packages", "DST"}}
	cp            = peer{"cp-a", []string{"cp", "-a", "SRC/packages", "DST"}}
	// One cp for each processor: the most that the machine can do without any check.
	cpAll = peer{"cp-a-parallel", []string{"sh", "-c", `mkdir DST/packages && cd SRC/packages && ls | xargs -P "$(nproc)" -n 25 cp -a -t DST/packages`}}
)

// contest lets kojisnap and its peers make the same files.
type contest struct {
	set     *benchSet
	src     string // the set's directory as mounted
	scratch string // targets are made below it
	peers   []peer
	cold    bool // no file is in the page cache
	op      hardlink.Op
	// present selects the builds that exist already; nil: none.
	present func(i int) bool
}

// round decides which tool begins: the first one may find memory that a virtual machine has to request from
// its host.
var round int

func (c *contest) run(b *testing.B) {
	b.Helper()
	peers := slices.DeleteFunc(slices.Clone(c.peers), func(p peer) bool {
		_, err := exec.LookPath(p.args[0])
		if err != nil {
			b.Logf("not measured: %s: %v", p.name, err)
		}
		return err != nil
	})
	metrics := map[string][]float64{}
	note := func(unit string, v float64) { metrics[unit] = append(metrics[unit], v) }
	for b.Loop() {
		var took time.Duration
		ptook, sync := make([]time.Duration, len(peers)), make([]time.Duration, len(peers))
		for i := range len(peers) + 1 {
			turn := (round + i) % (len(peers) + 1)
			if turn == len(peers) {
				var cpu time.Duration
				var r benchResult
				took, cpu, r = c.kojisnap(b)
				note("s/kojisnap", took.Seconds())
				note("cpu-s/kojisnap", cpu.Seconds())
				note("MiB-peak", float64(r.Peak)/(1<<20))
				note("files/s", float64(c.set.files)/took.Seconds())
				note("MB/s", float64(c.set.bytes)/1e6/took.Seconds())
				continue
			}
			var cpu time.Duration
			ptook[turn], sync[turn], cpu = c.peer(b, peers[turn])
			note("cpu-s/"+peers[turn].name, cpu.Seconds())
		}
		round++
		for i, p := range peers {
			note("s/"+p.name, ptook[i].Seconds())
			note("s/"+p.name+"+sync", (ptook[i] + sync[i]).Seconds())
			note(p.name+":kojisnap", ptook[i].Seconds()/took.Seconds())
			note(p.name+"+sync:kojisnap", (ptook[i]+sync[i]).Seconds()/took.Seconds())
		}
	}
	for unit, values := range metrics {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(0, "ns/op")
}
func (c *contest) kojisnap(b *testing.B) (took, cpu time.Duration, r benchResult) {
	b.Helper()
	top, err := os.MkdirTemp(c.scratch, "koji")
	if err != nil {
		b.Fatal(err)
	}
	defer c.discard(b, top)
	j := job{Options: hardlink.Options{Topdir: top, ReadOnly: c.src, WritableSource: true}, Bench: true}
	want := c.set.files
	if c.present != nil {
		j.Plan = c.plan(b, c.present)
		_, _, r = c.measure(b, j)
		want -= count(r.Report, c.op)
	}
	j.Plan = c.plan(b, func(int) bool { return true })
	c.settle(b)
	took, cpu, r = c.measure(b, j)
	if n := count(r.Report, c.op); n != want {
		b.Fatalf("%d of %d files made as %s: %+v", n, want, c.op, r.Report)
	}
	return took, cpu, r
}

// count returns how many files were made in a way.
func count(r hardlink.Report, op hardlink.Op) int {
	return map[hardlink.Op]int{hardlink.OpLink: r.Linked, hardlink.OpReflink: r.Reflinked, hardlink.OpCopy: r.Copied, hardlink.OpFetch: r.Fetched}[op]
}
func (c *contest) plan(b *testing.B, wanted func(i int) bool) volumes.Plan {
	b.Helper()
	var in volumes.Input
	for i, build := range c.set.input.Builds {
		if wanted(i) {
			in.Builds = append(in.Builds, build)
		}
	}
	plan, err := volumes.NewPlan(in, volumes.Want{})
	if err != nil {
		b.Fatal(err)
	}
	return plan
}

// measure runs kojisnap. The time to read its plan counts.
func (c *contest) measure(b *testing.B, j job) (took, cpu time.Duration, r benchResult) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	j.tell(b, cmd)
	cmd.Stderr = os.Stderr
	begin := time.Now()
	out, err := cmd.Output()
	took = time.Since(begin)
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		b.Fatal(err)
	}
	return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), r
}
func (c *contest) peer(b *testing.B, p peer) (took, sync, cpu time.Duration) {
	b.Helper()
	dst, err := os.MkdirTemp(c.scratch, p.args[0])
	if err != nil {
		b.Fatal(err)
	}
	defer c.discard(b, dst)
	if c.present != nil {
		c.command(b, cp, dst)
		for i, build := range c.set.input.Builds {
			if !c.present(i) {
				if err := os.RemoveAll(filepath.Join(dst, dir(b, build.Build))); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	c.settle(b)
	took, cpu = c.command(b, p, dst)
	begin := time.Now()
	c.syncfs(b)
	return took, time.Since(begin), cpu
}
func (c *contest) command(b *testing.B, p peer, dst string) (took, cpu time.Duration) {
	b.Helper()
	args := slices.Clone(p.args)
	for i := range args {
		args[i] = strings.NewReplacer("SRC", c.src, "DST", dst).Replace(args[i])
	}
	cmd := exec.CommandContext(b.Context(), args[0], args[1:]...)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%q: %v\n%s", args, err, out)
	}
	return time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// settle finishes earlier work, so that it is not measured.
func (c *contest) settle(b *testing.B) {
	b.Helper()
	c.syncfs(b)
	if c.cold {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			b.Skipf("cold: %v", err)
		}
		return
	}
	// Warm: other tools' targets may have displaced the sources from memory.
	for _, build := range c.set.input.Builds {
		for _, rpm := range build.RPMs {
			path, _ := rpm.Path() // the plan checked it
			f, err := os.Open(filepath.Join(c.src, dir(b, build.Build), path))
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.Copy(io.Discard, f)
			f.Close()
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// discard removes a target, unless it has many files: ext4 does not reuse an inode that was freed less than
// 35 seconds ago, and checks each of them for every file that is created. Such targets stay until the
// benchmark's file system goes.
func (c *contest) discard(b *testing.B, dir string) {
	b.Helper()
	if c.set.files > 1000 {
		return
	}
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}
func (c *contest) syncfs(b *testing.B) {
	b.Helper()
	f, err := os.Open(c.scratch)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		b.Fatal(err)
	}
}
