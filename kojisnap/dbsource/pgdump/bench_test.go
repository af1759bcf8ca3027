package pgdump_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/benchtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/store/dir"
)

// benchRole makes a copy of the test program one that pulls in a benchmark, so that time and memory are its own.
const benchRole = "KOJISNAP_BENCH_ROLE"

// pulled is what such a process prints.
type pulled struct {
	Rows int64
	Peak int64
}

// benchPull pulls from a hub, a database or a dump into a store.
func benchPull(kind, source, path string) error {
	debug.SetMemoryLimit(150 << 20) // as the command does
	ctx := context.Background()
	s, err := dir.Open(path)
	if err != nil {
		return err
	}
	var src dbsource.Source
	switch kind {
	case "hub":
		c, err := hub.New(source, hub.Options{})
		if err != nil {
			return err
		}
		r, err := pull.Pull(ctx, c, s, pull.Options{Tags: []string{generate.Tag}, Margin: -1, Program: "bench"})
		if err != nil {
			return err
		}
		return printPulled(r)
	case "database":
		src, err = postgres.Open(ctx, postgres.Options{DSN: source, Jobs: 4})
	case "dump":
		src, err = pgdump.Open(ctx, pgdump.Options{Path: source})
	}
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := dbsource.Pull(ctx, src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{generate.Tag}, Margin: -1, Program: "bench"})
	if err != nil {
		return err
	}
	return printPulled(r)
}

func printPulled(r *pull.Result) error {
	peak, err := benchtest.Peak()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(pulled{r.Totals.Rows, peak})
}

// benchData is a generated production, in a database and in dumps. It is made once for all runs of a benchmark.
type benchData struct {
	rows  *hubtest.Memory // nil where no hub is measured
	dumps map[string]string
	text  float64 // MB of the plain dump
}

var (
	benchDatas = map[int]*benchData{}
	benchDir   string // of all dumps; TestMain removes it
)

