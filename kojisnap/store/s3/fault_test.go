package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
)

// proxy stands before the real server and does what networks do.
type proxy struct {
	*httputil.ReverseProxy
	mu   sync.Mutex
	log  []string // methods and status
	act  func(n int, r *http.Request) action
	seen int
}

type action struct {
	status int  // answer this, without asking the server
	lose   bool // let the server do it, and drop its answer
	cut    int  // drop the connection after so many bytes of the answer
}

// faulty returns a store behind a proxy.
func faulty(t *testing.T, srv *s3test.Server, act func(n int, r *http.Request) action) (*s3.Store, *proxy) {
	t.Helper()
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: nothing can be put before its server")
	}
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	at := srv.URL(t)
	p := &proxy{act: act, ReverseProxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	return open(t, at+"?endpoint="+front.URL), p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	n := p.seen
	p.seen++
	a := p.act(n, r)
	p.log = append(p.log, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
	p.mu.Unlock()
	switch {
	case a.status != 0:
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(a.status)
		if a.status == http.StatusServiceUnavailable {
			io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce\nyour request rate.</Message></Error>")
		}
	case a.lose:
		p.ReverseProxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case a.cut > 0:
		got := httptest.NewRecorder()
		p.ReverseProxy.ServeHTTP(got, r)
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		w.Write(got.Body.Bytes()[:min(a.cut, got.Body.Len())])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		p.ReverseProxy.ServeHTTP(w, r)
	}
}

// TestRetries: what goes wrong once is done again, with the whole body.
func TestRetries(t *testing.T) {
	srv := s3test.Start(t)
	body := random(100_000)
	for _, first := range []action{{status: 503}, {status: 500}, {lose: true}} {
		t.Run(fmt.Sprintf("%+v", first), func(t *testing.T) {
			s, p := faulty(t, srv, func(n int, r *http.Request) action {
				if n%2 == 0 {
					return first
				}
				return action{}
			})
			if err := s.Put(t.Context(), "a", bytes.NewReader(body)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(read(t, s, "a"), body) {
				t.Error("the body changed")
			}
			if _, err := s.List(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if err := s.Delete(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			want := []string{"PUT", "PUT", "GET", "GET", "GET", "GET", "DELETE", "DELETE"}
			if !slices.Equal(p.log, want) {
				t.Errorf("requests: %q, want %q", p.log, want)
			}
		})
	}
}

// TestCreateLost: the object was made, the answer got lost, and it was sent again.
func TestCreateLost(t *testing.T) {
	lost := false
	s, _ := faulty(t, s3test.Start(t), func(n int, r *http.Request) action {
		first := r.Method == http.MethodPut && !lost
		lost = lost || first
		return action{lose: first}
	})
	err := s.Create(t.Context(), "a", strings.NewReader("one"))
	if err != nil && !errors.Is(err, fs.ErrExist) || !lost {
		t.Error(lost, err)
	}
	if got := read(t, s, "a"); string(got) != "one" {
		t.Errorf("got %q", got)
	}
}

// TestGivesUp: trouble that lasts is temporary, and tells the server's words in one line.
func TestGivesUp(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	s, p := faulty(t, s3test.Start(t), func(int, *http.Request) action { return action{status: 503} })
	err := s.Put(t.Context(), "a", strings.NewReader("1"))
	var failed *s3.Error
	if !errors.As(err, &failed) || !failed.Temporary() || !strings.HasSuffix(err.Error(), ": the server is busy: Please reduce your request rate.") {
		t.Errorf("%v", err)
	}
	if len(p.log) != 2 {
		t.Errorf("%d requests, want 2", len(p.log))
	}
}

// TestResume: a download that breaks off goes on where it was.
func TestResume(t *testing.T) {
	srv := s3test.Start(t)
	body := random(3_000_000)
	s, p := faulty(t, srv, func(n int, r *http.Request) action {
		if r.Method == http.MethodGet && n < 4 {
			return action{cut: 700_000}
		}
		return action{}
	})
	if err := s.Put(t.Context(), "a", bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, s, "a"), body) {
		t.Error("the body changed")
	}
	if len(p.log) != 5 || p.log[1] != "GET" || !strings.HasPrefix(p.log[4], "GET bytes=2") {
		t.Errorf("requests: %q", p.log)
	}
}

// TestResumeVain: a download that never goes on is given up as temporary.
func TestResumeVain(t *testing.T) {
	s, p := faulty(t, s3test.Start(t), func(n int, r *http.Request) action {
		if r.Method != http.MethodGet {
			return action{}
		}
		if n == 1 {
			return action{cut: 1000}
		}
		return action{lose: true}
	})
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	if err := s.Put(t.Context(), "a", bytes.NewReader(random(100_000))); err != nil {
		t.Fatal(err)
	}
	err := get(t.Context(), s, "a")
	var failed *s3.Error
	if !errors.As(err, &failed) || !failed.Temporary() {
		t.Errorf("%v", err)
	}
	if len(p.log) > 12 {
		t.Errorf("%d requests", len(p.log))
	}
}

// TestResumeChanged: two objects are never mixed.
func TestResumeChanged(t *testing.T) {
	srv := s3test.Start(t)
	var s *s3.Store
	s, _ = faulty(t, srv, func(n int, r *http.Request) action {
		if n == 1 {
			return action{cut: 50_000}
		}
		return action{}
	})
	if err := s.Put(t.Context(), "a", bytes.NewReader(random(100_000))); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", bytes.NewReader(random(100_001))); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); err == nil {
		t.Errorf("%d bytes of two objects", n+10)
	}
}

// htmlPage is a server that is something else.
type htmlPage struct{}

func (htmlPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	io.WriteString(w, "<html><body>Welcome to <b>nginx</body>")
}

// A server that sends a byte now and then is given up, though each answer brings something.
func TestSlow(t *testing.T) {
	const body = 10_000
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		from := 0
		w.Header().Set("ETag", `"x"`)
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, body-1, body))
		}
		w.Header().Set("Content-Length", fmt.Sprint(body-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		for n := from; n < body; n++ {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	s, err := s3.Open(t.Context(), "s3://bucket/prefix?endpoint="+srv.URL, s3.Options{SlowAfter: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	err = get(t.Context(), s, "segments/x")
	var failed *s3.Error
	if !errors.As(err, &failed) || !failed.Temporary() || !strings.Contains(err.Error(), "the answer comes too slowly") || asked < 2 || asked > 10 {
		t.Errorf("%d requests: %v", asked, err)
	}
}
