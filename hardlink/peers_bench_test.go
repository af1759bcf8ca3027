package hardlink_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/benchtest"
	"kojisnap/volumes"
)

// The benchmarks of this file make the same files by kojisnap, in a process of its
// own, and by rsync and cp, in turn, so that whatever else the machine does meets
// them alike. kojisnap has checked the digest of every file and has synced data,
// names and ledger when it ends. The others have not: cp and rsync leave it to the
// kernel when the data is written, and "+sync" is with a syncfs after them.
//
//	s/WAY          seconds
//	cpu-s/WAY      seconds of processors, system's included
//	WAY:kojisnap   how many times as long as kojisnap it took
//	MiB-peak       kojisnap's memory, at most (resident)

// benchResult is what a process that copied tells.
type benchResult struct {
	Report hardlink.Report
	Peak   int64 // bytes resident, at most
}

// benchTell prints it.
func benchTell(r hardlink.Report) error {
	peak, err := benchtest.Peak()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(benchResult{Report: r, Peak: peak})
}

// peer is another tool: its command for a source directory and a target directory.
type peer struct {
	name string
	args []string // SRC and DST stand for the directories
}

var (
	rsync         = peer{"rsync-a", []string{"rsync", "-a", "SRC/packages", "DST"}}
	rsyncChecksum = peer{"rsync-a-checksum", []string{"rsync", "-a", "--checksum", "SRC/packages", "DST"}}
	cp            = peer{"cp-a", []string{"cp", "-a", "SRC/packages", "DST"}}
	// A cp for each processor: what the machine can do at most if nothing is checked.
	cpAll = peer{"cp-a-parallel", []string{"sh", "-c", `mkdir DST/packages && cd SRC/packages && ls | xargs -P "$(nproc)" -n 25 cp -a -t DST/packages`}}
)

// contest is kojisnap and its peers making the same files.
type contest struct {
	set     *benchSet
	src     string // the set's directory as it is mounted
	scratch string // targets are made below it
	peers   []peer
	cold    bool // nothing of the files is in memory
	op      hardlink.Op
	// present is which builds are there already; nil: none.
	present func(i int) bool
}

// round decides who begins: what runs first may find memory that the machine, if it is a virtual
// one, has to ask its host for.
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

// count is how many files were made in a way.
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

// measure runs kojisnap. What it needs to read its plan counts.
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

// settle leaves no work of before to what is measured.
func (c *contest) settle(b *testing.B) {
	b.Helper()
	c.syncfs(b)
	if c.cold {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			b.Skipf("cold: %v", err)
		}
		return
	}
	// Warm: other ways' targets may have displaced the sources.
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

// discard removes a target, unless it has many files: ext4 takes no inode again that
// was freed less than 35 seconds ago, and looks at each of them for every file that
// is created. Those stay until the file system of the benchmark goes.
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

// made are the sets that several benchmarks read.
var made = map[string]*benchSet{}

func madeSet(b *testing.B, name string) *benchSet {
	b.Helper()
	if made[name] == nil {
		dir, err := os.MkdirTemp("", "bench-"+name)
		if err != nil {
			b.Fatal(err)
		}
		made[name] = &benchSet{dir: dir} // removed even if it fails
		made[name] = benchSets[name](b, dir)
		b.Logf("%s: %d files, %.1f MB", name, made[name].files, float64(made[name].bytes)/1e6)
	}
	return made[name]
}

func removeBenchSets() {
	for _, s := range made {
		os.RemoveAll(s.dir)
	}
}

// BenchmarkCopy copies from a read-only mount to another file system: a new ext4.
func BenchmarkCopy(b *testing.B) {
	for _, set := range []string{"small", "mix", "large"} {
		for _, cache := range []string{"warm", "cold"} {
			b.Run(set+"/"+cache, func(b *testing.B) {
				c := contest{set: madeSet(b, set), src: filepath.Join(b.TempDir(), "ro"), scratch: loopMount(b, "ext4", 64<<30),
					peers: []peer{rsync, rsyncChecksum, cp, cpAll}, cold: cache == "cold", op: hardlink.OpCopy}
				bindReadOnly(b, c.set.dir, c.src)
				c.run(b)
			})
		}
	}
}

// BenchmarkUpdate finds all files there already, or all but those of every hundredth
// build.
func BenchmarkUpdate(b *testing.B) {
	for name, present := range map[string]func(i int) bool{
		"same": func(i int) bool { return true },
		"1%":   func(i int) bool { return i%100 != 0 },
	} {
		b.Run("small/"+name, func(b *testing.B) {
			c := contest{set: madeSet(b, "small"), src: filepath.Join(b.TempDir(), "ro"), scratch: loopMount(b, "ext4", 64<<30),
				peers: []peer{rsync, rsyncChecksum, {"cp-au", []string{"cp", "-au", "SRC/packages", "DST"}}}, op: hardlink.OpCopy, present: present}
			bindReadOnly(b, c.set.dir, c.src)
			c.run(b)
		})
	}
}

