package pgdump_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/seedtest"
)

// refused opens a dump and pulls from it, which must fail with nothing stored. It returns the error's text.
func refused(t *testing.T, w way, file string) string {
	t.Helper()
	s := sourcetest.Store(t)
	src, err := w.open(t, file)
	if err == nil {
		_, err = dbsource.Pull(t.Context(), src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"*"}, Event: 419})
	}
	if err == nil {
		t.Fatalf("%s: a snapshot was made", file)
	}
	objects, lost := s.List(t.Context(), "")
	if lost != nil {
		t.Fatal(lost)
	}
	for _, o := range objects {
		if !strings.HasPrefix(o.Name, "locks/") && !strings.HasPrefix(o.Name, "leases/") {
			t.Errorf("%v, and the store has %s", err, o.Name)
		}
	}
	if text := err.Error(); strings.Contains(text, "\n") || len(text) > 900 {
		t.Errorf("not one clear line: %s", text)
	}
	return err.Error()
}

func write(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCut: a dump that was cut off anywhere gives no snapshot, and a line that says so.
func TestCut(t *testing.T) {
	within := regexp.MustCompile(`ends (within table "public\.\w+"|after table "public\.\w+"|before its first table) at byte \d+ of its text`)
	for _, w := range []way{
		{"plain", nil, "", false}, {"plain from a pipe", nil, "", true}, {"gzip", nil, "gzip", false}, {"zstd", nil, "zstd", false}, {"xz", nil, "xz", false},
	} {
		t.Run(w.name, func(t *testing.T) {
			whole := read(t, w.recorded(t))
			last := len(whole)
			if w.pack == "" { // behind the marker there are a few empty lines, and \unrestrict
				last = bytes.Index(whole, []byte("-- PostgreSQL database dump complete\n"))
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			cuts, named := 10, 0
			if seedtest.Long() {
				cuts = 200
			}
			for i := range cuts {
				at := 1 + i*(last-1)/cuts + r.IntN((last-1)/cuts)
				text := refused(t, w, write(t, whole[:at]))
				if !strings.Contains(text, "cut off") && !strings.Contains(text, "is none that pg_dump made") {
					t.Errorf("cut at byte %d of %d: %s", at, len(whole), text)
				}
				if within.MatchString(text) {
					named++
				}
			}
			if named < cuts/4 { // what is cut off within the first block of a compression has no text at all
				t.Errorf("only %d errors of %d say where the dump ends", named, cuts)
			}
		})
	}
	for _, args := range [][]string{{"-Fc"}, {"-Fc", "--data-only"}, {"-Ft"}} {
		w := way{strings.Join(args, " "), args, "", false}
		t.Run(w.name, func(t *testing.T) {
			whole := read(t, w.recorded(t))
			last := len(whole)
			if args[0] == "-Ft" { // a tar ends with empty blocks, and with restore.sql, which pg_restore does not read
				last = bytes.LastIndex(whole, []byte("restore.sql\x00")) - 1024
			}
			cuts := 6
			if seedtest.Long() {
				cuts = 12
			}
			for i := range cuts {
				at := 1 + i*(last-2)/(cuts-1)
				text := refused(t, w, write(t, whole[:at]))
				if !strings.Contains(text, "cut off") && !strings.Contains(text, "cannot be read") && !strings.Contains(text, "is none that pg_dump made") {
					t.Errorf("cut at byte %d of %d: %s", at, len(whole), text)
				}
			}
		})
	}
}

// TestCutFile: a file of a directory that was cut off, or that is not there, is noticed, packed or not.
func TestCutFile(t *testing.T) {
	for _, args := range [][]string{{"-Fd", "-Z0"}, {"-Fd"}, {"-Fd", "--data-only", "-Z0"}} {
		w := way{"", args, "", false}
		dir := filepath.Join(t.TempDir(), "dump")
		if err := os.CopyFS(dir, os.DirFS(w.recorded(t))); err != nil {
			t.Fatal(err)
		}
		list, err := exec.Command(tool(t, "pg_restore"), "-l", dir).Output()
		id := regexp.MustCompile(`(?m)^(\d+); .* TABLE DATA public tag_listing `).FindSubmatch(list)
		if err != nil || id == nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, string(id[1])+".dat*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		cut := files[0]
		whole := read(t, cut)
		os.WriteFile(cut, whole[:len(whole)/2], 0o600)
		if text := refused(t, w, dir); !strings.Contains(text, `within table "public.tag_listing"`) && !strings.Contains(text, "cannot be read") {
			t.Errorf("%v, half of %s: %s", args, filepath.Base(cut), text)
		}
		os.Remove(cut)
		if text := refused(t, w, dir); !strings.Contains(text, "lacks files: "+strings.TrimSuffix(filepath.Base(cut), ".gz")+" (") && !strings.Contains(text, "No such file") {
			t.Errorf("%v, without %s: %s", args, filepath.Base(cut), text)
		}
	}
}

// block is the part of a dump that has the rows of a table.
func block(text, table string) string {
	at := strings.Index(text, "COPY public."+table+" (")
	end := strings.Index(text[at:], "\n\\.\n")
	return text[at : at+end+4]
}

// TestRefused: what is no whole dump of a production's Koji database is refused, and the line says why.
func TestRefused(t *testing.T) {
	dsn := production(t)
	kept := func(args ...string) []byte {
		return read(t, way{args: args}.keep(t, "production", func() string { return dsn }))
	}
	plain, data := string(kept()), string(kept("--data-only"))
	empty := dbtest.Empty(t)
	dbtest.Exec(t, empty, "CREATE TABLE updates (id int); INSERT INTO updates VALUES (1)")
	fileOf := func(args ...string) []byte { return read(t, dump(t, dsn, args...)) }
	marked := dbtest.Production(t)
	dbtest.Exec(t, marked, "CREATE SCHEMA kojisnap; CREATE TABLE kojisnap.mark (env text)")
	custom := kept("-Fc")
	newer := bytes.Clone(custom)
	newer[6] = 16
	for _, test := range []struct {
		name string
		text []byte
		want string
	}{
		{"without the rows of a table", []byte(strings.Replace(plain, block(plain, "rpminfo"), "", 1)), "has no rows of rpminfo: made with --exclude-table-data?"},
		{"by pg_dump", fileOf("--exclude-table-data=rpmsigs", "--exclude-table-data=tag"), "has no rows of tag, rpmsigs: made with --exclude-table-data?"},
		{"data only, without the rows of a table", []byte(strings.Replace(data, block(data, "rpminfo"), "", 1)), "has no rows of rpminfo"},
		{"archive without the rows of a table", fileOf("-Fc", "--exclude-table-data=rpmsigs"), "has no rows of rpmsigs: made with --exclude-table-data?"},
		{"schema only", fileOf("--schema-only"), "has no rows of events, "},
		{"one table", fileOf("--table=tag_listing"), "has no rows of rpminfo: made with --table"},
		{"INSERT", fileOf("--inserts"), "INSERT statements (the first is of table \"public.archive_components\"): dump without --inserts"},
		{"INSERT of several rows", fileOf("--rows-per-insert=10", "--data-only"), "dump without --inserts, --column-inserts and --rows-per-insert"},
		{"archive of INSERT", fileOf("-Fc", "--column-inserts"), "INSERT statements"},
		{"other encoding", read(t, dump(t, empty, "--encoding=LATIN9")), `encoding "LATIN9" (its line SET client_encoding): dump with pg_dump --encoding=UTF8`},
		{"archive in another encoding", read(t, dump(t, dbtest.Fresh(t), "-Fc", "--encoding=EUC_JP")), `encoding "EUC_JP"`},
		{"newer archive", newer, "is an archive of version 1.16, made by pg_dump of PostgreSQL 17 or newer, and pg_restore 15."},
		{"other database", read(t, dump(t, empty)), "has no table rpminfo: is it of a Koji database?"},
		{"archive of another database", read(t, dump(t, empty, "-Fc")), "has no table rpminfo: is it of a Koji database?"},
		{"empty database", read(t, dump(t, dbtest.Empty(t))), "has no table rpminfo"},
		{"staging", read(t, dump(t, marked)), "kojisnap marked as staging"},
		{"archive of staging", read(t, dump(t, marked, "-Fc")), "kojisnap marked as staging"},
		{"two dumps", []byte(plain + plain), "two databases"},
		{"two databases", []byte(strings.Replace(plain, "-- PostgreSQL database dump complete\n", "", 1) + "\n\\connect bodhi\n" + plain[strings.Index(plain, "SET statement_timeout"):]), `has two databases (a second \connect)`},
		{"pg_dumpall", []byte("--\n-- PostgreSQL database cluster dump\n--\n\n\\connect template1\n\n" + plain), "is of pg_dumpall"},
		{"a table twice", []byte(strings.Replace(plain, block(plain, "tag"), block(plain, "tag")+block(plain, "tag"), 1)), `has table "public.tag" twice`},
		{"two schemas", []byte(strings.ReplaceAll(data, "COPY public.", "COPY a.")[:strings.Index(data, "\n--\n-- PostgreSQL database dump complete")-len(data)+len(strings.ReplaceAll(data, "COPY public.", "COPY a."))] +
			strings.ReplaceAll(data[strings.Index(data, "COPY"):], "COPY public.", "COPY b.")), "in the schemas a, b: dump one"},
		{"CR LF", []byte(strings.ReplaceAll(plain, "\n", "\r\n")), "lines that end in CR LF"},
		{"a row too short", []byte(strings.Replace(plain, block(plain, "rpmsigs"), strings.Replace(block(plain, "rpmsigs"), "\n1\t\t", "\n1\t", 1), 1)), `is damaged within table "public.rpmsigs", at byte `},
		{"MySQL", []byte("-- MySQL dump 10.13  Distrib 8.0\n--\nCREATE TABLE x (a int);\n"), "is a dump of MySQL"},
		{"SQLite", []byte("SQLite format 3\x00abc"), "is a database of SQLite"},
		{"bzip2", []byte("BZh91AY&SY"), "bzcat FILE"},
		{"text", []byte("hello\nworld\n"), "is none that pg_dump made"},
		{"nothing", nil, "is empty"},
		{"psql's command", []byte(strings.Replace(plain, "\nSET lock_timeout", "\n\\! touch /tmp/x\nSET lock_timeout", 1)), `psql's command "\\!"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.text)
			for _, pipe := range []bool{false, true} {
				if text := refused(t, way{pipe: pipe}, file); !strings.Contains(text, test.want) {
					t.Errorf("from a pipe: %v: %s\nwant %s", pipe, text, test.want)
				}
			}
		})
	}
	packed := read(t, pack(t, write(t, []byte(plain)), "gzip"))
	packed[len(packed)-5] ^= 1
	if text := refused(t, way{}, write(t, packed)); !strings.Contains(text, "checksum") {
		t.Errorf("a damaged checksum: %s", text)
	}
}

// TestPrograms: where a program is missing, the line says which one, and what it is for.
func TestPrograms(t *testing.T) {
	xz, custom := way{pack: "xz"}.recorded(t), way{args: []string{"-Fc"}}.recorded(t)
	t.Setenv("PATH", t.TempDir())
	for file, want := range map[string]string{xz: "needs the program xz, which is not there", custom: "needs the program pg_restore: install PostgreSQL's client"} {
		if text := refused(t, way{}, file); !strings.Contains(text, want) {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// TestRoom: where there is no directory for temporary files, or no room in it, the line names the flag.
func TestRoom(t *testing.T) {
	dump := way{}.recorded(t)
	_, err := pgdump.Open(t.Context(), pgdump.Options{Path: dump, TempDir: filepath.Join(t.TempDir(), "none")})
	if err == nil || !strings.Contains(err.Error(), "--tmpdir") {
		t.Errorf("no directory: %v", err)
	}
	// A file with a hole of a terabyte and more is a dump that nothing here has room for.
	file := write(t, read(t, dump))
	if err := os.Truncate(file, 8<<40); err != nil {
		t.Skip(err)
	}
	_, err = pgdump.Open(t.Context(), pgdump.Options{Path: file, TempDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "room for") || !strings.Contains(err.Error(), "--tmpdir") {
		t.Errorf("no room: %v", err)
	}
}
