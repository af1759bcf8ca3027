package pgdump_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/postgres"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchRole) == "pull" {
		if err := benchPull(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := dbtest.Main(m)
	for _, dir := range []string{benchDir, dumped.dir} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// tool finds a program that the tests need: without it they fail if all must run, else they are skipped.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("KOJISNAP_TEST_ALL") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// dump runs pg_dump and returns the file, or the directory, that it made.
func dump(t testing.TB, dsn string, args ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "koji.dump")
	out, err := exec.CommandContext(t.Context(), tool(t, "pg_dump"), append(args, "--file", to, "--dbname", dsn)...).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_dump %q: %v: %s", args, err, out)
	}
	return to
}

// pack compresses a file by a program, or by a library, beside it, under a name that says nothing.
func pack(t testing.TB, file, by string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	switch by {
	case "zstd":
		zw, err := zstd.NewWriter(&packed)
		if err != nil {
			t.Fatal(err)
		}
		zw.Write(text)
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		cmd := exec.CommandContext(t.Context(), tool(t, by), "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(text), &packed
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v", by, err)
		}
	}
	to := filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(to, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// openPipe opens a file as if it came from a pipe.
func openPipe(t testing.TB, file string) (dbsource.Source, error) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	// The reader is a pipe's: it cannot seek, and gives what it has.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	go func() {
		defer w.Close()
		f.WriteTo(w)
	}()
	return pgdump.Open(t.Context(), pgdump.Options{Path: "-", Stdin: r, TempDir: t.TempDir()})
}

func hubOf(t testing.TB, dsn string) *hub.Client {
	t.Helper()
	db, err := hubtest.PostgreSQL(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return sourcetest.Hub(t, db, hubtest.Options{})
}

// way is a way of making a dump and of giving it.
type way struct {
	name string
	args []string // of pg_dump
	pack string
	pipe bool
}

var ways = []way{
	{"plain", nil, "", false},
	{"plain from a pipe", nil, "", true},
	{"gzip", nil, "gzip", false},
	{"zstd", nil, "zstd", false},
	{"zstd from a pipe", nil, "zstd", true},
	{"xz", nil, "xz", false},
	{"xz from a pipe", nil, "xz", true},
	{"data only", []string{"--data-only"}, "", false},
	{"with the database", []string{"--create"}, "", false},
	{"without sessions", []string{"--exclude-table-data=sessions"}, "xz", false},
	{"custom", []string{"-Fc"}, "", false},
	{"custom from a pipe", []string{"-Fc"}, "", true},
	{"custom in gzip", []string{"-Fc", "-Z0"}, "gzip", false},
	{"custom, data only", []string{"-Fc", "--data-only"}, "", false},
	{"directory", []string{"-Fd"}, "", false},
	{"directory, data only", []string{"-Fd", "--data-only", "-Z0"}, "", false},
	{"tar", []string{"-Ft"}, "", false},
}

// dumped has the dumps of keep.
var dumped struct {
	sync.Mutex
	dir   string
	files map[string]string // by what was made how
}

// keep is make for a kind of database that tests make alike: one is dumped once for all tests and all ways of packing
// the dump, which must not change it. A dump costs far more than reading it.
func (w way) keep(t testing.TB, kind string, dsn func() string) string {
	t.Helper()
	dumped.Lock()
	defer dumped.Unlock()
	return w.keepLocked(t, kind, dsn)
}

func (w way) keepLocked(t testing.TB, kind string, dsn func() string) string {
	t.Helper()
	key := fmt.Sprintf("%s %q %s", kind, w.args, w.pack)
	if file := dumped.files[key]; file != "" {
		return file
	}
	var err error
	if dumped.dir == "" {
		dumped.files = map[string]string{}
		if dumped.dir, err = os.MkdirTemp("", "kojisnap-pgdump-"); err != nil {
			t.Fatal(err)
		}
	}
	var made string
	if w.pack == "" {
		made = dump(t, dsn(), w.args...)
	} else {
		made = pack(t, way{args: w.args}.keepLocked(t, kind, dsn), w.pack)
	}
	to := filepath.Join(dumped.dir, fmt.Sprint(len(dumped.files)))
	if err := os.Rename(made, to); err != nil {
		t.Fatal(err)
	}
	dumped.files[key] = to
	return to
}

// production is a database with the recorded rows, and with checksums as if its hub had hashed each signed copy.
func production(t testing.TB) string {
	t.Helper()
	dsn := dbtest.Production(t)
	sourcetest.Hash(t, dsn)
	return dsn
}

// recorded is keep of production.
func (w way) recorded(t testing.TB) string {
	t.Helper()
	return w.keep(t, "production", func() string { return production(t) })
}

// recordedHub answers from the recorded rows.
func recordedHub(t testing.TB) *hub.Client {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return sourcetest.Hub(t, rows, hubtest.Options{})
}

// open opens a dump in this way.
func (w way) open(t testing.TB, file string) (src dbsource.Source, err error) {
	t.Helper()
	if w.pipe {
		src, err = openPipe(t, file)
	} else {
		src, err = pgdump.Open(t.Context(), pgdump.Options{Path: file, TempDir: t.TempDir()})
	}
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

// sourceOf opens a database as a source.
func sourceOf(t testing.TB, dsn string) dbsource.Source {
	t.Helper()
	src, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}
