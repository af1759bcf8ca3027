package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
)

// TestDoctor breaks one thing of a site after the other: doctor names it, in one line with what to do,
// and finds all else in order; sync refuses, before it does anything, what would end it later.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	c := w.config(t, "f42-compose")
	type finding struct{ Check, Status, Detail string }
	doctor := func(code int, args ...string) (bad []finding) {
		t.Helper()
		args = append([]string{"doctor", "--json"}, args...)
		o := kojisnapRun(t, args...)
		var r struct {
			OK     bool
			Checks []finding
		}
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || o.code != code || r.OK != (code == 0) {
			t.Fatalf("%v: exit code %d, %v: %s%s", args, o.code, err, o.stdout, o.stderr)
		}
		if len(r.Checks) != 7 {
			t.Errorf("%v: %d checks: %+v", args, len(r.Checks), r.Checks)
		}
		for _, f := range r.Checks {
			if f.Status != "ok" {
				bad = append(bad, f)
			}
			if f.Detail == "" || strings.ContainsAny(f.Detail, "\n\t") {
				t.Errorf("%v: %+v", args, f)
			}
		}
		return bad
	}
	if bad := doctor(3, "-c", c); len(bad) != 2 || !strings.Contains(bad[0].Detail, "run kojisnap init") || bad[1].Check != "database" || !strings.Contains(bad[1].Detail, "kojisnap init does that") {
		t.Errorf("before init: %+v", bad)
	}
	w.init(t)
	if bad := doctor(0, "-c", c); len(bad) > 0 {
		t.Errorf("%+v", bad)
	}
	succeed(t, "sync", "-c", c)
	if text := succeed(t, "doctor", "-c", c); strings.Count(text, "\n") != 7 || !strings.Contains(text, "Koji 1.35.3") || strings.Contains(text, "failed") {
		t.Errorf("%s", text)
	}
	if text := succeed(t, "doctor", "-c", c, "-q"); text != "" {
		t.Errorf("-q: %q", text)
	}
	before := w.state(t)

	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("x"), 0o644))
	empty := t.TempDir()
	overlay := filepath.Join(t.TempDir(), "overlay.toml")
	must(t, os.WriteFile(overlay, []byte("[hosts]\n"), 0o644))
	sql := func(do, undo string) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			dbtest.Exec(t, w.dsn, do)
			return func() { dbtest.Exec(t, w.dsn, undo) }
		}
	}
	// A role that loads with what grants.sql gives, but for one thing.
	role := strings.ReplaceAll(filepath.Base(w.name(t)), "-", "_") + "_loader"
	grants, err := os.ReadFile("../scripts/grants.sql")
	must(t, err)
	dbtest.Exec(t, w.dsn, fmt.Sprintf("CREATE ROLE %s LOGIN NOSUPERUSER", role))
	t.Cleanup(func() { dbtest.Exec(t, w.dsn, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role) })
	dbtest.Exec(t, w.dsn, strings.ReplaceAll(string(grants), "TO kojisnap", "TO "+role))
	as := w.as(t, role)
	if bad := doctor(0, "-c", c, "--db", as); len(bad) > 0 {
		t.Errorf("as the role of grants.sql: %+v", bad)
	}
	ledger := filepath.Join(w.topdir, ".kojisnap/ledger")
	type broken struct {
		name, check, says string
		args              []string
		do                func(t *testing.T) (undo func())
		sync              int // its exit code; 0: it gets on
	}
	cases := []broken{
		{name: "a store that is a file", check: "store", says: "not a directory", args: []string{"--store", file}, sync: 1},
		{name: "no store yet", check: "store", says: "the first pull makes it", args: []string{"--store", empty + "/none"}},
		{name: "a hub that is not there", check: "production's hub", says: "call getKojiVersion: dial tcp 127.0.0.1:1", args: []string{"--hub", "http://127.0.0.1:1/kojihub", "--hub-moved", "http://127.0.0.1:1/kojihub"}, sync: 5},
		{name: "a tag that is not there", check: "production's hub", says: `has no tag "f24-compose"`, args: []string{"--tag", "f24-compose"}, sync: 1},
		{name: "a staging hub that is production's", check: "staging's hub", says: "is production's", args: []string{"--staging-hub", w.prodURL}, sync: 2},
		{name: "a staging hub that is not there", check: "staging's hub", says: "127.0.0.1:1", args: []string{"--staging-hub", "http://127.0.0.1:1/kojihub"}, sync: 5},
		{name: "no topdir", check: "topdir", says: "no such file", args: []string{"--topdir", empty + "/none"}, sync: 1},
		{name: "topdir not mounted", check: "topdir", says: "is it mounted?", args: []string{"--topdir", empty}, sync: 1},
		{name: "topdir read-only", check: "topdir", says: "read-only mount", do: w.readOnlyTopdir, sync: 1},
		{name: "topdir that is production's", check: "topdir", says: "", args: []string{"--topdir", w.prodTree}, sync: 1},
		{name: "a tree that the hub could write", check: "topdir", says: "mount it read-only", args: []string{"--writable-source=false"}, sync: 1},
		{name: "a ledger that is damaged", check: "topdir", says: "makes it anew", do: func(t *testing.T) func() {
			old, err := os.ReadFile(ledger)
			must(t, err)
			info, err := os.Stat(ledger)
			must(t, err)
			must(t, os.WriteFile(ledger, append([]byte("rubbish\n"), old...), 0o644))
			return func() {
				must(t, os.WriteFile(ledger, old, 0o644))
				must(t, os.Chtimes(ledger, info.ModTime(), info.ModTime()))
			}
		}, sync: 1},
		{name: "no source", check: "topdir", says: "does not exist", args: []string{"--source", empty + "/none"}, sync: 1},
		{name: "a source that is not production's tree", check: "topdir", says: "mount production's tree", args: []string{"--source", empty}, sync: 1},
		{name: "a server that is not there", check: "sources", says: "127.0.0.1:1", args: []string{"--source", "http://127.0.0.1:1/topdir"}, sync: 5},
		{name: "a database that is not there", check: "database", says: "database koji", args: []string{"--db", "host=127.0.0.1 port=1 dbname=koji connect_timeout=2"}, sync: 5},
		{name: "another environment", check: "database", says: `not "prod"`, args: []string{"--env", "prod"}, sync: 1},
		{name: "a rule", check: "database", says: `"swallow" on tag_listing`, do: sql("CREATE RULE swallow AS ON INSERT TO tag_listing DO INSTEAD NOTHING", "DROP RULE swallow ON tag_listing"), sync: 1},
		{name: "a sequence below the floor", check: "database", says: "build_id_seq", do: sql("SELECT setval('build_id_seq', 10)", "SELECT setval('build_id_seq', 989999999)"), sync: 1},
		{name: "a privilege that is missing", check: "database", says: "DELETE on rpmsigs: scripts/grants.sql", args: []string{"--db", as}, do: sql("REVOKE DELETE ON rpmsigs FROM "+role, "GRANT DELETE ON rpmsigs TO "+role), sync: 1},
		{name: "privileges that are missing", check: "database", says: "INSERT, UPDATE on build; INSERT, UPDATE on tag_listing", args: []string{"--db", as}, do: sql("REVOKE INSERT, UPDATE ON build, tag_listing FROM "+role, "GRANT INSERT, UPDATE ON build, tag_listing TO "+role), sync: 1},
		{name: "an overlay that is none", check: "overlay", says: "hosts", args: []string{"--overlay", overlay}, sync: 2},
	}
	finds := func(t *testing.T, s broken) {
		found := false
		for _, f := range doctor(3, append([]string{"-c", c}, s.args...)...) {
			switch {
			case f.Check == s.check && f.Status == "failed":
				found = strings.Contains(f.Detail, s.says)
				if !found {
					t.Errorf("says %q, want %q", f.Detail, s.says)
				}
			case f.Check == "sources" && f.Status == "skipped" && f.Detail == "see topdir":
			default:
				t.Errorf("also not in order: %+v", f)
			}
		}
		if !found {
			t.Error("not found")
		}
	}
	refuses := func(t *testing.T, s broken) {
		o := kojisnapRun(t, append([]string{"sync", "-c", c, "--event", "300", "--rollback"}, s.args...)...)
		if o.code != s.sync || !strings.Contains(o.stderr, s.says) {
			t.Errorf("sync: exit code %d: %s", o.code, o.stderr)
		}
	}
	unchanged := func(t *testing.T) {
		if after := w.state(t); after != before {
			t.Errorf("sync did something before it refused: %s", firstDifference(before, after))
		}
	}
	check := func(t *testing.T, s broken) {
		undo := func() {}
		if s.do != nil {
			undo = s.do(t)
		}
		defer func() { undo() }()
		finds(t, s)
		if s.sync == 0 {
			return
		}
		refuses(t, s)
		undo()
		undo = func() {}
		if seedtest.Long() { // the short form looks once, after all of them
			unchanged(t)
		}
	}
	var away []broken // what does not answer is tried several times
	for _, s := range cases {
		if s.sync == 5 {
			away = append(away, s)
			continue
		}
		t.Run(s.name, func(t *testing.T) { check(t, s) })
	}
	// They wait most of the time. Parallel subtests would begin when all other tests have.
	var waiting sync.WaitGroup
	for _, s := range away {
		waiting.Go(func() { t.Run("away/"+s.name, func(t *testing.T) { finds(t, s) }) })
		waiting.Go(func() { t.Run("away/"+s.name+", sync", func(t *testing.T) { refuses(t, s) }) })
	}
	waiting.Wait()
	unchanged(t)
	// On a host that only pulls, what else there is is skipped.
	for _, f := range doctor(0, "--store", w.store.String(), "--hub", w.prodURL, "--tag", "f42-compose") {
		if f.Status != "skipped" || f.Check == "store" || f.Check == "production's hub" {
			t.Errorf("on a host that only pulls: %+v", f)
		}
	}
}

// readOnlyTopdir mounts topdir read-only.
func (w *env) readOnlyTopdir(t *testing.T) (undo func()) {
	t.Helper()
	if err := syscall.Mount(w.topdir, w.topdir, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("no mount: %v", err)
	}
	must(t, syscall.Mount("", w.topdir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return func() { must(t, syscall.Unmount(w.topdir, syscall.MNT_DETACH)) }
}

// name is the database's.
func (w *env) name(t *testing.T) string {
	t.Helper()
	config, err := pgx.ParseConfig(w.dsn)
	must(t, err)
	return config.Database
}

// as is the DSN of a role that needs no password.
func (w *env) as(t *testing.T, role string) string {
	t.Helper()
	config, err := pgx.ParseConfig(w.dsn)
	must(t, err)
	return fmt.Sprintf("host=%s port=%d dbname=%s user=%s sslmode=disable", config.Host, config.Port, config.Database, role)
}
