package hardlink_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kojisnap/hardlink"
	"kojisnap/hardlink/content"
)

// fromWeb copies from these sources, a single file at a time.
func fromWeb(client *http.Client, sources ...string) func(*hardlink.Options) {
	return func(o *hardlink.Options) {
		o.Client, o.Sources, o.RetryInterval, o.Jobs = client, sources, time.Millisecond, 1
	}
}

// counted is a server whose answers know how often a file has been asked for, from 1.
func counted(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *httptest.Server {
	var mu sync.Mutex
	asked := map[string]int{}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		mu.Unlock()
		answer(w, r, n)
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.Start()
	t.Cleanup(web.Close)
	return web
}

// An answer breaks off anywhere: within an rpm's lead, headers or payload, before its first byte or before
// its last one.
func TestWebCutAnywhere(t *testing.T) {
	s := onlyBash(t)
	tree := http.FileServer(http.Dir(s.prod))
	size := len(mustRead(t, filepath.Join(s.prod, bashDir, bashRPM)))
	for _, at := range []int{0, 1, 95, 96, 97, 1000, 4096, size - 1} {
		s := &site{prod: s.prod, top: t.TempDir(), input: s.input, want: s.want}
		web := counted(t, func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				w = &cut{w, at}
			} else if want := fmt.Sprintf("bytes=%d-", at); strings.HasSuffix(r.URL.Path, bashRPM) && r.Header.Get("Range") != want && at > 0 {
				t.Errorf("cut at %d: asks for %q, want %q", at, r.Header.Get("Range"), want)
			}
			tree.ServeHTTP(w, r)
		})
		r := s.mustCopy(t, fromWeb(nil, web.URL))
		if n := s.check(t); r.Fetched != n {
			t.Errorf("cut at %d: fetched %d of %d", at, r.Fetched, n)
		}
	}
}

// After a broken answer the server sends something else than the rest.
func TestWebWrongRest(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked elsewhere") }))
	defer elsewhere.Close()
	const at = 1000
	part := func(contentRange string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, file []byte) {
			if contentRange != "" {
				w.Header().Set("Content-Range", strings.ReplaceAll(contentRange, "SIZE", strconv.Itoa(len(file))))
			}
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[at:])
		}
	}
	for name, c := range map[string]struct {
		rest func(w http.ResponseWriter, r *http.Request, file []byte)
		says string // "": the file is fetched from the beginning, and complete
	}{
		"from the beginning": {part("bytes 0-99/SIZE"), `the server sent the range "bytes 0-99/`},
		"a byte too far":     {part("bytes 1001-2000/SIZE"), `not the rest from byte 1000 on`},
		"no range":           {part(""), `the server sent the range ""`},
		"not a range":        {part("bytes */SIZE"), "the server sent the range"},
		"negative":           {part("bytes -1000-2000/SIZE"), "the server sent the range"},
		"another unit":       {part("items 1000-2000/SIZE"), "the server sent the range"},
		"of a longer file":   {part("bytes 1000-2000/100000"), ""},
		"total not known":    {part("bytes 1000-2000/*"), ""},
		"not satisfiable": {func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, ""},
		"gone": {func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusGone) }, "HTTP 410"},
		"redirects elsewhere": {func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		}, "which is not followed"},
		"other bytes": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			part("bytes 1000-2000/SIZE")(w, r, flip(-1)(bytes.Clone(file)))
		}, "sigmd5"},
		"too many bytes": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(file)-1, len(file)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(append(file[at:len(file):len(file)], "more"...))
		}, "size is "},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			s.want.SigKeys = []string{""}
			tree := http.FileServer(http.Dir(s.prod))
			rests := 0
			web := counted(t, func(w http.ResponseWriter, r *http.Request, n int) {
				switch {
				case strings.HasSuffix(r.URL.Path, bashRPM) && n == 1:
					w = &cut{w, at}
				case strings.HasSuffix(r.URL.Path, bashRPM) && r.Header.Get("Range") != "":
					rests++
					c.rest(w, r, mustRead(t, filepath.Join(s.prod, r.URL.Path)))
					return
				}
				tree.ServeHTTP(w, r)
			})
			_, err := s.copy(t, fromWeb(nil, web.URL))
			if rests == 0 {
				t.Error("nobody asked for the rest")
			}
			if s.ended(t, err, c.says) {
				return
			}
			s.wholeOrAbsent(t)
			s.mustCopy(t, fromWeb(nil, web.URL, s.prod))
			s.check(t)
		})
	}
}

