package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store/dir"
)

// sharedHub is one address with a production of its own for each env. Snapshots and databases tell of which hub they are:
// envs that begin with a copy of the same snapshot and database must have the same. What tells them apart is the contact
// that requests come with.
var sharedHub struct {
	sync.Once
	url         string // served until the process ends
	names       atomic.Int64
	productions sync.Map // handlers by contact
	contacts    sync.Map // by production's rows
}

// join puts production at the shared address.
func (w *env) join(t testing.TB) {
	t.Helper()
	sharedHub.Do(func() {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			h, known := sharedHub.productions.Load(r.Header.Get("From"))
			if !known {
				http.Error(rw, "whose hub?", http.StatusNotFound)
				return
			}
			h.(http.Handler).ServeHTTP(rw, r)
		}))
		sharedHub.url = srv.URL + "/kojihub"
	})
	contact := fmt.Sprintf("env%d@example.org", sharedHub.names.Add(1))
	sharedHub.productions.Store(contact, hubtest.New(w.prodRows, hubtest.Options{Topdir: w.prodTree}))
	sharedHub.contacts.Store(w.prodRows, contact)
	t.Cleanup(func() {
		sharedHub.productions.Delete(contact)
		sharedHub.contacts.Delete(w.prodRows)
	})
	var err error
	w.prodURL = sharedHub.url
	w.prod, err = hub.New(w.prodURL, hub.Options{Retries: -1, Contact: contact})
	must(t, err)
}

// contact is the line of a configuration that leads to production at the shared address; "" elsewhere.
func (w *env) contact() string {
	if contact, joined := sharedHub.contacts.Load(w.prodRows); joined && w.prodURL == sharedHub.url {
		return fmt.Sprintf("contact = %q\n", contact)
	}
	return ""
}

// newPulledEnv makes an env as newMarkedEnv does whose store has the snapshot of f42-compose at the last event.
func newPulledEnv(t testing.TB) *env {
	t.Helper()
	w := newSharedEnv(t)
	w.addMarked(t)
	return w
}

// newLoadedEnv makes an env as newPulledEnv does whose database has that snapshot, as by `kojisnap load` before any copy.
func newLoadedEnv(t testing.TB) *env {
	t.Helper()
	w := newSharedEnv(t)
	dsn := dbtest.Template(t, "loaded", func(dsn string) error {
		return errors.Join(withAdmin(t.Context(), dsn), markStaging(t.Context(), dsn), loadPulled(t, dsn))
	})
	dbtest.Exec(t, dsn, markMoved)
	w.serveStaging(t, dsn)
	return w
}

// markMoved lets the copy of a marked database go by its own name.
const markMoved = "UPDATE kojisnap.mark SET (database, oid) = (SELECT datname, oid FROM pg_database WHERE datname = current_database())"

// loadPulled loads the snapshot of newPulledEnv from a store of its own: a load leaves notes there.
func loadPulled(t testing.TB, dsn string) error {
	ctx, at := t.Context(), filepath.Join(t.TempDir(), "pulled")
	id := sharedStore(t, at)
	files, err := dir.Open(at)
	if err != nil {
		return err
	}
	snap, err := repository.Open(ctx, files, id)
	if err != nil {
		return err
	}
	_, err = kojisnap.Load(ctx, snap, files, kojisnap.LoadOptions{LoadOptions: dbsync.LoadOptions{Env: "stg"}, DSN: dsn})
	return err
}

// newSharedEnv makes an env without a database, at the shared address, with the snapshot of it in its store.
func newSharedEnv(t testing.TB) *env {
	t.Helper()
	w := newHubEnv(t)
	w.addTree(t)
	w.join(t)
	sharedStore(t, w.store.String())
	return w
}

// sharedStore makes at a path a store with the snapshot of f42-compose at the last event, of the shared address.
func sharedStore(t testing.TB, at string) (id string) {
	t.Helper()
	return storeOnce(t, "shared", at, func(at string) string {
		w := newHubEnv(t) // all begin with the same rows, so any production will do
		w.join(t)
		var err error
		w.store, err = dir.Open(at)
		must(t, err)
		return w.pull(t, lastEvent, "f42-compose").ID
	})
}

// still wants that refusals change nothing. In the short form it looks once after several of them.
type still struct {
	w      *env
	before string // "": not known
}

// refused is called after each refusal, with what was refused; begin before the first one.
func (s *still) refused(t testing.TB, what []string) {
	t.Helper()
	if seedtest.Long() {
		s.end(t, what...)
		s.begin(t)
	}
}

func (s *still) begin(t testing.TB) {
	t.Helper()
	if s.before == "" {
		s.before = s.w.state(t)
	}
}

// end is called before something is to change.
func (s *still) end(t testing.TB, what ...string) {
	t.Helper()
	if s.before != "" {
		if after := s.w.state(t); after != s.before {
			t.Errorf("%v: something changed: %s", what, firstDifference(s.before, after))
		}
	}
	s.before = ""
}
