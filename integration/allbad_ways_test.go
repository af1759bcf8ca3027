package integration_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
)

// What is on a sync's way to production, to the store and to staging's database, for TestEverythingBad.

// mannered serves production's hub by a certificate of the site's own authority, behind a proxy that
// refuses large bodies, asks now and then to come again later, and once answers with a web page. It
// returns the authority's file.
func (w *env) mannered(t *testing.T) (ca string) {
	t.Helper()
	target, err := url.Parse(w.prodURL)
	must(t, err)
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	var asked atomic.Int64
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case r.ContentLength > 20<<10:
			http.Error(rw, "Request Entity Too Large", http.StatusRequestEntityTooLarge)
		case n == 7:
			rw.Header().Set("Retry-After", "1")
			http.Error(rw, "busy", http.StatusServiceUnavailable)
		case n == 11:
			rw.Header().Set("Content-Type", "text/html")
			io.WriteString(rw, "<!DOCTYPE html><html><body>one moment</body></html>")
		default:
			through.ServeHTTP(rw, r)
		}
	}))
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	t.Cleanup(front.Close)
	w.prodURL = front.URL + target.Path
	ca = filepath.Join(w.prodTree, "site-ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o644))
	return ca
}

// denying is a source that has nothing and says 403, as S3 does to those who may not list a bucket. It
// counts what it is asked for.
func denying(t *testing.T) (source string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(rw, "Access Denied", http.StatusForbidden)
	}))
	t.Cleanup(front.Close)
	return front.URL, asked
}

// surroundings makes staging's database one that sites have: ids that PostgreSQL alone gives, and all
// tables published.
func (w *env) surroundings(t *testing.T) {
	t.Helper()
	dbtest.Exec(t, w.dsn, `ALTER TABLE archiveinfo ALTER id DROP DEFAULT; ALTER TABLE archiveinfo ALTER id ADD GENERATED ALWAYS AS IDENTITY (START 990000001);
		CREATE PUBLICATION everything FOR ALL TABLES`)
}

// unsigned is a copied rpm of a build that has no signed copies, below topdir.
func (w *env) unsigned(t *testing.T) string {
	t.Helper()
	for _, path := range glob(t, filepath.Join(w.topdir, "vol/staged/packages/*/*/*/x86_64/*.rpm")) {
		build := filepath.Dir(filepath.Dir(path))
		rel, err := filepath.Rel(filepath.Join(w.topdir, "vol/staged"), path)
		must(t, err)
		_, signed := os.Stat(filepath.Join(w.prodTree, strings.TrimPrefix(build, filepath.Join(w.topdir, "vol/staged")), "data/signed"))
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && signed != nil {
			return rel
		}
	}
	t.Fatal("every build has signed copies")
	return ""
}

// afterwards is what goes wrong once such a staging stands.
func (w *env) afterwards(t *testing.T, run func(...string) outcome, names []string) {
	// Somebody changes the mode of a copy, and another damages one: an audit tells, and mends.
	copies := glob(t, filepath.Join(w.topdir, "vol/staged/packages/zlib/*/*/x86_64/*.rpm"))
	must(t, os.Chmod(copies[0], 0o600))
	o := run("copy", "--audit")
	if o.code != 3 || strings.Count(o.stderr, "0600 -> 0664") != 1 {
		t.Errorf("a changed mode: exit code %d, %s", o.code, o.stderr)
	}
	info, err := os.Stat(copies[0])
	must(t, err)
	if info.Mode().Perm() != 0o664 {
		t.Errorf("mode %v", info.Mode())
	}

	// A copy is gone, and production's file damaged in its signature header, where SIGMD5 does not look.
	file := w.unsigned(t)
	must(t, os.Remove(filepath.Join(w.topdir, "vol/staged", file)))
	whole := w.read(t, filepath.Join(w.prodTree, file))
	must(t, os.Remove(filepath.Join(w.prodTree, file)))
	must(t, os.WriteFile(filepath.Join(w.prodTree, file), []byte(whole[:130]+"damage"+whole[136:]), 0o644))
	o = run("copy", "--audit")
	if o.code != 6 || strings.Count(o.stderr, filepath.Base(file)) == 0 {
		t.Errorf("a damaged signature header: exit code %d, %s", o.code, o.stderr)
	}
	if _, err := os.Lstat(filepath.Join(w.topdir, "vol/staged", file)); err == nil {
		t.Error("it is copied: " + file)
	}
	must(t, os.WriteFile(filepath.Join(w.prodTree, file), []byte(whole), 0o644))

	// An older event than the database's: nothing is pulled or copied.
	before := w.files(t)
	if o := run("sync", "--event", "400"); o.code != 1 || !strings.Contains(o.stderr, "--rollback goes back") {
		t.Errorf("an older event: exit code %d, %s", o.code, o.stderr)
	}
	if now := w.files(t); now != before {
		t.Errorf("an older event: files changed: %s", firstDifference(before, now))
	}

	// Production untags a build; a compose that is pinned where it had it still finds it.
	must(t, w.prodRows.Insert("events", hubtest.Values{"id": 420, "time": "2026-11-21 01:00:00+00"}))
	latest := w.untagLatest(t, 420, "filesystem", "cairo", "curl", "expat", "pango", "git", "systemd", "nginx", "gcc", "zlib", "coreutils", "setup")
	o = run(removing(t, "sync", "--event", "420")...)
	if o.code != 3 {
		t.Errorf("a sync of production's next event: exit code %d, %s", o.code, o.stderr)
	}
	namedOnce(t, o.stderr, names...)
	copied := filepath.Join(w.topdir, "vol/staged/packages", latest)
	if info, err := os.Lstat(copied); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the copy of %s: %v", latest, err)
	}
	if _, err := os.Stat(filepath.Join(copied, "src")); err != nil {
		t.Error(err)
	}
	var s kojisnap.StagingStatus
	o = run("status", "--json")
	must(t, json.Unmarshal([]byte(o.stdout), &s))
	if len(s.Events) != 2 || s.Events[0].Event != 420 || s.Events[1].Event != lastEvent {
		t.Errorf("the events that are safe to pin: %+v", s.Events)
	}
}
