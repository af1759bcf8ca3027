package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestSlowHub: a reply that comes a byte now and then is given up, and asked for again; for good it
// is exit code 5. One that takes long to begin is waited for.
func TestSlowHub(t *testing.T) {
	hubPatience = hub.Options{SlowAfter: 300 * time.Millisecond, RetryInterval: 1}
	t.Cleanup(func() { hubPatience = hub.Options{} })
	rows := modularRows(t)
	production := hubtest.New(rows, hubtest.Options{})
	for what, test := range map[string]struct {
		slow  int64 // how many replies are
		begin time.Duration
		code  int
	}{
		"for a while":   {slow: 2},
		"for good":      {slow: 1000, code: exit.Later},
		"to begin with": {begin: time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			var slow, began atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				if bytes.Contains(body, []byte("getBuild")) {
					if test.begin > 0 && began.Add(1) == 1 {
						time.Sleep(test.begin)
					}
					if slow.Add(1) <= test.slow {
						for n, err := 0, error(nil); err == nil && n < 100_000; n++ {
							_, err = io.WriteString(w, " ")
							w.(http.Flusher).Flush()
							select {
							case <-r.Context().Done():
								return
							case <-time.After(2 * time.Millisecond):
							}
						}
						return
					}
				}
				production.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			out, errs, code := kojisnapRun(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-infra", "--event", "419", "--store", t.TempDir(), "-v")
			told := strings.Count(errs, "the answer comes too slowly: less than 1024 bytes a second")
			if code != test.code || (out != "") != (code == exit.Done) || (told > 0) != (test.slow > 0) {
				t.Errorf("%d, %q, %q", code, out, errs)
			}
			if last := lines(errs); code != exit.Done && (slow.Load() > 20 || !strings.Contains(last[len(last)-1], "getBuild")) {
				t.Errorf("%d requests, %q", slow.Load(), errs)
			}
		})
	}
}

// TestEndlessSegment: a segment that decompresses without end is damaged, and read no further than
// the manifest says.
func TestEndlessSegment(t *testing.T) {
	rows := modularRows(t)
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	t.Cleanup(srv.Close)
	for what, content := range map[string]string{"rows": "1\tx\n", "a row": "x"} {
		at := t.TempDir()
		kojisnapOK(t, "pull", "--hub", srv.URL+"/kojihub", "--tag", "f42-infra", "--event", "419", "--store", at)
		segments, err := filepath.Glob(filepath.Join(at, "segments", "*"))
		if err != nil || len(segments) == 0 {
			t.Fatal(segments, err)
		}
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		// A thousand frames, which are one text to those that read them.
		bomb := bytes.Repeat(z.EncodeAll([]byte(strings.Repeat(content, 1<<18)), nil), 1000)
		for _, s := range segments {
			if err := os.WriteFile(s, bomb, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		tree := t.TempDir()
		if err := os.MkdirAll(filepath.Join(tree, "packages", "bash"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, errs, code := kojisnapRun(t, "copy", "--topdir", t.TempDir(), "--source", tree, "--writable-source", "--dry-run", "--store", at)
		if code != exit.Digest || len(lines(errs)) != 1 || !strings.Contains(errs, "bytes of rows, which the manifest says") {
			t.Errorf("%s: %d, %q", what, code, errs)
		}
	}
}
