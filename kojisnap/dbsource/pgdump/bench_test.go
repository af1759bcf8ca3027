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

// run is what a run of a program came to.
type run struct {
	seconds, cpu float64 // cpu: of all processors, with the programs that it started
	peak         int64   // bytes of memory; 0: not measured
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
	benchDatas = map[string]*benchData{}
	benchDir   string // of all dumps; TestMain removes it
)

// prepareBench makes a production, with a multiple of so many builds in the tag and ten times as many outside.
func prepareBench(b *testing.B, builds, factor int, also string) (dsn string, d *benchData) {
	if s := os.Getenv("KOJISNAP_BENCH_SOURCE_BUILDS"); s != "" {
		var err error
		if builds, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	kind := fmt.Sprintf("source%dx%dx%d", builds, factor, len(also))
	dsn = dbtest.Template(b, kind, func(dsn string) error {
		rows, err := generate.Hub(generate.Options{Seed: 1, Builds: builds, Factor: factor})
		if err != nil {
			return err
		}
		sourcetest.Fill(b, dsn, rows)
		dbtest.Exec(b, dsn, also+"; ANALYZE")
		// A template must have no sessions, and Fill's lasts as long as the benchmark.
		dbtest.Exec(b, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if benchDatas[kind] = (&benchData{}); factor == 1 && also == "" {
			benchDatas[kind].rows = rows
		}
		return nil
	})
	return dsn, benchDatas[kind]
}

// buildroots makes five rows of buildroot_listing for each rpm: most of a real dump is what nobody wants.
const buildroots = `SET session_replication_role = replica;
	INSERT INTO buildroot (id, br_type) SELECT g, 0 FROM generate_series(1, 10000) g ON CONFLICT DO NOTHING;
	INSERT INTO buildroot_listing (buildroot_id, rpm_id, is_update) SELECT 1 + (n * 5 + s) % 10000, id, false
		FROM (SELECT id, row_number() OVER () AS n FROM rpminfo) x CROSS JOIN generate_series(1, 5) s ON CONFLICT DO NOTHING;
	SET session_replication_role = DEFAULT`

// dumpBench dumps a database in each format.
func dumpBench(b *testing.B, dsn string, d *benchData) {
	if d.dumps != nil {
		return
	}
	d.dumps = map[string]string{}
	if benchDir == "" {
		var err error
		if benchDir, err = os.MkdirTemp("", "kojisnap-bench-"); err != nil {
			b.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(benchDir, fmt.Sprint(name, len(benchDatas))) }
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
}

// shell runs a program.
func shell(b *testing.B, name string, args ...string) run {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), tool(b, name), args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
	return ran(cmd, start)
}

func ran(cmd *exec.Cmd, start time.Time) run {
	return run{seconds: time.Since(start).Seconds(), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
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

// peaks are the peaks of memory at factor 1.
var peaks = map[string]int64{}

// versus measures programs one after the other, and says how each compares with those before it.
type versus struct {
	factor int
	group  string
	runs   map[string]run // the mean of each
}

// one measures one program. peers are those to compare it with: 1.5 x-psql is one and a half times as long as psql.
func (v *versus) one(b *testing.B, name string, megabytes float64, measure func(b *testing.B) run, peers ...string) {
	b.Run(name, func(b *testing.B) {
		var sum run
		n := 0.0
		for b.Loop() {
			one := measure(b)
			sum.seconds, sum.cpu, sum.peak, n = sum.seconds+one.seconds, sum.cpu+one.cpu, max(sum.peak, one.peak), n+1
		}
		sum.seconds, sum.cpu = sum.seconds/n, sum.cpu/n
		v.runs[name] = sum
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(sum.seconds, "s")
		b.ReportMetric(sum.cpu, "cpu-s")
		if megabytes > 0 {
			b.ReportMetric(megabytes/sum.seconds, "MB/s")
		}
		for _, peer := range peers {
			if to, ok := v.runs[peer]; ok {
				b.ReportMetric(sum.seconds/to.seconds, "x-"+peer)
			}
		}
		if sum.peak == 0 {
			return
		}
		b.ReportMetric(float64(sum.peak)/(1<<20), "MiB-peak")
		if whole := v.group + name; v.factor == 1 {
			peaks[whole] = sum.peak
		} else if peaks[whole] > 0 {
			b.ReportMetric(float64(sum.peak)/float64(peaks[whole]), "x-peak-at-1")
		}
	})
}

// pullFrom measures a pull in a process of its own.
func pullFrom(kind, source string) func(b *testing.B) run {
	return func(b *testing.B) run {
		cmd := exec.CommandContext(b.Context(), os.Args[0], kind, source, b.TempDir())
		cmd.Env, cmd.Stderr = append(os.Environ(), benchRole+"=pull"), os.Stderr
		start := time.Now()
		out, err := cmd.Output()
		took := ran(cmd, start)
		var p pulled
		if err == nil {
			err = json.Unmarshal(out, &p)
		}
		if err != nil || p.Rows < 1000 {
			b.Fatalf("%d rows, %v", p.Rows, err)
		}
		b.ReportMetric(float64(p.Rows), "rows")
		took.peak = p.Peak
		return took
	}
}

// BenchmarkSourceDatabase pulls a generated production's tag from its database. Beside it stand psql, with COPY of the same rows by
// a closure written by hand, into zstd, and the pull from its hub.
func BenchmarkSourceDatabase(b *testing.B) {
	for _, factor := range []int{1, 4} {
		b.Run(fmt.Sprintf("factor=%d", factor), func(b *testing.B) {
			dsn, d := prepareBench(b, 24_000, factor, "")
			v := &versus{factor, "database", map[string]run{}}
			script := filepath.Join(b.TempDir(), "closure.sql")
			if err := os.WriteFile(script, []byte(closure()), 0o600); err != nil {
				b.Fatal(err)
			}
			v.one(b, "psql", 0, func(b *testing.B) run {
				out := filepath.Join(b.TempDir(), "rows.zst")
				took := shell(b, "sh", "-c", `psql -qX -v ON_ERROR_STOP=1 -d "$1" -f "$2" | zstd -q -1 -o "$3"`, "sh", dsn, script, out)
				n := bytes.Count(outputOf(b, "zstd", "-dc", out), []byte("\n"))
				if b.ReportMetric(float64(n), "rows"); n < 1000 {
					b.Fatalf("psql wrote %d rows", n)
				}
				return took
			})
			if d.rows != nil {
				srv := httptest.NewServer(hubtest.New(d.rows, hubtest.Options{}))
				defer srv.Close()
				v.one(b, "hub", 0, pullFrom("hub", srv.URL+"/kojihub"), "psql")
			}
			v.one(b, "pull", 0, pullFrom("database", dsn), "psql", "hub")
		})
	}
}

// BenchmarkSourceDump pulls a generated production's tag from its dumps. Beside those that are compressed stand the
// programs that unpack them to nowhere.
func BenchmarkSourceDump(b *testing.B) {
	for _, factor := range []int{1, 4} {
		b.Run(fmt.Sprintf("factor=%d", factor), func(b *testing.B) {
			dsn, d := prepareBench(b, 6000, factor, buildroots)
			dumpBench(b, dsn, d)
			v := &versus{factor, "dump", map[string]run{}}
			for _, name := range []string{"zst", "xz"} {
				cat := map[string]string{"zst": "zstdcat", "xz": "xzcat"}[name]
				v.one(b, cat, d.text, func(b *testing.B) run { return shell(b, "sh", "-c", cat+` "$1" > /dev/null`, "sh", d.dumps[name]) })
			}
			for _, name := range []string{"plain", "zst", "xz", "custom", "directory"} {
				v.one(b, name, d.text, pullFrom("dump", d.dumps[name]), map[string][]string{"zst": {"zstdcat"}, "xz": {"xzcat"}}[name]...)
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
