package clone_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/clone/btrfs"
	"kojisnap/volumes/clone/clonetest"
	"kojisnap/volumes/clone/overlay"
)

// benchRPMs is how many rpms of 1 MB production's tree has.
func benchRPMs(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("KOJISNAP_BENCH_CLONE"))
	if err != nil {
		return 1000
	}
	return n
}

// layout is where production's tree and the clones are.
type layout struct {
	name, lower, upper string // file systems; upper "": that of lower
}

var layouts = []layout{{"overlay-reflink", "xfs", ""}, {"overlay-metacopy", "xfs", ""}, {"overlay-metacopy-other-disk", "ext4", "xfs"}, {"btrfs", "btrfs", ""}}

// perBuild is how many rpms of a compose are in one directory of production's, and are linked from there. Fedora's builds have
// nine rpms on average, of all arches.
const perBuild = 4

// bench makes a site for a layout, with so many rpms of a size.
func bench(b *testing.B, l layout, n int, size int64) (k *clone.Keeper, tree, disk string, rpms []string) {
	b.Helper()
	space := int64(n)*size*2 + 2<<30
	lower := clonetest.Disk(b, l.lower, space)
	disk = lower
	if l.upper != "" {
		disk = clonetest.Disk(b, l.upper, space)
	}
	tree = filepath.Join(lower, "koji")
	if l.lower == "btrfs" {
		clonetest.Subvolume(b, tree)
	}
	rpms = clonetest.Builds(b, tree, n/perBuild, perBuild, size)
	top := filepath.Join(disk, "staging")
	must(b, os.Mkdir(top, 0o755))
	k = &clone.Keeper{Topdir: top, Volume: "prod", Env: "stg", Source: tree, ProviderName: l.name, Compose: "compose"}
	var err error
	if l.lower == "btrfs" {
		k.Provider, err = btrfs.New(btrfs.Options{Env: "stg", Dir: filepath.Join(disk, "clones"), Subvolume: tree})
	} else {
		k.Provider, err = overlay.New(overlay.Options{Env: "stg", Dir: filepath.Join(disk, "clones"), Lower: tree, LiveLower: true, Metacopy: l.name == "overlay-metacopy"})
	}
	must(b, err)
	return k, tree, disk, rpms
}

// BenchmarkCloneSwitch makes a clone of a tree and shows it. Its peer is rsync of the same rpms, which is what staging
// would have to copy.
func BenchmarkCloneSwitch(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			k, _, _, _ := bench(b, l, benchRPMs(b), 1<<20)
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				_, err := k.Make(b.Context(), int64(i), "")
				must(b, err)
				b.StopTimer()
				_, err = k.Retire(b.Context())
				must(b, err)
				b.StartTimer()
			}
		})
	}
	b.Run("peer-rsync", func(b *testing.B) {
		if _, err := exec.LookPath("rsync"); err != nil {
			b.Skipf("not measured: %v", err)
		}
		n := benchRPMs(b)
		disk := clonetest.Disk(b, "xfs", int64(n)<<21+2<<30)
		clonetest.Tree(b, filepath.Join(disk, "koji"), n, 1<<20)
		target := filepath.Join(disk, "copy")
		b.ResetTimer()
		for b.Loop() {
			out, err := exec.Command("rsync", "-a", filepath.Join(disk, "koji")+"/", target).CombinedOutput()
			if err != nil {
				b.Fatalf("rsync: %v: %s", err, out)
			}
			clonetest.Sync(b, disk)
			b.StopTimer()
			must(b, os.RemoveAll(target))
			clonetest.Sync(b, disk)
			b.StartTimer()
		}
		b.SetBytes(int64(n) << 20)
	})
}

// BenchmarkCloneWritten links rpms of 1 MB in a clone, and reports the share of their bytes that is written on the disk.
func BenchmarkCloneWritten(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			n := benchRPMs(b)
			k, _, disk, rpms := bench(b, l, n, 1<<20)
			var written int64
			for i := 0; b.Loop(); i++ {
				m, err := k.Make(b.Context(), int64(i), "")
				must(b, err)
				before := clonetest.Used(b, disk)
				linkAll(b, m.Path, m.Compose, rpms)
				written += clonetest.Used(b, disk) - before
				_, err = k.Retire(b.Context())
				must(b, err)
			}
			b.ReportMetric(float64(written)/float64(b.N)/float64(int64(n)<<20)*100, "%written")
		})
	}
}

// BenchmarkCloneLinks makes 5,000 links, in a clone and, as its peer, plain ones on the same kind of file system.
func BenchmarkCloneLinks(b *testing.B) {
	const n, size = 5000, 50_000
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			k, tree, disk, rpms := bench(b, l, n, size)
			var plain, linked time.Duration
			for i := 0; b.Loop(); i++ {
				dir := filepath.Join(tree, "plain")
				must(b, os.Mkdir(dir, 0o755))
				clonetest.Sync(b, tree)
				plain += timed(func() { linkAll(b, tree, dir, rpms); clonetest.Sync(b, tree) })
				must(b, os.RemoveAll(dir))
				m, err := k.Make(b.Context(), int64(i), "")
				must(b, err)
				clonetest.Sync(b, disk)
				linked += timed(func() { linkAll(b, m.Path, m.Compose, rpms); clonetest.Sync(b, disk) })
				_, err = k.Retire(b.Context())
				must(b, err)
			}
			b.ReportMetric(linked.Seconds()/float64(b.N), "s/links")
			b.ReportMetric(plain.Seconds()/float64(b.N), "s/plain")
			b.ReportMetric(linked.Seconds()/plain.Seconds(), "x-plain")
		})
	}
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func linkAll(b *testing.B, tree, dir string, rpms []string) {
	b.Helper()
	for _, rel := range rpms {
		must(b, os.Link(filepath.Join(tree, rel), filepath.Join(dir, filepath.Base(rel))))
	}
}
