package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
)

// oddHub is production with a database beside it that holds what was pulled when nothing was odd.
type oddHub struct {
	t     *testing.T
	rows  *hubtest.Memory
	url   string
	store string
	db    string
	conn  *pgx.Conn
}

// served is a hub that serves the rows of one test at a time, always at the same URL: what was pulled from it and loaded
// once is there for every test.
var served struct {
	sync.Mutex // of the test that is served
	hub        atomic.Pointer[hubtest.Server]
	url        string
	store      string // with a snapshot of the rows as they were made
}

// serveRows serves rows until the test ends.
func serveRows(t *testing.T, rows *hubtest.Memory) (url string) {
	t.Helper()
	served.Lock()
	t.Cleanup(served.Unlock)
	served.hub.Store(hubtest.New(rows, hubtest.Options{}))
	if served.url == "" {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.hub.Load().ServeHTTP(w, r) }))
		served.url = srv.URL + "/kojihub" // as long as the process
	}
	return served.url
}

func newOddHub(t *testing.T) *oddHub {
	t.Helper()
	rows := modularRows(t)
	h := &oddHub{t: t, rows: rows, url: serveRows(t, rows), store: t.TempDir()}
	if served.store == "" {
		dir, err := os.MkdirTemp("", "kojisnap-production-")
		if err != nil {
			t.Fatal(err)
		}
		served.store = dir
		kojisnapOK(t, h.pull(dir)...)
	}
	if err := os.CopyFS(h.store, os.DirFS(served.store)); err != nil {
		t.Fatal(err)
	}
	h.db = dbtest.Template(t, "pulled", func(dsn string) error {
		kojisnapOK(t, "init", "--db", dsn, "--env", "stg")
		kojisnapOK(t, h.load(h.store, dsn)...)
		return nil
	})
	dbtest.Exec(t, h.db, "UPDATE kojisnap.mark SET (database, oid) = (SELECT datname, oid FROM pg_database WHERE datname = current_database())")
	h.conn = connect(t, h.db)
	return h
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (h *oddHub) pull(store string, more ...string) []string {
	return append([]string{"pull", "--hub", h.url, "--tag", "f42-compose", "--tag", "f42-build", "--event", "419", "--store", store}, more...)
}

func (h *oddHub) load(store, db string) []string {
	return []string{"load", "--db", db, "--env", "stg", "--store", store}
}

// ids asks the database.
func ids(t *testing.T, conn *pgx.Conn, sql string, args ...any) []int {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// counts are the rows of Koji's tables that a load may change, those of versioned ones that are active.
func (h *oddHub) counts(conn *pgx.Conn) map[string]int {
	h.t.Helper()
	counts := map[string]int{}
	for _, table := range []string{"build", "rpminfo", "rpmsigs", "archiveinfo", "maven_archives", "build_types", "package", "channels", "users", "volume"} {
		counts[table] = ids(h.t, conn, "SELECT count(*)::int FROM "+table)[0]
	}
	for _, table := range []string{"tag_listing", "tag_packages", "group_config", "external_repo_config", "tag_external_repos", "tag_config", "build_target_config"} {
		counts[table] = ids(h.t, conn, "SELECT count(*)::int FROM "+table+" WHERE active")[0]
	}
	return counts
}

// plant makes rows of production odd in many ways at once. It returns what each is named by.
func (h *oddHub) plant() []string {
	h.t.Helper()
	set := func(table string, where, values hubtest.Values) {
		h.t.Helper()
		if n, err := h.rows.Update(table, where, values); n == 0 || err != nil {
			h.t.Fatal(table, where, n, err)
		}
	}
	b := ids(h.t, h.conn, `SELECT DISTINCT b.id FROM build b JOIN tag_listing l ON l.build_id = b.id AND l.active
		JOIN rpminfo r ON r.build_id = b.id WHERE b.state = 1 AND b.volume_id NOT IN (SELECT id FROM volume WHERE name = 'prod_archive01') ORDER BY 1`)
	r := ids(h.t, h.conn, "SELECT id FROM rpminfo WHERE build_id = $1 ORDER BY id", b[3])
	a := ids(h.t, h.conn, "SELECT DISTINCT archive_id FROM maven_archives ORDER BY 1")
	group := ids(h.t, h.conn, "SELECT DISTINCT group_id FROM group_config WHERE active ORDER BY 1")[0]
	repo := ids(h.t, h.conn, "SELECT DISTINCT external_repo_id FROM external_repo_config WHERE active ORDER BY 1")[0]
	set("build", hubtest.Values{"id": b[0]}, hubtest.Values{"extra": `{"a": 99999999999999999999}`})
	set("build", hubtest.Values{"id": b[1]}, hubtest.Values{"completion_time": "10000-01-01 00:00:00+00"})
	set("build", hubtest.Values{"id": b[2]}, hubtest.Values{"extra": `{"a": "` + `\u0001` + `"}`})
	set("rpminfo", hubtest.Values{"id": r[0]}, hubtest.Values{"extra": `{"a": `})
	set("rpminfo", hubtest.Values{"id": r[1]}, hubtest.Values{"payloadhash": "\x02"})
	set("archiveinfo", hubtest.Values{"id": a[1]}, hubtest.Values{"extra": `{"a": "x\ud800y"}`})
	set("group_config", hubtest.Values{"group_id": group, "active": true}, hubtest.Values{"description": "\x03"})
	set("external_repo_config", hubtest.Values{"external_repo_id": repo, "active": true}, hubtest.Values{"url": "http://\x04"})
	set("channels", hubtest.Values{"id": 1}, hubtest.Values{"name": "\x05"})
	set("users", hubtest.Values{"id": 3}, hubtest.Values{"name": "\x06"})
	set("volume", hubtest.Values{"id": 1}, hubtest.Values{"name": "../x"})
	set("tag", hubtest.Values{"name": "f42"}, hubtest.Values{"name": "rel/f42"})
	return []string{fmt.Sprintf("build %d ", b[0]), fmt.Sprintf("build %d ", b[1]), fmt.Sprintf("build %d ", b[2]), fmt.Sprintf("rpm %d ", r[0]), fmt.Sprintf("rpm %d ", r[1]),
		fmt.Sprintf("archive %d ", a[1]), fmt.Sprintf(" group_id=%d ", group), fmt.Sprintf(" external_repo_id=%d ", repo), "channel 1 ", "user 3 ", "volume 1 "}
}

// namedOnce holds lines to naming each thing in one of them, with the reason.
func namedOnce(t *testing.T, errs string, names []string) {
	t.Helper()
	all := lines(errs)
	for _, name := range names {
		if n := len(slices.DeleteFunc(slices.Clone(all), func(l string) bool { return !strings.Contains(l, name) })); n != 1 {
			t.Errorf("%q is named %d times:\n%s", name, n, errs)
		}
	}
	if len(all) != len(names)+1 || !strings.Contains(all[len(all)-1], fmt.Sprintf("without %d things of production's", len(names))) {
		t.Errorf("%d lines for %d things:\n%s", len(all), len(names), errs)
	}
}

// TestOddRows: production has odd rows of all kinds at once. A pull and the load of it do all else,
// and say so with exit code 3; what was there before stays as it was.
func TestOddRows(t *testing.T) {
	h := newOddHub(t)
	good := h.counts(h.conn)
	names := h.plant()

	out, errs, code := kojisnapRun(t, h.pull(h.store)...)
	if code != exit.NotReady || len(lines(out)) != 1 {
		t.Errorf("pull: %d, %q", code, out)
	}
	namedOnce(t, errs, names)
	kojisnapOK(t, h.load(h.store, h.db)...)
	if now := h.counts(h.conn); fmt.Sprint(now) != fmt.Sprint(good) {
		t.Errorf("what was known before: %v, was %v", now, good)
	}
	if got := ids(t, h.conn, "SELECT count(*)::int FROM tag WHERE name = 'rel/f42'"); got[0] != 1 {
		t.Error("the tag was not renamed")
	}

	// The same for the first time, and as JSON.
	store, db := t.TempDir(), dbtest.Fresh(t)
	out, errs, code = kojisnapRun(t, h.pull(store, "--json")...)
	var r pull.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exit.NotReady || len(r.LeftOut) != len(names) {
		t.Errorf("pull --json: %d, %v, left out %+v", code, err, r.LeftOut)
	}
	namedOnce(t, errs, names)
	if show := kojisnapOK(t, "show", "latest", "--store", store); strings.Count(show, " is left out")+strings.Count(show, " is there, but ") != len(names) {
		t.Errorf("show: %s", show)
	}
	kojisnapOK(t, "init", "--db", db, "--env", "stg")
	kojisnapOK(t, h.load(store, db)...)
	first := h.counts(connect(t, db))
	for table, n := range good {
		if first[table] > n || n > 4 && first[table] < n*3/4 {
			t.Errorf("%s: %d rows of %d", table, first[table], n)
		}
	}
	if first["tag_listing"] >= good["tag_listing"] {
		t.Errorf("%d builds are tagged, %d were", first["tag_listing"], good["tag_listing"])
	}
}
