package hardlink_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
	"kojisnap/volumes/volumestest"
)

// from sets the sources. S3's are opened as the command does.
func from(t *testing.T, sources ...string) func(*hardlink.Options) {
	return func(o *hardlink.Options) {
		o.Sources = sources
		o.OpenSource = func(url string) (source.Objects, error) { return s3.Open(t.Context(), url, s3.Options{}) }
	}
}

// All files come from S3, with their times. Signed copies are spliced from there, too.
func TestObjectsAlone(t *testing.T) {
	packages := []string{"bash"}
	for _, b := range volumestest.Input(t).Builds {
		if len(b.Archives) > 0 {
			packages = append(packages, b.Name)
		}
	}
	if seedtest.Long() {
		packages = nil // all of them
	}
	s := newSite(t, packages...)
	at := s3test.Start(t).Upload(t, s.prod)
	r := s.mustCopy(t, from(t, at))
	if n := s.check(t); n == 0 || r.Fetched+r.Spliced != n {
		t.Errorf("%d of %d files fetched: %+v", r.Fetched+r.Spliced, n, r)
	}
	if a := s.diff(t, from(t, at)); a.Pending() {
		t.Errorf("left to do: %+v", a)
	}
}

// What is missing or wrong in S3 comes from the next source. What no source gives is one error.
func TestObjectsDamaged(t *testing.T) {
	srv := s3test.Start(t)
	for name, spoil := range map[string]func(t *testing.T, path string){
		"damaged":   func(t *testing.T, path string) { damage(t, path, flip(-1)) },
		"cut short": func(t *testing.T, path string) { damage(t, path, func(b []byte) []byte { return b[:50] }) },
		"missing": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			bad := filepath.Join(t.TempDir(), "bad")
			if err := os.Mkdir(bad, 0o755); err != nil {
				t.Fatal(err)
			}
			cloneTree(t, bad, []string{"bash"})
			spoil(t, filepath.Join(bad, bashDir, bashRPM))
			at := srv.Upload(t, bad)
			_, err := s.copy(t, from(t, at))
			var digest *content.DigestError
			var missing *source.MissingError
			if name == "missing" && !errors.As(err, &missing) || name != "missing" && !errors.As(err, &digest) || !strings.Contains(err.Error(), at) {
				t.Errorf("error %v", err)
			}
			s.staysOnProd(t, bashDir)
			if r := s.mustCopy(t, from(t, at, s.prod)); r.Fetched == 0 || r.Linked != 1 {
				t.Errorf("%+v", r)
			}
			s.check(t)
		})
	}
}

// A fault of the whole bucket is reported in one line, and no further file is asked for.
func TestObjectsTrouble(t *testing.T) {
	s := onlyBash(t)
	srv := s3test.Start(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	at := srv.Upload(t, s.prod)
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		url       string
		answer    int // of the server instead of the object; 0: none
		says      string
		temporary bool
		asked     int64 // upper limit; 0: none
	}{
		"no bucket": {"s3://no-such-bucket-of-kojisnap", 0, "does not exist", false, 4},
		"denied":    {at, http.StatusForbidden, "access denied", false, 0},
		"busy":      {at, http.StatusServiceUnavailable, "the server is busy", true, 8},
		"gone":      {at, -1, "cannot be reached", true, 8},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host // the signature covers it
			}}
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if c.answer == 0 {
					through.ServeHTTP(w, r)
					return
				}
				code := map[int]string{http.StatusForbidden: "AccessDenied", http.StatusServiceUnavailable: "SlowDown"}[c.answer]
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(c.answer)
				io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
			}))
			defer front.Close()
			if c.answer < 0 {
				front.Close()
			}
			only := func(o *hardlink.Options) { o.Jobs = 4; from(t, c.url+"?endpoint="+front.URL)(o) }
			_, err := s.copy(t, only)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want one line that says %q", err, c.says)
			}
			if temporary := (*retry.TemporaryError)(nil); errors.As(err, &temporary) != c.temporary {
				t.Errorf("temporary is %v: %v", !c.temporary, err)
			}
			if n := asked.Load(); c.asked > 0 && n > c.asked {
				t.Errorf("%d requests", n)
			}
			s.wholeOrAbsent(t)
		})
	}
}
