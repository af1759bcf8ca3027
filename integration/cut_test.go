package integration_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// stall stands before a hub. It leaves the first request with some text in it without an answer.
type stall struct {
	hub http.Handler

	mu      sync.Mutex
	text    string // empty: none any more
	reached chan struct{}
	bodies  []string
}

func (s *stall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, string(body))
	stalls := s.text != "" && strings.Contains(string(body), s.text)
	if stalls {
		s.text = ""
		close(s.reached)
	}
	s.mu.Unlock()
	if stalls {
		<-r.Context().Done()
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.hub.ServeHTTP(w, r)
}

// TestPullKilled ends kojisnap amid a pull, of everything and of what is new, and pulls again.
func TestPullKilled(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	target, err := url.Parse(w.prodURL)
	must(t, err)
	front := &stall{hub: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}}}
	srv := httptest.NewServer(front)
	t.Cleanup(srv.Close)
	args := func(store, event string) []string {
		return []string{"pull", "--hub", srv.URL + "/kojihub", "--tag", "f42-compose", "--tag", "f43-build", "--event", event, "--store", store}
	}
	type cut struct {
		name   string
		base   string // event of an earlier snapshot
		at     string // in the request that gets no answer
		signal syscall.Signal
		done   []string // what is not asked for again
	}
	for _, test := range seedtest.Some([]cut{ // the first and the last are both signals and both kinds of pull
		{"kill -9", "", "listChannels", syscall.SIGKILL, []string{">tag_listing<", ">getBuild<", ">listRPMs<", ">queryRPMSigs<", ">listArchives<"}},
		{"kill -9 of what is new", "360", "listChannels", syscall.SIGKILL, []string{">tag_listing<", ">getBuild<", ">listRPMs<", ">queryRPMSigs<", ">listArchives<"}},
		{"Ctrl-C", "", "queryRPMSigs", syscall.SIGINT, []string{">tag_listing<"}},
		{"Ctrl-C of what is new", "360", "queryRPMSigs", syscall.SIGINT, []string{">tag_listing<", ">completeAfter<"}},
	}, 2) {
		t.Run(test.name, func(t *testing.T) {
			whole, cut := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "cut")
			for _, at := range []string{whole, cut} {
				if test.base != "" {
					succeed(t, args(at, test.base)...)
				}
			}
			want := manifestOf(t, whole, succeed(t, args(whole, "419")...))

			front.mu.Lock()
			front.text, front.reached = test.at, make(chan struct{})
			reached := front.reached
			front.mu.Unlock()
			cmd := exec.CommandContext(t.Context(), binary(t), args(cut, "419")...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			must(t, cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-reached:
			case err := <-ended:
				t.Fatalf("it ended before it asked for %s: %v, %s", test.at, err, stderr.String())
			}
			must(t, cmd.Process.Signal(test.signal))
			if err := <-ended; err == nil {
				t.Fatal("it ended as if it were done")
			}
			if test.signal == syscall.SIGINT && !strings.Contains(stderr.String(), "interrupted") {
				t.Errorf("it said %q", stderr.String())
			}

			front.mu.Lock()
			front.bodies = nil
			front.mu.Unlock()
			got := manifestOf(t, cut, succeed(t, args(cut, "419")...))
			if !reflect.DeepEqual(got.Relations, want.Relations) {
				t.Error("not what a pull at once gives")
			}
			front.mu.Lock()
			defer front.mu.Unlock()
			for _, body := range front.bodies {
				for _, done := range test.done {
					if strings.Contains(body, done) {
						t.Errorf("asked again: %s", body)
					}
				}
			}
		})
	}
}

func manifestOf(t *testing.T, at, id string) *snapfile.Manifest {
	t.Helper()
	s, err := dir.Open(at)
	must(t, err)
	snap, err := repository.Open(t.Context(), s, strings.TrimSpace(id))
	must(t, err)
	return snap.Manifest
}
