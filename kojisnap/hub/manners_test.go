package hub

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request that is too large for what stands before the hub is halved, and so are those after
// it; one call that is too large for itself is an error that says so.
func TestTooLarge(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter){
		"proxy": func(w http.ResponseWriter) { http.Error(w, "", http.StatusRequestEntityTooLarge) },
		"hub":   func(w http.ResponseWriter) { http.Error(w, "Invalid request: Request too long", http.StatusBadRequest) },
	} {
		for how, ask := range map[string]func(c *Client, list []Call) (int, error){
			"Multi": func(c *Client, list []Call) (int, error) {
				results, err := c.Multi(t.Context(), list)
				for _, r := range results {
					if r.Err == nil && r.Value.Kind() != Array {
						t.Errorf("a result is missing: %v", r)
					}
				}
				return len(results), err
			},
			"StreamMulti": func(c *Client, list []Call) (int, error) {
				n := 0
				err := c.StreamMulti(t.Context(), list, func(i int, r Row) error {
					if n++; i != n-1 {
						t.Errorf("row %d is of call %d", n, i)
					}
					return nil
				})
				return n, err
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				var refused, taken atomic.Int32
				const limit = 3000
				row := one("<array><data><value><int>1</int></value></data></array>")
				c := serve(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if len(body) > limit {
						refused.Add(1)
						refuse(w)
						return
					}
					taken.Add(1)
					n := bytes.Count(body, []byte("<name>methodName</name>"))
					fmt.Fprintf(w, "<methodResponse><params><param><value><array><data>%s</data></array></value></param></params></methodResponse>", strings.Repeat(row, n))
				}, Options{Jobs: 1})
				list := calls(200)
				for range 2 {
					if n, err := ask(c, list); err != nil || n != 200 {
						t.Fatalf("%d of 200, %v", n, err)
					}
				}
				if n := refused.Load(); n == 0 || n > 6 || taken.Load() < 4 {
					t.Errorf("%d refused, %d taken: it did not learn", n, taken.Load())
				}
				list = []Call{{Method: "getBuild", Args: []any{strings.Repeat("x", limit)}}}
				if _, err := ask(c, list); err == nil || !strings.Contains(err.Error(), "limits requests to fewer bytes than a single call needs") || Temporary(err) || Splittable(err) {
					t.Errorf("a single call: %v", err)
				}
			})
		}
	}
}

// The hub's own word on when to come again is kept to, by all requests, and not counted among
// the repetitions; but not beyond the deadline.
func TestRetryAfter(t *testing.T) {
	back := find(t, "getKojiVersion.plain")
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel() // it waits for seconds
			n := 0
			var began []time.Time
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				began = append(began, time.Now())
				if n++; n <= 2 {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(status)
					return
				}
				back.answer(w, r)
			}, Options{Retries: -1})
			if _, err := c.Call(t.Context(), Call{Method: "getKojiVersion"}); err != nil || n != 3 {
				t.Fatalf("%v after %d requests", err, n)
			}
			for i := range began[1:] {
				if d := began[i+1].Sub(began[i]); d < time.Second {
					t.Errorf("again after %s", d)
				}
			}
		})
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	}, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Call(ctx, Call{Method: "getKojiVersion"})
	if err == nil || ctx.Err() != nil || !Temporary(err) || !strings.Contains(err.Error(), "it asks to wait 30s, and there is no time for that") {
		t.Errorf("with a deadline of 10 s: %v, %v", err, ctx.Err())
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "0": 0, "-5": 0, "soon": 0, "99999999999999999999": 0,
		"Sat, 28 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sat, 28 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := parseRetryAfter(header, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", header, got, want)
		}
	}
}