// A redirect on the same server is followed.
func TestWebRedirectsHere(t *testing.T) {
	s := onlyBash(t)
	tree := http.StripPrefix("/new", http.FileServer(http.Dir(s.prod)))
	web := counted(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if to, old := strings.CutPrefix(r.URL.Path, "/old/"); old {
			http.Redirect(w, r, "/new/"+to, http.StatusMovedPermanently)
			return
		}
		tree.ServeHTTP(w, r)
	})
	r := s.mustCopy(t, fromWeb(nil, web.URL+"/old"))
	if n := s.check(t); r.Fetched != n {
		t.Errorf("fetched %d of %d", r.Fetched, n)
	}
}

// handler answers requests without a network, so that a test can have its own clock.
type handler func(w http.ResponseWriter, r *http.Request)

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// Retry-After, in seconds or as a date: no request is sent before, and all continue then.
func TestWebRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		value func() string
		want  time.Duration
		gone  string // why the server is not asked again
	}{
		"seconds":      {func() string { return "90" }, 90 * time.Second, ""},
		"a date":       {func() string { return time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat) }, 40 * time.Second, ""},
		"the longest":  {func() string { return "120" }, 2 * time.Minute, ""},
		"too long":     {func() string { return "121" }, 0, "asks to wait 2m1s"},
		"a late date":  {func() string { return time.Now().Add(time.Hour).UTC().Format(http.TimeFormat) }, 0, "asks to wait 1h0m0s"},
		"a past date":  {func() string { return "Sat, 01 Jan 2000 00:00:00 GMT" }, 0, ""},
		"neither":      {func() string { return "soon" }, 0, ""},
		"beyond count": {func() string { return "99999999999999999999" }, 0, ""},
	} {
		for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			t.Run(fmt.Sprint(name, " ", code), func(t *testing.T) {
				s := onlyBash(t)
				plan := s.plan(t)
				tree := http.FileServer(http.Dir(s.prod))
				synctest.Test(t, func(t *testing.T) {
					begin := time.Now()
					var asked []time.Duration
					client := &http.Client{Transport: handler(func(w http.ResponseWriter, r *http.Request) {
						asked = append(asked, time.Since(begin))
						if len(asked) == 1 {
							w.Header().Set("Retry-After", c.value())
							w.WriteHeader(code)
							return
						}
						tree.ServeHTTP(w, r)
					})}
					e := s.engine(t, fromWeb(client, "https://koji.example.com/kojifiles/.."))
					a, err := e.Diff(t.Context(), plan)
					must(t, err)
					_, err = e.Apply(t.Context(), a)
					if c.gone != "" {
						if err == nil || !strings.Contains(err.Error(), c.gone) || len(asked) != 1 {
							t.Errorf("%d requests, error %v, want one that says %q", len(asked), err, c.gone)
						}
						return
					}
					must(t, err)
					// Without a time, the wait is the pause before a repetition, a millisecond at most.
					if len(asked) < 3 || !slices.IsSorted(asked) || asked[1] < c.want || asked[1] > c.want+time.Millisecond {
						t.Errorf("requests after %v, want the second after %v", asked, c.want)
					}
				})
			})
		}
	}
}

// An endless answer is given up when it is longer than the file can be: by the database's size, or by the
// header of a signed copy, whose digest the database has.
func TestWebWithoutEnd(t *testing.T) {
	for name, keys := range map[string][]string{"unsigned": {""}, "signed": {"41526f0e"}} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			s.want.SigKeys = keys
			tree := http.FileServer(http.Dir(s.prod))
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := os.ReadFile(filepath.Join(s.prod, filepath.FromSlash(r.URL.Path)))
				if err != nil || !strings.HasSuffix(r.URL.Path, ".rpm") {
					tree.ServeHTTP(w, r)
					return
				}
				for err == nil { // until the client disconnects
					_, err = w.Write(body)
				}
			}))
			defer web.Close()
			_, err := s.copy(t, fromWeb(web.Client(), web.URL))
			var digest *content.DigestError
			if !errors.As(err, &digest) || digest.What != "size" || digest.Have != "more" {
				t.Errorf("error %v", err)
			}
			s.wholeOrAbsent(t)
		})
	}
}
