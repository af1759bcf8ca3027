package shardplan_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink/shard"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/shardplan"
	"kojisnap/volumes/topdir"
)

// synthetic gives rows of a production with some number of builds, in the proportions of Fedora's: 14 rows of rpms and signatures
// for each build.
type synthetic struct {
	builds, rpms int // rpms for each build
	rows         int64
}

func (s *synthetic) of(_ context.Context, name string) shardplan.Rows {
	g := &generated{name: name, site: s, columns: map[string]int{}}
	for i, c := range relation.Get(name).Columns {
		g.columns[c.Name] = i
	}
	g.fields = make([][]byte, len(g.columns))
	switch name {
	case "package":
		g.n = 20000
	case "volume":
		g.n = 1
	case "build":
		g.n = s.builds
	case "rpminfo":
		g.n = s.builds * s.rpms
	case "rpmsigs":
		g.n = s.builds * s.rpms // one signature each
	}
	return g
}

// generated makes rows as they are asked for: nothing of them is kept.
type generated struct {
	name    string
	site    *synthetic
	columns map[string]int
	fields  [][]byte
	n, at   int
}

func (g *generated) Next() bool { g.at++; g.site.rows++; return g.at <= g.n }

func (g *generated) Err() error   { return nil }
func (g *generated) Close() error { return nil }

func (g *generated) Fields([][]byte) ([][]byte, error) {
	set := func(column string, value []byte) { g.fields[g.columns[column]] = value }
	number := func(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
	i := g.at
	switch g.name {
	case "package":
		set("id", number(i))
		set("name", []byte("package-"+strconv.Itoa(i)))
	case "volume":
		set("id", number(0))
		set("name", []byte("DEFAULT"))
	case "build":
		set("id", number(i))
		set("pkg_id", number(1+i%20000))
		set("version", number(i))
		set("release", []byte("1.fc42"))
		set("state", []byte("1"))
		set("volume_id", []byte("0"))
	case "rpminfo":
		build := 1 + (i-1)/g.site.rpms
		set("id", number(i))
		set("build_id", number(build))
		set("name", fmt.Appendf(nil, "package-%d-sub%d", 1+build%20000, i%g.site.rpms))
		set("version", number(build))
		set("release", []byte("1.fc42"))
		set("arch", []byte("x86_64"))
		set("size", number(1000+i%100000))
		set("payloadhash", fmt.Appendf(nil, "%032x", i))
		set("metadata_only", []byte("f"))
	case "rpmsigs":
		set("rpm_id", number(i))
		set("sigkey", []byte("105ef944"))
		set("sighash", fmt.Appendf(nil, "%032x", i))
	}
	return g.fields, nil
}

// peak is the most memory that this process had since reset, in MiB.
func peak(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); f[0] == "VmHWM:" {
			kib, _ := strconv.Atoi(f[1])
			return float64(kib) / 1024
		}
	}
	return 0
}

// BenchmarkPlan plans rows, as many as KOJISNAP_BENCH_ROWS says, in millions; without it 400,000. Run it in a process of its own for
// each number: the peak is the process's.
func BenchmarkPlan(b *testing.B) {
	millions := 0.4
	if text := os.Getenv("KOJISNAP_BENCH_ROWS"); text != "" {
		var err error
		if millions, err = strconv.ParseFloat(text, 64); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		s := &synthetic{rpms: 7}
		s.builds = int(millions * 1e6 / float64(1+2*s.rpms))
		top, err := topdir.Open(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		m := shard.Manifest{Snapshot: "1-abc", Want: shard.Want{CopyVolume: "staged"}}
		plan, err := shard.Make(b.Context(), top, m, 0, func(ctx context.Context, to *shard.Spool) error {
			_, err := shardplan.Fill(ctx, s.of, to)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		builds := 0
		for _, info := range plan.Shards {
			builds += info.Builds
		}
		if builds != s.builds {
			b.Fatalf("%d builds of %d", builds, s.builds)
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(s.rows), "ns/row")
		b.ReportMetric(float64(s.rows), "rows")
		b.ReportMetric(peak(b), "peak-MiB")
		top.Close()
	}
}