// While one request waits as the hub told it, no other begins.
func TestHeldBack(t *testing.T) {
	p := newPace(0)
	p.hold(time.Now().Add(200 * time.Millisecond))
	p.hold(time.Now().Add(-time.Hour))
	began := time.Now()
	if err := p.wait(t.Context()); err != nil || time.Since(began) < 150*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// What is not XML-RPC is taken for a wrong URL at first, and for a passing trouble once there was
// a hub.
func TestPassing(t *testing.T) {
	hub := find(t, "getKojiVersion.plain")
	for name, page := range map[string]struct{ contentType, body string }{
		"HTML":         {"text/html", "<!DOCTYPE html><html>maintenance"},
		"HTML as XML":  {"text/xml", "<html>maintenance</html>"},
		"XHTML":        {"application/xhtml+xml", "<?xml version='1.0'?><html xmlns='x'>maintenance</html>"},
		"other XML":    {"text/xml", "<?xml version='1.0'?><error>maintenance</error>"},
		"text":         {"text/plain", "maintenance"},
		"JSON":         {"application/json", `{"error": "maintenance"}`},
		"nothing much": {"text/xml", "\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			n, pages := 0, 2
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n++; n > 1 && n <= 1+pages {
					w.Header().Set("Content-Type", page.contentType)
					io.WriteString(w, page.body)
					return
				}
				hub.answer(w, r)
			}, Options{})
			for range 2 { // the second meets two pages, and then the hub again
				if _, err := c.Call(t.Context(), Call{Method: "getKojiVersion"}); err != nil {
					t.Fatal(err)
				}
			}
			if n != 4 {
				t.Errorf("%d requests", n)
			}
			n, pages = 1, 100
			_, err := c.Call(t.Context(), Call{Method: "getKojiVersion"})
			if !Temporary(err) || Splittable(err) || errors.Is(err, ErrNotHub) {
				t.Errorf("for ever: %v", err)
			}
			if name != "nothing much" && !strings.Contains(err.Error(), "what answers is not the hub that answered before") {
				t.Errorf("for ever: %v", err)
			}
		})
	}
}

// The authorities of serverca are trusted; an error of a certificate says where to name them.
func TestCertificates(t *testing.T) {
	hub := find(t, "getKojiVersion.plain")
	s := httptest.NewUnstartedServer(http.HandlerFunc(hub.answer))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, []byte("-----BEGIN NOTHING-----\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ask := func(o Options) error {
		c, err := New(s.URL+"/kojihub", o)
		if err == nil {
			_, err = c.Call(t.Context(), Call{Method: "getKojiVersion"})
		}
		return err
	}
	for name, o := range map[string]Options{"file": {ServerCA: ca}, "directory": {ServerCA: dir}, "no_ssl_verify": {NoVerify: true}} {
		if err := ask(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := ask(Options{Retries: 3})
	if !errors.As(err, new(x509.UnknownAuthorityError)) || !strings.Contains(err.Error(), "serverca") || !strings.Contains(err.Error(), "SSL_CERT_FILE") || Temporary(err) {
		t.Errorf("unknown authority: %v", err)
	}
	if err := ask(Options{ServerCA: other}); err == nil || !strings.Contains(err.Error(), "no certificate in it") {
		t.Errorf("a file without a certificate: %v", err)
	}
	if err := ask(Options{ServerCA: ca + ".missing"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "serverca") {
		t.Errorf("a file that is not there: %v", err)
	}
	s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if err := ask(Options{ServerCA: ca}); !errors.As(err, new(x509.HostnameError)) || !strings.Contains(err.Error(), "the key hub") {
		t.Errorf("another name: %v", err)
	}
}

// x-gzip is gzip; what nobody asked for is named.
func TestContentEncoding(t *testing.T) {
	hub := find(t, "getKojiVersion.plain")
	for encoding, ok := range map[string]bool{"x-gzip": true, "X-GZIP": true, "identity": true, "br": false} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			if !strings.EqualFold(encoding, "x-gzip") {
				w.Write(hub.response)
				return
			}
			z := gzip.NewWriter(w)
			z.Write(hub.response)
			z.Close()
		}, Options{})
		_, err := c.Call(t.Context(), Call{Method: "getKojiVersion"})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), `Content-Encoding "br"`) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}
