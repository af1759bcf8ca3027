package hardlink_test

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/retry"
)

// cut breaks an answer off after some bytes of its body.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// Each answer breaks off. With ranges the rest is asked for, without them the whole file.
func TestWebResumes(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		s := onlyBash(t)
		tree := http.FileServer(http.Dir(s.prod))
		var mu sync.Mutex
		asked, parts := map[string]int{}, 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked[r.URL.Path]++
			n := asked[r.URL.Path]
			if r.Header.Get("If-Range") != "" {
				parts++
			}
			mu.Unlock()
			if !ranges {
				r.Header.Del("Range")
			}
			if n < 3 {
				w = &cut{w, 1000 * n}
			}
			tree.ServeHTTP(w, r)
		}))
		defer web.Close()
		r := s.mustCopy(t, func(o *hardlink.Options) { o.Sources, o.RetryInterval = []string{web.URL}, time.Millisecond })
		if n := s.check(t); r.Fetched != n || parts == 0 {
			t.Errorf("fetched %d of %d, %d requests for the rest", r.Fetched, n, parts)
		}
	}
}

// The file is replaced while it is fetched: the two are not mixed.
func TestWebChangesMeanwhile(t *testing.T) {
	s := onlyBash(t)
	web := counted(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.Header().Set("ETag", `"old"`)
			w.Header().Set("Content-Length", "50000")
			old := append(mustRead(t, filepath.Join(s.prod, r.URL.Path)), make([]byte, 50000)...)
			(&cut{w, 5000}).Write(flip(4990 - len(old))(old))
		}
		w.Header().Set("ETag", `"new"`)
		http.FileServer(http.Dir(s.prod)).ServeHTTP(w, r)
	})
	s.mustCopy(t, func(o *hardlink.Options) { o.Sources, o.RetryInterval = []string{web.URL}, time.Millisecond })
	s.check(t)
}

// A fault that passes is waited for. Another one is reported in one line, and the next source is asked.
func TestWebTrouble(t *testing.T) {
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	cases := map[string]struct {
		answer http.HandlerFunc // to the first request for a file; nil: the server's certificate is not trusted
		passes bool
		says   string
	}{
		"busy":     {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, true, ""},
		"trouble":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, true, ""},
		"hangs up": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, true, ""},
		"later": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, false, "asks to wait 1h0m0s"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/login?token=secret", http.StatusFound)
		}, false, "redirects to " + elsewhere.URL + "/login, which is not followed"},
		"login page": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<html>log in</html>")
		}, false, "a web page, perhaps a login"},
		"forbidden":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, false, "wants a login"},
		"certificate": {nil, false, "an authority that this machine does not trust"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			tree := http.FileServer(http.Dir(s.prod))
			var mu sync.Mutex
			asked := map[string]bool{}
			web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				first := !asked[r.URL.Path]
				asked[r.URL.Path] = true
				mu.Unlock()
				if first || !c.passes {
					c.answer(w, r)
				} else {
					tree.ServeHTTP(w, r)
				}
			}))
			web.Config.ErrorLog = log.New(io.Discard, "", 0)
			if c.answer == nil {
				web.StartTLS()
			} else {
				web.Start()
			}
			defer web.Close()
			fast := func(sources ...string) func(*hardlink.Options) {
				return func(o *hardlink.Options) { o.Sources, o.RetryInterval = sources, time.Millisecond }
			}
			_, err := s.copy(t, fast(web.URL))
			if c.passes {
				if err != nil {
					t.Fatal(err)
				}
				s.check(t)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
				t.Fatalf("error %v, want one that says %q", err, c.says)
			}
			s.wholeOrAbsent(t)
			s.mustCopy(t, fast(web.URL, s.prod))
			s.check(t)
		})
	}
}

// A server that is gone is given up, and not asked for each file.
func TestWebGone(t *testing.T) {
	s := onlyBash(t)
	web := httptest.NewServer(http.NotFoundHandler())
	web.Close()
	_, err := s.copy(t, func(o *hardlink.Options) { o.Sources, o.RetryInterval = []string{web.URL}, time.Millisecond })
	var temporary *retry.TemporaryError
	if !errors.As(err, &temporary) {
		t.Errorf("error %v, want a TemporaryError", err)
	}
	s.wholeOrAbsent(t)
	if got := files(t, filepath.Join(s.top, "vol/staged/packages")); len(got) != 0 {
		t.Errorf("files %q", got)
	}
}

// ended checks how a copy ended: complete if says is empty, otherwise with one line that contains says. It
// reports whether it was complete.
func (s *site) ended(t *testing.T, err error, says string) bool {
	t.Helper()
	if says == "" {
		must(t, err)
		s.check(t)
		return true
	}
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one that says %q", err, says)
	}
	return false
}

// A server that sends a byte now and then is given up, although it is never silent and each answer brings
// something. A server that gets faster is not.
func TestWebSlow(t *testing.T) {
	for _, forGood := range []bool{false, true} {
		s := onlyBash(t)
		web := counted(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if n > 2 && !forGood {
				http.FileServer(http.Dir(s.prod)).ServeHTTP(w, r)
				return
			}
			w = &drip{w, r}
			http.FileServer(http.Dir(s.prod)).ServeHTTP(w, r)
		})
		r, err := s.copy(t, func(o *hardlink.Options) {
			o.Sources, o.RetryInterval, o.SlowAfter = []string{web.URL}, time.Millisecond, 50*time.Millisecond
		})
		if !forGood {
			if err != nil || r.Fetched != s.check(t) {
				t.Errorf("fetched %d: %v", r.Fetched, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "the answer comes too slowly: less than 1024 bytes a second") {
			t.Errorf("for good: %v", err)
		}
	}
}

// drip sends a byte every millisecond.
type drip struct {
	http.ResponseWriter
	r *http.Request
}

func (d *drip) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.ResponseWriter.Write(p[i : i+1]); err != nil {
			return i, err
		}
		d.ResponseWriter.(http.Flusher).Flush()
		select {
		case <-d.r.Context().Done():
			return i, d.r.Context().Err()
		case <-time.After(time.Millisecond):
		}
	}
	return len(p), nil
}