func prepareBench(b *testing.B, factor int) (dsn string, d *benchData) {
	builds := 24000
	if s := os.Getenv("KOJISNAP_BENCH_BUILDS"); s != "" {
		var err error
		if builds, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	d = benchDatas[factor]
	dsn = dbtest.Template(b, fmt.Sprint("source", factor), func(dsn string) error {
		rows, err := generate.Hub(generate.Options{Seed: 1, Builds: builds, Factor: factor})
		if err != nil {
			return err
		}
		sourcetest.Fill(b, dsn, rows)
		dbtest.Exec(b, dsn, "ANALYZE")
		// A template must have no sessions, and Fill's lasts as long as the benchmark.
		dbtest.Exec(b, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if d = (&benchData{dumps: map[string]string{}}); factor == 1 {
			d.rows = rows
		}
		return nil
	})
	if benchDatas[factor] != nil {
		return dsn, d
	}
	benchDatas[factor] = d
	if benchDir == "" {
		var err error
		if benchDir, err = os.MkdirTemp("", "kojisnap-bench-"); err != nil {
			b.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(benchDir, fmt.Sprint(name, factor)) }
	for name, args := range map[string][]string{"plain": nil, "custom": {"-Fc", "-Z1"}, "directory": {"-Fd", "-Z1", "-j2"}} {
		d.dumps[name] = at(name)
		shell(b, "pg_dump", append(args, "--file", at(name), "--dbname", dsn)...)
	}
	info, err := os.Stat(at("plain"))
	if err != nil {
		b.Fatal(err)
	}
	d.text = float64(info.Size()) / 1e6
	d.dumps["zst"], d.dumps["xz"] = at("zst"), at("xz")
	shell(b, "sh", "-c", `zstd -q -T0 -f "$1" -o "$2" && xz -c -1 -T2 "$1" > "$3"`, "sh", at("plain"), at("zst"), at("xz"))
	return dsn, d
}

// shell runs a program and returns how long it took.
func shell(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), tool(b, name), args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
	return time.Since(start)
}

// closure is a script for psql that writes the rows of the tag's closure, as somebody would write it by hand: all
// columns that a snapshot has, in views that are written once.
func closure() string {
	var b strings.Builder
	fmt.Fprintf(&b, `BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE TEMP TABLE t AS WITH RECURSIVE t(id) AS (SELECT id FROM tag WHERE name = '%s' UNION SELECT parent_id FROM tag_inheritance i JOIN t ON i.tag_id = t.id WHERE active) SELECT id FROM t;
CREATE TEMP TABLE b AS SELECT DISTINCT build_id AS id FROM tag_listing WHERE active AND tag_id IN (SELECT id FROM t);
CREATE TEMP TABLE r AS SELECT id FROM rpminfo WHERE build_id IN (SELECT id FROM b);
CREATE TEMP TABLE a AS SELECT id FROM archiveinfo WHERE build_id IN (SELECT id FROM b);
ANALYZE t; ANALYZE b; ANALYZE r; ANALYZE a;
`, generate.Tag)
	of := map[string]string{"build": "id IN (SELECT id FROM b)", "rpminfo": "build_id IN (SELECT id FROM b)", "archiveinfo": "build_id IN (SELECT id FROM b)",
		"rpmsigs": "rpm_id IN (SELECT id FROM r)", "package": "id IN (SELECT package_id FROM tag_packages WHERE active AND tag_id IN (SELECT id FROM t))", "tag": "id IN (SELECT id FROM t)",
		"events": "id IN (SELECT create_event FROM build WHERE id IN (SELECT id FROM b) UNION SELECT create_event FROM tag_listing WHERE active AND tag_id IN (SELECT id FROM t) UNION SELECT create_event FROM tag_packages WHERE active AND tag_id IN (SELECT id FROM t))"}
	for _, rel := range relation.All() {
		where := of[rel.Name]
		switch first := rel.Columns[0].Name; {
		case where != "":
		case rel.Index("tag_id") >= 0:
			where = "active AND tag_id IN (SELECT id FROM t)"
		case first == "build_id":
			where = "build_id IN (SELECT id FROM b)"
		case first == "archive_id":
			where = "archive_id IN (SELECT id FROM a)"
		default:
			where = "true"
		}
		fmt.Fprintf(&b, "COPY (SELECT %s FROM %s WHERE %s) TO STDOUT;\n", strings.Join(rel.ColumnNames(), ", "), rel.Name, where)
	}
	b.WriteString("COMMIT;\n")
	return b.String()
}

// BenchmarkSource pulls a generated production's tag by its hub, its database and each kind of dump. Beside the
// database stands psql with COPY of the same rows, by a closure written by hand, into zstd; beside the xz dump xzcat.
func BenchmarkSource(b *testing.B) {
	for _, factor := range []int{1, 4} {
		b.Run(fmt.Sprintf("factor=%d", factor), func(b *testing.B) { benchSource(b, factor) })
	}
}

func benchSource(b *testing.B, factor int) {
	dsn, d := prepareBench(b, factor)
	seconds := map[string]float64{} // the last of each
	one := func(name string, measure func(b *testing.B) (s float64), also func(b *testing.B, s float64)) {
		b.Run(name, func(b *testing.B) {
			total, n := 0.0, 0
			for b.Loop() {
				total, n = total+measure(b), n+1
			}
			seconds[name] = total / float64(n)
			b.ReportMetric(seconds[name], "s")
			b.ReportMetric(0, "ns/op")
			if also != nil {
				also(b, seconds[name])
			}
		})
	}
	ratio := func(b *testing.B, name, to string) {
		if seconds[name] > 0 && seconds[to] > 0 {
			b.ReportMetric(seconds[name]/seconds[to], name+"/"+to)
		}
	}
	from := func(kind, source string) func(b *testing.B) float64 {
		return func(b *testing.B) float64 {
			cmd := exec.CommandContext(b.Context(), os.Args[0], kind, source, b.TempDir())
			cmd.Env, cmd.Stderr = append(os.Environ(), benchRole+"=pull"), os.Stderr
			start := time.Now()
			out, err := cmd.Output()
			took := time.Since(start).Seconds()
			var p pulled
			if err == nil {
				err = json.Unmarshal(out, &p)
			}
			if err != nil || p.Rows < 1000 {
				b.Fatalf("%d rows, %v", p.Rows, err)
			}
			b.ReportMetric(float64(p.Peak)/(1<<20), "MiB-peak")
			b.ReportMetric(float64(p.Rows), "rows")
			return took
		}
	}
	script := filepath.Join(b.TempDir(), "closure.sql")
	if err := os.WriteFile(script, []byte(closure()), 0o600); err != nil {
		b.Fatal(err)
	}
	one("psql", func(b *testing.B) float64 {
		out := filepath.Join(b.TempDir(), "rows.zst")
		took := shell(b, "sh", "-c", `psql -qX -v ON_ERROR_STOP=1 -d "$1" -f "$2" | zstd -q -1 -o "$3"`, "sh", dsn, script, out).Seconds()
		n := bytes.Count(outputOf(b, "zstd", "-dc", out), []byte("\n"))
		if b.ReportMetric(float64(n), "rows"); n < 1000 {
			b.Fatalf("psql wrote %d rows", n)
		}
		return took
	}, nil)
	one("database", from("database", dsn), func(b *testing.B, s float64) { ratio(b, "database", "psql") })
	if d.rows != nil {
		srv := httptest.NewServer(hubtest.New(d.rows, hubtest.Options{}))
		defer srv.Close()
		one("hub", from("hub", srv.URL+"/kojihub"), func(b *testing.B, s float64) { ratio(b, "hub", "database") })
	}
	one("xzcat", func(b *testing.B) float64 {
		return shell(b, "sh", "-c", `xzcat "$1" > /dev/null`, "sh", d.dumps["xz"]).Seconds()
	}, nil)
	for _, name := range []string{"plain", "zst", "xz", "custom", "directory"} {
		one(name, from("dump", d.dumps[name]), func(b *testing.B, s float64) {
			b.ReportMetric(d.text/s, "MB/s")
			if name == "xz" {
				ratio(b, "xz", "xzcat")
			}
		})
	}
}

func outputOf(b *testing.B, name string, args ...string) []byte {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), tool(b, name), args...).Output()
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return out
}
