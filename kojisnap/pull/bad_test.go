package pull_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store/dir"
)

// badTag is the tag for hubs that behave badly: it has a few builds and images of all kinds.
const badTag = "f42-infra"

// exchange is a request and the hub's reply to it, on its way through a proxy.
type exchange struct {
	n      int // of the request, from 0
	method string
	asked  []byte
	header http.Header
	body   []byte
	cut    int  // bytes of the body that arrive; -1: all
	reset  bool // after these bytes the connection is reset
}

// calls reports whether a method is called, alone or in a multicall.
func (x *exchange) calls(method string) bool {
	return x.method == method || bytes.Contains(x.asked, []byte("<string>"+method+"</string>"))
}

// proxy stands between a pull and its hub, over real connections.
type proxy struct {
	hub    http.Handler
	before func(*exchange)           // changes a request; may be nil
	after  func(*exchange)           // spoils a reply; may be nil
	mu     sync.Mutex                // one exchange at a time
	n      int                       // requests so far
	seen   map[[sha256.Size]byte]int // how often each request came
}

var calledMethod = regexp.MustCompile(`<methodName>(\w+)</methodName>`)

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x := &exchange{n: p.n, asked: asked, cut: -1}
	p.n++
	if m := calledMethod.FindSubmatch(asked); m != nil {
		x.method = string(m[1])
	}
	if p.before != nil {
		p.before(x)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(x.asked)), int64(len(x.asked))
	reply := httptest.NewRecorder()
	p.hub.ServeHTTP(reply, r)
	x.header, x.body = reply.Header(), reply.Body.Bytes()
	if p.after != nil {
		p.after(x)
	}
	for name, values := range x.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(x.body)))
	w.WriteHeader(reply.Code)
	if x.cut >= 0 {
		x.body = x.body[:x.cut]
	}
	w.Write(x.body)
	if x.reset {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		c.(*net.TCPConn).SetLinger(0) // a reset, not an end
		c.Close()
	}
}

// between runs f while no exchange is running: some of a failed pull may still be.
func (p *proxy) between(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// tries returns how often a request came before this time.
func (p *proxy) tries(x *exchange) int {
	if p.seen == nil {
		p.seen = map[[sha256.Size]byte]int{}
	}
	key := sha256.Sum256(x.asked)
	p.seen[key]++
	return p.seen[key] - 1
}

// eager repeats requests almost without a pause, and sends one at a time.
var eager = hub.Options{RetryInterval: 1, Jobs: 1}

// badHub is production's rows behind a proxy.
func badHub(t testing.TB, o hubtest.Options) (*proxy, *hubtest.Memory) {
	t.Helper()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	return &proxy{hub: hubtest.New(rows, o)}, rows
}

// through is a client of the hub behind a proxy.
func through(t testing.TB, p *proxy, o hub.Options) *hub.Client {
	t.Helper()
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	c, err := hub.New(srv.URL+"/kojihub", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// goodRelations returns the relations of a snapshot of a tag from a hub without faults.
func goodRelations(tag string) ([]snapfile.Relation, error) {
	once, _ := goodOnes.LoadOrStore(tag, sync.OnceValues(func() ([]snapfile.Relation, error) {
		rows, err := hubtest.Rows(kojiprod.Rows())
		if err != nil {
			return nil, err
		}
		return relationsOf(rows, tag)
	}))
	return once.(func() ([]snapfile.Relation, error))()
}

var goodOnes sync.Map

// relationsOf pulls everything of a tag from rows.
func relationsOf(rows *hubtest.Memory, tag string) ([]snapfile.Relation, error) {
	srv := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	defer srv.Close()
	c, err := hub.New(srv.URL, hub.Options{Retries: -1})
	if err != nil {
		return nil, err
	}
	place, err := os.MkdirTemp("", "good-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(place)
	s, err := dir.Open(place)
	if err != nil {
		return nil, err
	}
	return badPull{c, s, pull.Options{Tags: []string{tag}, Event: pulltest.LastEvent}}.relations()
}

// badPull is a pull that may fail.
type badPull struct {
	client *hub.Client
	store  *dir.Store
	opt    pull.Options // default tag: badTag; default event: the last
}

func (b badPull) tag() string {
	if len(b.opt.Tags) > 0 {
		return b.opt.Tags[0]
	}
	return badTag
}

func (b badPull) run() (*pull.Result, error) {
	b.opt.Program, b.opt.Tags = "test", []string{b.tag()}
	if b.opt.Event == 0 && b.opt.Margin <= 0 {
		b.opt.Event = pulltest.LastEvent
	}
	return pull.Pull(context.Background(), b.client, b.store, b.opt)
}

func (b badPull) relations() ([]snapfile.Relation, error) {
	r, err := b.run()
	if err != nil {
		return nil, err
	}
	snap, err := repository.Open(context.Background(), b.store, r.Snapshot)
	if err != nil {
		return nil, err
	}
	return snap.Manifest.Relations, nil
}

// good runs the pull, which must give the same as from a hub without faults.
func (b badPull) good(t *testing.T) {
	t.Helper()
	want, err := goodRelations(b.tag())
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.relations()
	if err != nil {
		t.Fatal(err)
	}
	differ(t, got, want)
	if left, err := b.store.List(context.Background(), "pulls/"); err != nil || len(left) > 0 {
		t.Errorf("%d parts stay, %v", len(left), err)
	}
}

// differ compares the segments by their digests.
func differ(t *testing.T, got, want []snapfile.Relation) {
	t.Helper()
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s: %d rows, not the same as %d", want[i].Name, got[i].Rows, want[i].Rows)
		}
	}
}

// bad runs the pull. It must fail with one line that contains all of says, and leave the store unchanged
// except for parts of a pull that can be resumed.
func (b badPull) bad(t *testing.T, says ...string) error {
	t.Helper()
	before := filesOf(t, b.store)
	_, err := b.run()
	if err == nil {
		t.Fatal("it did not fail")
	}
	line := err.Error()
	for _, s := range says {
		if !strings.Contains(line, s) {
			t.Errorf("%q does not say %q", line, s)
		}
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(line) > 700 {
		t.Errorf("not a clear line: %q", line)
	}
	if after := filesOf(t, b.store); !slices.Equal(after, before) {
		t.Errorf("the store holds %q, before %q", after, before)
	}
	return err
}

// filesOf lists the files of a store with their sizes, also temporary ones, but without parts of pulls.
func filesOf(t *testing.T, s *dir.Store) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(s.String(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == "pulls" {
				return fs.SkipDir
			}
			return err
		}
		info, err := d.Info()
		if err == nil {
			files = append(files, fmt.Sprintf("%s %d", path, info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
