package shard_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/shard"
)

// wholeSeconds gives all files times that HTTP can tell.
func (s *site) wholeSeconds() {
	s.t.Helper()
	must(s.t, filepath.WalkDir(s.prod, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		at := info.ModTime().Truncate(time.Second)
		return os.Chtimes(path, at, at)
	}))
}

func webOptions(s *site, url string) shard.Options {
	o := options(s.top, "")
	o.Engine.Sources = []string{url}
	return o
}

// TestWeb: by https the files that no row names come from the pages that list directories, with size and time.
func TestWeb(t *testing.T) {
	s := newSite(t)
	s.wholeSeconds()
	web := httptest.NewServer(http.FileServer(http.Dir(s.prod)))
	defer web.Close()
	s.mustCopy(webOptions(s, web.URL))
	s.check()
	o := webOptions(s, web.URL)
	o.Engine.Audit = true
	for _, r := range s.mustCopy(o) {
		if r.Actions.Pending() || len(r.Actions.Kept) > 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestWebWithoutListing: a server that lists nothing gives what rows name; that the rest is not copied is said once.
func TestWebWithoutListing(t *testing.T) {
	s := newSite(t)
	files := http.FileServer(http.Dir(s.prod))
	for _, code := range []int{http.StatusForbidden, http.StatusNotFound} {
		s.top = t.TempDir()
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/") {
				http.Error(w, "no", code)
				return
			}
			files.ServeHTTP(w, r)
		}))
		var said strings.Builder
		o := webOptions(s, web.URL)
		o.Engine.Log = slog.New(slog.NewTextHandler(&said, nil))
		plan := s.plan()
		must(t, plan.Prepare(t.Context(), o))
		r, err := plan.Copy(t.Context(), plan.Shards[0].ID, o)
		if err != nil || !r.Done || r.Report.Fetched == 0 {
			t.Errorf("%d: %+v, %v", code, r, err)
		}
		if n := strings.Count(said.String(), "no source lists directories"); n != 1 {
			t.Errorf("%d: said %d times: %s", code, n, said.String())
		}
		web.Close()
	}
}

// TestWebHostile: a page can name anything: only names directly below it count, and a server cannot make a build endless.
func TestWebHostile(t *testing.T) {
	s := newSite(t)
	s.wholeSeconds()
	const dir = "/packages/bash/5.3.0/2.fc42/data/logs/"
	files := http.FileServer(http.Dir(s.prod))
	var asked []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, dir) {
			asked = append(asked, r.URL.EscapedPath())
		}
		if r.URL.Path == dir {
			w.Header().Set("Content-Type", "text/html;charset=utf-8")
			fmt.Fprintf(w, `<a href="../">up</a> <A class=x HREF='?C=N;O=D'>sort</A> <a href="/etc/passwd">abs</a> <a href="http://127.0.0.1:1/x">other</a>
<a href="%%2e%%2e/">dots</a> <a href="..%%2f..%%2f..%%2fx">slashes</a> <a href="a%%2fb">slash</a> <a href="x86_64/">x86_64/</a> <a href="x86_64/">again</a>
<a href="new%%0aline">odd</a> <a href="./">here</a> <a href="x86_64/../../../../glibc/">away</a> <a href="%s">full</a>`, dir+"gone.log")
			return
		}
		if r.URL.Path == dir+"new\nline" {
			w.WriteHeader(http.StatusOK)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer web.Close()
	results, errs := s.copyAll(webOptions(s, web.URL))
	if len(errs) != 1 {
		t.Fatal(errs)
	}
	left, ok := errs[0].(*hardlink.LeftOutError)
	if !ok || len(left.Errs) != 1 || !strings.Contains(left.Error(), `new\nline`) {
		t.Errorf("%v", errs)
	}
	for _, path := range asked {
		if strings.Contains(strings.ToLower(path), "%2f") || strings.Contains(path, "..") || strings.Contains(path, "passwd") {
			t.Errorf("asked for %s", path)
		}
	}
	if _, err := os.Stat(filepath.Join(s.top, "vol/staged", dir, "x86_64/build.log")); err != nil {
		t.Error(err)
	}
	done := 0
	for _, r := range results {
		if r.Done {
			done++
		}
	}
	if done != len(results)-1 {
		t.Errorf("%d of %d are done", done, len(results))
	}
}