// BenchmarkHardlink has topdir on the mount that production's tree is on. cp -al reads
// no file; nor does rsync without --checksum.
func BenchmarkHardlink(b *testing.B) {
	for _, set := range []string{"small", "mix"} {
		b.Run(set, func(b *testing.B) {
			disk := loopMount(b, "ext4", 64<<30)
			c := contest{set: freshSet(b, set, disk), scratch: disk, op: hardlink.OpLink, peers: []peer{
				{"cp-al", []string{"cp", "-al", "SRC/packages", "DST"}},
				{"rsync-a-link-dest", []string{"rsync", "-a", "--link-dest=SRC", "SRC/packages", "DST"}},
				{"rsync-a-checksum-link-dest", []string{"rsync", "-a", "--checksum", "--link-dest=SRC", "SRC/packages", "DST"}}}}
			c.src = c.set.dir
			c.run(b)
		})
	}
}

// BenchmarkReflink has topdir and a read-only bind mount on one file system that
// shares blocks.
func BenchmarkReflink(b *testing.B) {
	for _, kind := range []string{"xfs", "btrfs"} {
		for _, set := range []string{"small", "mix"} {
			b.Run(kind+"/"+set, func(b *testing.B) {
				disk := loopMount(b, kind, 64<<30)
				c := contest{set: freshSet(b, set, disk), src: filepath.Join(b.TempDir(), "ro"), scratch: disk, op: hardlink.OpReflink,
					peers: []peer{rsync, {"cp-a-reflink", []string{"cp", "-a", "--reflink=always", "SRC/packages", "DST"}}}}
				bindReadOnly(b, c.set.dir, c.src)
				c.run(b)
			})
		}
	}
}

// freshSet is a set on the file system that topdir will be on.
func freshSet(b *testing.B, name, disk string) *benchSet {
	b.Helper()
	dir := filepath.Join(disk, "prod")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	return benchSets[name](b, dir)
}

// BenchmarkFetch fetches small rpms from a server that takes 20 ms to begin each
// answer, by so many requests at a time. It cannot take less than files × 20 ms / jobs:
// "×limit" is how many times as long it did. curl, beside it, checks nothing.
func BenchmarkFetch(b *testing.B) {
	const latency, builds = 20 * time.Millisecond, 100
	for _, jobs := range []int{4, 16, 64} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			set := madeSet(b, "small")
			files := http.FileServer(http.Dir(set.dir))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(latency)
				files.ServeHTTP(w, r)
			}))
			defer server.Close()
			c := contest{set: set, scratch: loopMount(b, "ext4", 64<<30), op: hardlink.OpFetch}
			plan := c.plan(b, func(i int) bool { return i < builds })
			var urls bytes.Buffer
			n := 0
			for _, s := range plan.Staged {
				for _, f := range s.Files {
					fmt.Fprintf(&urls, "url = %q\noutput = %q\n", server.URL+"/"+dir(b, s.Build)+"/"+f.Path, f.Path)
					n++
				}
			}
			limit := time.Duration(n) * latency / time.Duration(jobs)
			var own, curls []float64
			for b.Loop() {
				top, err := os.MkdirTemp(c.scratch, "koji")
				if err != nil {
					b.Fatal(err)
				}
				took, _, r := c.measure(b, job{Options: hardlink.Options{Topdir: top, Sources: []string{server.URL}, Jobs: jobs}, Plan: plan, Bench: true})
				if r.Report.Fetched != n {
					b.Fatalf("%+v", r.Report)
				}
				own = append(own, took.Seconds())
				cmd := exec.Command("curl", "-sS", "--fail", "-Z", "--parallel-max", fmt.Sprint(jobs), "--create-dirs", "-K", "-")
				cmd.Dir, cmd.Stdin = b.TempDir(), bytes.NewReader(urls.Bytes())
				if _, err := exec.LookPath("curl"); err != nil {
					continue
				}
				begin := time.Now()
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("curl: %v: %s", err, out)
				}
				curls = append(curls, time.Since(begin).Seconds())
			}
			median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
			b.ReportMetric(median(own), "s/kojisnap")
			b.ReportMetric(median(own)/limit.Seconds(), "×limit")
			b.ReportMetric(float64(n)/median(own), "files/s")
			if len(curls) > 0 {
				b.ReportMetric(median(curls), "s/curl")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
