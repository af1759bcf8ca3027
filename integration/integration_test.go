// Package integration tests the whole system on real components: hubs that are held to
// recordings of a real one, PostgreSQL, real rpms on real file systems, and kojisnap itself as
// its users run it.
//
// Its tests are parallel. Those that are not must see a process in one stage while that lasts, or make namespaces, in
// which the mounts of other tests would stay, or discard clones, which none of these may still have (containers have
// namespaces, too).
package integration_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/dbtest"
	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/store/s3/s3test"
)

func TestMain(m *testing.M) {
	s3test.Environment()
	code := dbtest.Main(m)
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// lastEvent is the newest event of the recorded production.
const lastEvent = 419

// admin is what an operator does to a fresh database before anything else: a first user, with
// the admin permission.
const admin = `
INSERT INTO users (name, status, usertype) VALUES ('stgadmin', 0, 0);
INSERT INTO user_krb_principals (user_id, krb_principal) VALUES (1, 'stgadmin@STG.EXAMPLE.COM');
INSERT INTO user_perms (user_id, perm_id, creator_id) VALUES (1, 1, 1);`

// env is a production and a staging.
type env struct {
	prodRows *hubtest.Memory
	prod     *hub.Client
	prodURL  string
	prodTree string

	dsn        string // of staging's database
	staging    *hub.Client
	stagingURL string
	topdir     string
	store      store.Store
}

// newEnv makes an env with everything.
func newEnv(t testing.TB) *env {
	t.Helper()
	w := newHubEnv(t)
	w.addTree(t)
	w.addDatabase(t)
	return w
}

// newMarkedEnv makes an env with everything whose staging is marked.
func newMarkedEnv(t testing.TB) *env {
	t.Helper()
	w := newHubEnv(t)
	w.addTree(t)
	w.addMarked(t)
	return w
}

// newHubEnv makes an env with a production hub and a store.
func newHubEnv(t testing.TB) *env {
	t.Helper()
	w := &env{topdir: filepath.Join(t.TempDir(), "mnt-koji"), prodTree: filepath.Join(t.TempDir(), "prod")}
	must(t, os.Mkdir(w.topdir, 0o755))
	must(t, os.Mkdir(w.prodTree, 0o755))
	var err error
	w.prodRows, err = hubtest.Rows(kojiprod.Rows())
	must(t, err)
	must(t, generate.AddContentTag(w.prodRows)) // else no compose of the module is ready
	w.prod, w.prodURL = serve(t, w.prodRows, hubtest.Options{Topdir: w.prodTree})
	w.store, err = dir.Open(filepath.Join(t.TempDir(), "store"))
	must(t, err)
	return w
}

// addTree adds production's files.
func (w *env) addTree(t testing.TB) { must(t, kojiprod.ExtractTree(w.prodTree)) }

// addDatabase adds a fresh staging database with an admin in it, and its hub.
func (w *env) addDatabase(t testing.TB) {
	t.Helper()
	w.serveStaging(t, dbtest.Template(t, "admin", func(dsn string) error { return withAdmin(t.Context(), dsn) }))
}

// addMarked adds a staging database that addDatabase and init made, once for all tests.
func (w *env) addMarked(t testing.TB) {
	t.Helper()
	dsn := dbtest.Template(t, "marked", func(dsn string) error {
		return errors.Join(withAdmin(t.Context(), dsn), markStaging(t.Context(), dsn))
	})
	dbtest.Exec(t, dsn, markMoved)
	w.serveStaging(t, dsn)
}

func withAdmin(ctx context.Context, dsn string) error {
	conn, err := dbconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, admin, pgx.QueryExecModeSimpleProtocol)
	return errors.Join(err, conn.Close(ctx))
}

