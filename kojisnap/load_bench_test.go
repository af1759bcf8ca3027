package kojisnap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/benchtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
)

// benchLoaded is what such a process prints.
type benchLoaded struct {
	*book.LoadReport
	Peak int64
}

// benchLoad loads a snapshot of a store into a database, and prints the report. A further argument says whether by a full
// import, in two sessions.
func benchLoad(args []string) error {
	debug.SetMemoryLimit(150 << 20) // as the command does
	ctx := context.Background()
	s, err := dir.Open(args[1])
	if err != nil {
		return err
	}
	snap, err := repository.Open(ctx, s, args[2])
	if err != nil {
		return err
	}
	opt := kojisnap.LoadOptions{DSN: args[0]}
	if len(args) > 3 {
		opt.Import, opt.Sessions = dbsync.Import(args[3]), 2
	}
	r, err := kojisnap.Load(ctx, snap, s, opt)
	if err != nil {
		return err
	}
	peak, err := benchtest.Peak()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(benchLoaded{r, peak})
}

// BenchmarkLoadScale loads a generated tag into a fresh database, loads it again, and then what
// it is when one build in a hundred, and one in ten, was replaced. Beside that stand psql's
// COPY of the rows of the first load into the same tables with all their constraints, and
// pg_restore of a dump of the database that came out.
func BenchmarkLoadScale(b *testing.B) {
	for _, factor := range []int{1, 4} {
		b.Run(fmt.Sprintf("factor=%d", factor), func(b *testing.B) { benchLoadScale(b, factor) })
	}
}

func benchLoadScale(b *testing.B, factor int) {
	url, change := startHub(b, factor, "fast")
	path := filepath.Join(b.TempDir(), "store")
	var ids []string
	for _, builds := range []int{0, 240, 2400} {
		if builds > 0 {
			change(builds * factor)
		}
		out, _, _ := timed(b, benchCommand(b, "pull", url, path))
		var r pull.Result
		if err := json.Unmarshal(out, &r); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, r.Snapshot)
	}
	what := map[string][]float64{}
	note := func(unit string, v float64) { what[unit] = append(what[unit], v) }
	for range b.N {
		dsn := dbtest.Fresh(b)
		if _, err := setup.Init(b.Context(), dbtest.Connect(b, dsn), setup.Options{Env: "bench"}); err != nil {
			b.Fatal(err)
		}
		var first time.Duration
		for _, load := range []struct{ unit, id string }{{"first", ids[0]}, {"same", ids[0]}, {"1%", ids[1]}, {"10%", ids[2]}} {
			out, took, rss := timed(b, benchCommand(b, "load", dsn, path, load.id))
			var r book.LoadReport
			if err := json.Unmarshal(out, &r); err != nil {
				b.Fatal(err)
			}
			if load.unit != "same" && (!r.Changed() || load.unit != "first" && r.Base == "") {
				b.Fatalf("%s: %+v", load.unit, r)
			}
			note("s/"+load.unit, took.Seconds())
			note("MiB/"+load.unit, rss)
			if load.unit == "first" {
				first = took
				tables := copyOut(b, dsn)
				note("s/COPY", copyIn(b, tables).Seconds())
				note("first/COPY", first.Seconds()/what["s/COPY"][len(what["s/COPY"])-1])
				restored := restore(b, dsn)
				note("s/pg_restore", restored.Seconds())
				note("first/pg_restore", first.Seconds()/restored.Seconds())
			} else {
				note(load.unit+"/first", took.Seconds()/first.Seconds())
			}
		}
	}
	for unit, values := range what {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(0, "ns/op")
}

// tool finds a program of PostgreSQL's.
func tool(b *testing.B, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		b.Fatalf("%v: it comes with PostgreSQL's client", err)
	}
	return path
}

// run runs a program and returns how long it took.
func run(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), tool(b, name), args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", name, err, out)
	}
	return time.Since(start)
}

// copyOut writes each of the catalogue's tables to a file, and returns their directory.
func copyOut(b *testing.B, dsn string) string {
	out := b.TempDir()
	var script strings.Builder
	for _, r := range relation.All() {
		fmt.Fprintf(&script, "\\copy %q to '%s'\n", r.Name, filepath.Join(out, r.Name))
	}
	file := filepath.Join(out, "out.sql")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	run(b, "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)
	return out
}

// copyIn copies the files into a fresh database, in one transaction.
func copyIn(b *testing.B, tables string) time.Duration {
	dsn := dbtest.Fresh(b)
	dbtest.Exec(b, dsn, "TRUNCATE users, permissions, channels, volume, btype, archivetypes, external_repo CASCADE")
	var script strings.Builder
	for _, r := range relation.All() {
		fmt.Fprintf(&script, "\\copy %q from '%s'\n", r.Name, filepath.Join(tables, r.Name))
	}
	file := filepath.Join(tables, "in.sql")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return run(b, "psql", "-1qX", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", file)
}

// restore dumps a database and restores the dump into an empty one, by two jobs.
func restore(b *testing.B, dsn string) time.Duration {
	dump := filepath.Join(b.TempDir(), "dump")
	run(b, "pg_dump", "-Fd", "-j2", "-Z1", "-n", "public", "-f", dump, "-d", dsn)
	return run(b, "pg_restore", "-j2", "--no-owner", "--if-exists", "--clean", "-d", dbtest.Empty(b), dump)
}
