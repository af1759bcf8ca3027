package main

import (
	"bytes"
	"encoding/pem"
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

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestPullManners pulls through something that stands before the hub: it takes small requests
// alone, shows a page in between, and asks to be left alone for a second. The pull puts up with all
// of it; a page for good is exit code 5.
func TestPullManners(t *testing.T) {
	rows := modularRows(t)
	hub := hubtest.New(rows, hubtest.Options{})
	var refused, served, pages atomic.Int64
	down := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch n := served.Add(1); {
		case len(body) > 2000:
			refused.Add(1)
			http.Error(w, "Request Entity Too Large", http.StatusRequestEntityTooLarge)
			return
		case n == 8 || down && n > 8:
			pages.Add(1)
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<!DOCTYPE html><title>Back soon</title>")
			return
		case n == 12:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	args := func(more ...string) []string {
		return append([]string{"pull", "--hub", srv.URL + "/kojihub", "--tag", "f42-infra", "--event", "419", "--store", t.TempDir()}, more...)
	}
	out, errs, code := kojisnapRun(t, args()...)
	if code != 0 || len(lines(out)) != 1 || refused.Load() == 0 || pages.Load() != 1 {
		t.Errorf("%d, %q, %q; %d refused, %d pages", code, out, errs, refused.Load(), pages.Load())
	}
	down = true
	served.Store(0)
	out, errs, code = kojisnapRun(t, args("--deadline", "2s")...)
	if code != exit.Later || out != "" || !strings.Contains(errs, "not done within 2s") {
		t.Errorf("with a page for good: %d, %q, %q", code, out, errs)
	}
}

// TestPullProfile pulls by a Koji profile from a hub whose certificate is of the site's own
// authority.
func TestPullProfile(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewUnstartedServer(hubtest.New(rows, hubtest.Options{}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	home := t.TempDir()
	t.Setenv("HOME", home)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("site-ca.pem", string(ca))
	for _, test := range []struct {
		name, profile string
		code          int
		says          []string
	}{
		{"no serverca", "", exit.Error, []string{"certificate signed by unknown authority", "serverca in the Koji profile", "SSL_CERT_FILE"}},
		{"serverca", "serverca = ~/site-ca.pem\n", 0, nil},
		{"serverca that is not there", "serverca = ~/other.pem\n", exit.Usage, []string{`koji profile "prod": serverca: `, "other.pem: no such file"}},
		{"serverca without a certificate", "serverca = ~/.koji/config\n", exit.Usage, []string{"there is no certificate in it"}},
		{"no_ssl_verify", "no_ssl_verify = true\n", 0, []string{"no_ssl_verify"}},
		{"no_ssl_verify perhaps", "no_ssl_verify = perhaps\n", exit.Usage, []string{"neither yes nor no"}},
		{"timeout", "serverca = ~/site-ca.pem\ntimeout = soon\n", exit.Usage, []string{`timeout: "soon" is not a number of seconds`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			put(".koji/config", fmt.Sprintf("[prod]\nserver = %s/kojihub\n%s", srv.URL, test.profile))
			out, errs, code := kojisnapRun(t, "pull", "--profile", "prod", "--tag", "f42-infra", "--event", "419", "--store", t.TempDir())
			if code != test.code || (out != "") != (code == 0) || len(lines(errs)) != min(1, len(test.says)) {
				t.Errorf("%d, %q, %q", code, out, errs)
			}
			for _, say := range test.says {
				if !strings.Contains(errs, say) {
					t.Errorf("%q does not say %q", errs, say)
				}
			}
		})
	}
	put(".koji/config", fmt.Sprintf("[prod]\nserver = %s/kojihub\n", srv.URL))
	kojisnapOK(t, "pull", "--profile", "prod", "--serverca", filepath.Join(home, "site-ca.pem"), "--tag", "f42-infra", "--event", "419", "--store", t.TempDir())
	put(".koji/serverca.crt", string(ca)) // Koji's own default
	kojisnapOK(t, "pull", "--profile", "prod", "--tag", "f42-infra", "--event", "419", "--store", t.TempDir())
}