func markStaging(ctx context.Context, dsn string) error {
	conn, err := dbconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = setup.Init(ctx, conn, setup.Options{Env: "stg"})
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// serveStaging starts the hub of a database.
func (w *env) serveStaging(t testing.TB, dsn string) {
	t.Helper()
	w.dsn = dsn
	staging, err := hubtest.PostgreSQL(t.Context(), w.dsn)
	must(t, err)
	t.Cleanup(staging.Close)
	w.staging, w.stagingURL = serve(t, staging, hubtest.Options{Topdir: w.topdir})
}

func serve(t testing.TB, src hubtest.Source, o hubtest.Options) (*hub.Client, string) {
	t.Helper()
	srv := httptest.NewServer(hubtest.New(src, o))
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", hub.Options{Retries: -1})
	must(t, err)
	return c, srv.URL + "/kojihub"
}

// brokenHub answers as a hub does that has lost its database. That is repeated once, after a second; who asks where
// nobody is waits ten times as long (TestDoctor, TestBadHub).
func brokenHub(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Error(rw, "no database", http.StatusInternalServerError)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/kojihub"
}

func (w *env) init(t testing.TB) {
	t.Helper()
	must(t, markStaging(t.Context(), w.dsn))
}

func (w *env) pull(t testing.TB, event int64, tags ...string) *snapfile.Snapshot {
	t.Helper()
	r, err := pull.Pull(t.Context(), w.prod, w.store, pull.Options{Tags: tags, Event: event, Program: "test"})
	must(t, err)
	snap, err := repository.Open(t.Context(), w.store, r.Snapshot)
	must(t, err)
	return snap
}

// pullOnce puts the snapshot of tags at the last event into the store, which is pulled once for all tests. It is of the
// hub of another env, so it is for tests of production as it was recorded which pull nothing themselves.
func (w *env) pullOnce(t testing.TB, tags ...string) *snapfile.Snapshot {
	t.Helper()
	id := storeOnce(t, strings.Join(tags, " "), w.store.String(), func(at string) string {
		other := newHubEnv(t)
		var err error
		other.store, err = dir.Open(at)
		must(t, err)
		return other.pull(t, lastEvent, tags...).ID
	})
	snap, err := repository.Open(t.Context(), w.store, id)
	must(t, err)
	return snap
}

// stores are those that storeOnce copies, by kind.
var stores struct {
	sync.Mutex
	made map[string]onceStore
}

// onceStore is a store's files, and the snapshot in it.
type onceStore struct {
	files fstest.MapFS
	id    string
}

// storeOnce makes at a path a copy of a store. The first one of a kind in a process make makes, and says which snapshot it has.
func storeOnce(t testing.TB, kind, at string, make func(at string) (id string)) (id string) {
	t.Helper()
	stores.Lock()
	defer stores.Unlock()
	made, ok := stores.made[kind]
	if !ok {
		first := filepath.Join(t.TempDir(), "store")
		made = onceStore{fstest.MapFS{}, make(first)}
		must(t, filepath.WalkDir(first, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(first, path)
			must(t, err)
			body, err := os.ReadFile(path)
			made.files[rel] = &fstest.MapFile{Data: body, Mode: 0o644}
			return err
		}))
		if stores.made == nil {
			stores.made = map[string]onceStore{}
		}
		stores.made[kind] = made
	}
	must(t, os.CopyFS(at, made.files))
	return made.id
}

func (w *env) copy(t testing.TB, snap *snapfile.Snapshot, want compose.Want) *kojisnap.CopyResult {
	t.Helper()
	r, err := kojisnap.Copy(t.Context(), snap, w.store, kojisnap.CopyOptions{Want: want, Topdir: w.topdir, Sources: []string{w.prodTree}, WritableSource: true})
	must(t, err)
	return r
}

func (w *env) load(t testing.TB, snap *snapfile.Snapshot) *book.LoadReport {
	t.Helper()
	r, err := kojisnap.Load(t.Context(), snap, w.store, kojisnap.LoadOptions{DSN: w.dsn, Topdir: w.topdir})
	must(t, err)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
