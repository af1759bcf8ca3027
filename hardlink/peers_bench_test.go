package hardlink_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/benchtest"
)

// The benchmarks of this file make the same files with kojisnap, in a process of its own, and with rsync and cp,
// in turn, so that other work on the machine affects all of them. When kojisnap ends, it has checked the digest
// of each file, and has synced data, names and ledger. cp and rsync leave writing the data to the kernel; "+sync"
// includes a syncfs after them.
//
//	s/WAY          seconds
//	cpu-s/WAY      seconds of processor time, user and system
//	WAY:kojisnap   how many times as long as kojisnap it took
//	MiB-peak       kojisnap's memory, at most (resident)

// benchResult is what a copying process prints.
type benchResult struct {
	Report hardlink.Report
	Peak   int64 // bytes resident, at most
}

// benchTell prints a benchResult.
func benchTell(r hardlink.Report) error {
	peak, err := benchtest.Peak()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(benchResult{Report: r, Peak: peak})
}

// made are the sets that several benchmarks share.
var made = map[string]*benchSet{}

func madeSet(b *testing.B, name string) *benchSet {
	b.Helper()
	if made[name] == nil {
		dir, err := os.MkdirTemp("", "bench-"+name)
		if err != nil {
			b.Fatal(err)
		}
		made[name] = &benchSet{dir: dir} // so that it is removed even if making it fails
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

// BenchmarkCopy copies from a read-only mount to another, new ext4.
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

// BenchmarkUpdate measures runs that find all files in place, or all except those of each hundredth build.
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

// BenchmarkHardlink has topdir on the mount of production's tree. Neither cp -al nor rsync without --checksum
// reads the files.
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

// BenchmarkReflink has topdir and a read-only bind mount on one file system that can share blocks.
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

// freshSet makes a set on the file system that topdir will be on.
func freshSet(b *testing.B, name, disk string) *benchSet {
	b.Helper()
	dir := filepath.Join(disk, "prod")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	return benchSets[name](b, dir)
}

// BenchmarkFetch fetches small rpms, several at a time, from a server that waits 20 ms before each answer.
// The shortest possible time is files × 20 ms / jobs; "×limit" is how many times as long it took. curl, for
// comparison, checks nothing.
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
