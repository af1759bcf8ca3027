package kojisnap_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/store/dir"
)

// BenchmarkFullImport loads a snapshot of everything into a fresh database by a full import in two sessions. Beside it
// stand, each in a fresh database: pg_restore -j2 of a dump (-Fc) of the schema with the rows that came out, xzcat of a
// plain one into psql, and the merge of the same snapshot. KOJISNAP_BENCH_IMPORT is how many builds there are.
func BenchmarkFullImport(b *testing.B) {
	builds := 200000
	if n, err := strconv.Atoi(os.Getenv("KOJISNAP_BENCH_IMPORT")); err == nil {
		builds = n
	}
	rows, err := generate.Hub(generate.Options{Seed: 1, Builds: builds, Outside: -1})
	if err != nil {
		b.Fatal(err)
	}
	production := dbtest.Fresh(b)
	sourcetest.Fill(b, production, rows)
	rows = nil
	path := filepath.Join(b.TempDir(), "store")
	s, err := dir.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	src, err := postgres.Open(b.Context(), postgres.Options{DSN: production, Jobs: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	r, err := dbsource.Pull(b.Context(), src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Everything: true, Margin: -1, Program: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	marked := func() string {
		dsn := dbtest.Fresh(b)
		if _, err := setup.Init(b.Context(), dbtest.Connect(b, dsn), setup.Options{Env: "bench"}); err != nil {
			b.Fatal(err)
		}
		return dsn
	}
	load := func(mode string) (string, float64, float64) {
		dsn := marked()
		out, took, _ := timed(b, benchCommand(b, "load", dsn, path, r.Snapshot, mode))
		rep := benchLoaded{LoadReport: &book.LoadReport{}}
		if err := json.Unmarshal(out, &rep); err != nil || rep.Mode != map[string]string{"auto": "import", "never": "full"}[mode] {
			b.Fatalf("%s: %v, %s", mode, err, rep.Mode)
		}
		return dsn, took.Seconds(), float64(rep.Peak) / (1 << 20)
	}
	what := map[string][]float64{}
	note := func(unit string, v float64) { what[unit] = append(what[unit], v) }
	for range b.N {
		dsn, imported, rss := load("auto")
		note("s/import", imported)
		note("MiB/import", rss)
		dumps := b.TempDir()
		archive, plain := filepath.Join(dumps, "koji.dump"), filepath.Join(dumps, "koji.sql")
		run(b, "pg_dump", "-Fc", "-n", "public", "-f", archive, "-d", dsn)
		copied := dbtest.Empty(b)
		restored := run(b, "pg_restore", "-j2", "--no-owner", "--if-exists", "--clean", "-d", copied, archive).Seconds()
		note("s/pg_restore", restored)
		note("import/pg_restore", imported/restored)
		// An import ends with the statistics that a restore lacks: composes' queries are slow without them.
		restored += run(b, "vacuumdb", "-j2", "--analyze-only", "-q", "-d", copied).Seconds()
		note("import/pg_restore+analyze", imported/restored)
		run(b, "pg_dump", "--no-owner", "--if-exists", "--clean", "-n", "public", "-f", plain, "-d", dsn)
		run(b, "xz", "-1", "-T2", plain)
		read := run(b, "sh", "-c", fmt.Sprintf("xzcat '%s.xz' | psql -qX -v ON_ERROR_STOP=1 -o /dev/null -d '%s'", plain, dbtest.Empty(b))).Seconds()
		note("s/xzcat|psql", read)
		note("import/xzcat|psql", imported/read)
		if os.Getenv("KOJISNAP_BENCH_MERGE") != "" {
			_, merged, _ := load("never")
			note("s/merge", merged)
			note("merge/import", merged/imported)
		}
	}
	for unit, values := range what {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(0, "ns/op")
}
