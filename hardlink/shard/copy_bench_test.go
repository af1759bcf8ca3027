package shard_test

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/shard"
	"kojisnap/volumes"
)

// benchShard is a shard of archives with logs, in a tree on a disk: KOJISNAP_BENCH_BUILDS builds of 8 files of KOJISNAP_BENCH_KIB KiB and two logs.
// Archives need no rpm's form, and are verified like all others.
func benchShard(b *testing.B, prod string, builds, kib int) []shard.Build {
	b.Helper()
	var all []shard.Build
	data := make([]byte, kib<<10)
	for i := range builds {
		build := shard.Build{ID: int64(i + 1)}
		build.Build = volumes.Build{Name: fmt.Sprintf("package%d", i%50), Version: fmt.Sprint(i), Release: "1.fc42"}
		dir, err := build.Dir()
		must(b, err)
		at := filepath.Join(prod, dir)
		must(b, os.MkdirAll(at+"/images", 0o755))
		must(b, os.MkdirAll(at+"/data/logs/image", 0o755))
		for j := range 8 {
			copy(data, fmt.Sprintf("file %d of build %d", j, i))
			name := fmt.Sprintf("images/disk%d.raw", j)
			must(b, os.WriteFile(filepath.Join(at, name), data, 0o644))
			build.Archives = append(build.Archives, volumes.ArchiveFile{Path: name, BType: "image", Size: int64(len(data)), Checksum: fmt.Sprintf("%x", md5.Sum(data))})
		}
		for _, log := range []string{"data/logs/image/a.log", "data/logs/image/b.log"} {
			must(b, os.WriteFile(filepath.Join(at, log), data[:1024], 0o644))
		}
		all = append(all, build)
	}
	return all
}

// benchNumber is a number in the environment.
func benchNumber(name string, otherwise int) int {
	n := otherwise
	fmt.Sscan(os.Getenv(name), &n)
	return n
}

// BenchmarkShard compares the copy of one shard by one worker with rsync -a and rclone --checksum of the same files. All end with a sync of
// the file system. KOJISNAP_BENCH_DIR is a directory on the disk to measure; production is mounted once more there, so that no
// way but a copy is open.
func BenchmarkShard(b *testing.B) {
	root := os.Getenv("KOJISNAP_BENCH_DIR")
	if root == "" {
		root = b.TempDir()
	}
	dir, err := os.MkdirTemp(root, "shard")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	prod, ro := dir+"/prod", dir+"/ro"
	must(b, os.MkdirAll(prod, 0o755))
	must(b, os.Mkdir(ro, 0o755))
	builds := benchShard(b, prod, benchNumber("KOJISNAP_BENCH_BUILDS", 300), benchNumber("KOJISNAP_BENCH_KIB", 100))
	if os.Geteuid() != 0 {
		b.Skip("production's tree can be mounted once more by root alone")
	}
	must(b, unix.Mount(prod, ro, "", unix.MS_BIND, ""))
	b.Cleanup(func() { unix.Unmount(ro, 0) })
	must(b, unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	sync := func(at string) {
		f, err := os.Open(at)
		must(b, err)
		defer f.Close()
		must(b, unix.Syncfs(int(f.Fd())))
	}
	// Reflinks would save all others' work: kojisnap has to copy, too.
	measure := func(name string, run func(to string)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				to, err := os.MkdirTemp(dir, "to")
				must(b, err)
				sync(dir)
				b.StartTimer()
				start := time.Now()
				run(to)
				b.ReportMetric(float64(len(builds)*10)/time.Since(start).Seconds(), "files/s")
				b.StopTimer()
				must(b, os.RemoveAll(to))
				b.StartTimer()
			}
		})
	}
	program := func(name string, args ...string) func(string) {
		return func(to string) {
			if out, err := exec.Command(name, append(args, to)...).CombinedOutput(); err != nil {
				b.Fatalf("%s: %v: %s", name, err, out)
			}
			sync(to)
		}
	}
	measure("kojisnap", func(to string) {
		top := openAt(b, to)
		m := manifest("1-abc")
		plan, err := shard.Make(b.Context(), top, m, 0, fill(builds))
		must(b, err)
		o := options(to, ro)
		o.Engine.BatchFiles = 0
		must(b, plan.Prepare(b.Context(), o))
		for _, info := range plan.Shards {
			if r, err := plan.Copy(b.Context(), info.ID, o); err != nil || !r.Done || r.Report.Copied == 0 {
				b.Fatalf("%v, %s", err, strings.Join(r.Left, " "))
			}
		}
	})
	measure("rsync", program("rsync", "-a", ro+"/"))
	if _, err := exec.LookPath("rclone"); err == nil {
		measure("rclone", program("rclone", "copy", "--checksum", ro))
	}
}
