package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/pull"
)

// dumpOf runs pg_dump and returns the file, or the directory, that it made.
func dumpOf(t *testing.T, dsn string, args ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "koji.dump")
	program, err := exec.LookPath("pg_dump")
	if err != nil && os.Getenv("KOJISNAP_TEST_ALL") == "" {
		t.Skip(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, append(args, "--file", to, "--dbname", dsn)...).CombinedOutput(); err != nil {
		t.Fatalf("pg_dump: %v: %s", err, out)
	}
	return to
}

// plainDump is a dump of production as text, customDump an archive: each is made once for all tests.
var plainDump, customDump madeDump

type madeDump struct {
	sync.Mutex
	text string
}

// of copies the dump of a database of dbtest.Production into a file.
func (d *madeDump) of(t *testing.T, dsn string, args ...string) (path string) {
	t.Helper()
	d.Lock()
	defer d.Unlock()
	if d.text == "" {
		d.text = readFile(t, dumpOf(t, dsn, args...))
	}
	path = filepath.Join(t.TempDir(), "koji.dump")
	write(t, path, d.text)
	return path
}

// TestPullFromDump: pull --from-dump makes a snapshot of a file, a directory or a pipe, accounts for each table, and
// leaves nothing in --tmpdir; the same dump in another format gives the same relations.
func TestPullFromDump(t *testing.T) {
	dsn := dbtest.Production(t)
	plain := plainDump.of(t, dsn)
	rows := map[string]int64{}
	for _, dump := range []string{plain, customDump.of(t, dsn, "-Fc"), dumpOf(t, dsn, "-Fd"), "-"} {
		if dump == "-" {
			f, err := os.Open(plain)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			stdin := os.Stdin
			os.Stdin = f
			defer func() { os.Stdin = stdin }()
		}
		temp := t.TempDir()
		out, errs, code := kojisnapRun(t, "pull", "--hub", unreachable, "--from-dump", dump, "--tmpdir", temp, "--tag", "f42-infra", "--event", "419", "--store", t.TempDir(), "--json")
		var r pull.Result
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || errs != "" {
			t.Fatalf("%s: %d, %v, %q, %q", dump, code, err, out, errs)
		}
		if s := r.Source; s == nil || s.Kind != "dump" || s.Wanted != 39 || s.Refused != 8 || s.Ignored != 21 || s.Unknown != 0 || len(s.Tables) != 68 {
			t.Errorf("source: %+v", s)
		}
		for name, n := range r.Rows {
			if before, ok := rows[name]; ok && n != before {
				t.Errorf("%s: %d rows of %s, %d before", dump, n, name, before)
			}
			rows[name] = n
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%s left %v, %v", dump, left, err)
		}
	}
	if rows["rpminfo"] == 0 {
		t.Errorf("rows: %v", rows)
	}
}

// TestPullFromDumpRefused: each dump that will not do, and each wrong use, has its exit code and a line that says why;
// nothing is stored.
func TestPullFromDumpRefused(t *testing.T) {
	dsn, marked := dbtest.Production(t), dbtest.Production(t)
	dbtest.Exec(t, marked, "CREATE SCHEMA kojisnap; CREATE TABLE kojisnap.mark ()")
	plain := plainDump.of(t, dsn)
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut\n\x1b[31mdump") // a name is data
	write(t, cut, string(text[:strings.Index(string(text), "\nCOPY public.rpmsigs")+200]))
	for _, test := range []struct {
		name string
		code int
		says string
		args []string
	}{
		{"cut", exit.Error, `ends within table "public.rpmsigs" at byte `, []string{"--from-dump", cut}},
		{"INSERT", exit.Error, "INSERT statements", []string{"--from-dump", dumpOf(t, dsn, "--inserts", "--table=build")}},
		{"without rpminfo", exit.Error, "no rows of rpminfo: made with --exclude-table-data?", []string{"--from-dump", dumpOf(t, dsn, "--exclude-table-data=rpminfo")}},
		{"staging's", exit.Usage, "marked as staging", []string{"--from-dump", dumpOf(t, marked)}},
		{"no file", exit.Error, "cannot be opened: no such file", []string{"--from-dump", "/nonexistent"}},
		{"no room", exit.Error, "--tmpdir", []string{"--from-dump", plain, "--tmpdir", "/nonexistent"}},
		{"two sources", exit.Usage, "--from-db and --from-dump", []string{"--from-dump", plain, "--from-db", dsn}},
		{"a flag of hubs", exit.Usage, "--sweep is for hubs, and --from-dump reads a dump", []string{"--from-dump", plain, "--sweep", "3"}},
		{"no such tag", exit.Error, `the dump has no tag "f99"`, []string{"--from-dump", plain, "--tag", "f99", "--margin", "0"}},
		{"no such event", exit.Error, "the dump has no event 9999; its newest is 419", []string{"--from-dump", plain, "--event", "9999"}},
		{"too long", exit.Later, "not done within", []string{"--from-dump", plain, "--deadline", "1ns"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := t.TempDir()
			out, errs, code := kojisnapRun(t, append([]string{"pull", "--hub", unreachable, "--store", store, "--tag", "f42-infra"}, test.args...)...)
			if code != test.code || !strings.Contains(errs, test.says) || out != "" || strings.ContainsAny(errs, "\x1b") || strings.Count(errs, "\n") > 2 {
				t.Errorf("exit code %d, want %d; %q, %q", code, test.code, out, errs)
			}
			if found, err := filepath.Glob(filepath.Join(store, "snapshots", "*")); err != nil || len(found) > 0 {
				t.Errorf("snapshots after a failure: %q, %v", found, err)
			}
		})
	}
	// doctor looks at a dump without reading it all.
	config := filepath.Join(t.TempDir(), "kojisnap.toml")
	for dump, says := range map[string]string{plain: "dump of pg_dump", customDump.of(t, dsn, "-Fc"): "archive of version 1.", "/nonexistent": "cannot be opened"} {
		write(t, config, "[pull]\nhub = \""+unreachable+"\"\nfrom-dump = \""+dump+"\"\ntag = [\"f42\"]\n")
		if out, errs, _ := kojisnapRun(t, "doctor", "-c", config, "--only", "pull", "--store", t.TempDir()); !strings.Contains(out+errs, says) {
			t.Errorf("doctor of %s: %q, %q", dump, out, errs)
		}
	}
}
