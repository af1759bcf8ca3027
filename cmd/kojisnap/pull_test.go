package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestPullTrouble: what a hub may do in the middle of a pull has its exit code and one line, and
// makes no snapshot.
func TestPullTrouble(t *testing.T) {
	rows := modularRows(t)
	fault := func(code int64, text string) hubtest.Options {
		return hubtest.Options{Fault: func(method string, _ []any) *hubtest.Fault {
			if method == "getBuild" {
				return &hubtest.Fault{Code: code, Class: "koji.GenericError", Text: text}
			}
			return nil
		}}
	}
	for _, test := range []struct {
		name  string
		later hubtest.Options // of the hub from its tenth request on
		code  int
		says  string
	}{
		{"upgraded", hubtest.Options{KojiVersion: "1.36.0"}, exit.Later, "changed from Koji 1.35.3 to 1.36.0 while it was read: pull again"},
		{"no such build", fault(1000, "No such build: 41"), exit.Error, "build 41: getBuild(41): fault 1000: No such build: 41"},
		{"not allowed", fault(1004, "permission denied"), exit.Error, "getBuild(41): fault 1004: permission denied"},
		{"no row of that type", hubtest.Options{Tamper: func(method string, body []byte) []byte {
			if method == "listUsers" {
				return []byte(strings.ReplaceAll(string(body), "<name>id</name>", "<name>key</name>"))
			}
			return body
		}}, exit.Error, "listUsers: users.id: the hub's row has no such member"},
	} {
		t.Run(test.name, func(t *testing.T) {
			hubs := []http.Handler{hubtest.New(rows, hubtest.Options{}), hubtest.New(rows, test.later)}
			var requests atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hubs[min(1, requests.Add(1)/10)].ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			store := t.TempDir()
			out, errs, code := kojisnapRun(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-infra", "--event", "419", "--store", store)
			if code != test.code || out != "" || len(lines(errs)) != 1 || !strings.Contains(errs, test.says) {
				t.Errorf("%d, %q, %q; want %d, %q", code, out, errs, test.code, test.says)
			}
			if out := kojisnapOK(t, "snapshots", "--store", store); out != "" {
				t.Errorf("snapshots: %q", out)
			}
		})
	}
}
