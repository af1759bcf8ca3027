package pull_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
)

// TestPullUpgrade upgrades the hub during a pull: at a request for the history, for builds, for users, or at
// the last one. The pull fails with one line and keeps nothing, and the next one is of the new version. The
// same holds if two hubs of different versions answer in turn, and if a hub sends its version only when it is
// asked.
func TestPullUpgrade(t *testing.T) {
	t.Parallel()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, from, to string
		last           bool                   // only the hub's last reply is of the other version
		when           func(x *exchange) bool // from this request on
	}{
		{name: "history", from: "1.35.3", to: "1.36.0", when: func(x *exchange) bool { return x.calls("queryHistory") }},
		{name: "builds", from: "1.35.3", to: "1.36.0", when: func(x *exchange) bool { return x.calls("getBuild") }},
		{name: "users", from: "1.35.3", to: "1.36.0", when: func(x *exchange) bool { return x.calls("listUsers") }},
		{name: "there and back", from: "1.35.3", to: "1.36.0", last: true, when: func(x *exchange) bool { return x.calls("getBuild") }},
		{name: "without a header", from: "1.33.0", to: "1.34.1", when: func(x *exchange) bool { return x.calls("listUsers") }},
		{name: "down", from: "1.35.3", to: "1.34.0", when: func(x *exchange) bool { return x.calls("queryRPMSigs") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, other := hubtest.New(rows, hubtest.Options{KojiVersion: test.from}), hubtest.New(rows, hubtest.Options{KojiVersion: test.to})
			p := &proxy{hub: old}
			p.before = func(x *exchange) {
				if test.when(x) {
					p.hub = other
				} else if test.last {
					p.hub = old
				}
			}
			p.after = func(x *exchange) {
				if hub, _ := hub.ParseVersion(x.header.Get("Koji-Version")); !hub.AtLeast(1, 35) {
					x.header.Del("Koji-Version") // older hubs do not send it
				}
			}
			c := through(t, p, eager)
			b := badPull{client: c, store: pulltest.NewStore(t)}
			err := b.bad(t, fmt.Sprintf("hub %s changed from Koji %s to %s while it was read: pull again", c.URL(), test.from, test.to))
			if !errors.Is(err, pull.ErrUpgraded) {
				t.Errorf("not ErrUpgraded: %v", err)
			}
			if left, err := b.store.List(t.Context(), ""); err != nil || len(left) > 0 {
				t.Errorf("the store holds %v, %v", left, err)
			}
			p.between(func() { p.before, p.hub = nil, other })
			b.good(t)
			if snap, err := repository.Open(t.Context(), b.store, "latest"); err != nil || snap.Manifest.KojiVersion != test.to {
				t.Errorf("after the upgrade: %v", err)
			}
		})
	}
}

// TestPullUpgradeFails: the upgraded hub lacks a method. The error says that the hub was upgraded.
func TestPullUpgradeFails(t *testing.T) {
	t.Parallel()
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{hub: hubtest.New(rows, hubtest.Options{})}
	upgraded := hubtest.New(rows, hubtest.Options{KojiVersion: "2.0.0", Fault: func(method string, _ []any) *hubtest.Fault {
		if method == "listArchives" {
			return &hubtest.Fault{Code: 1000, Class: "koji.GenericError", Text: "Invalid method: listArchives"}
		}
		return nil
	}})
	p.before = func(x *exchange) {
		if x.calls("listArchives") {
			p.hub = upgraded
		}
	}
	badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.bad(t, "changed from Koji 1.35.3 to 2.0.0 while it was read: pull again")
}

// TestPullTagGoes: a tag of the scope is deleted or renamed after the scope was found. The pull is of an
// event when the tag existed, and has the name of that time.
func TestPullTagGoes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(rows *hubtest.Memory, tag int64) (int, error){
		"deleted": func(rows *hubtest.Memory, tag int64) (int, error) {
			err := rows.Insert("events", hubtest.Values{"id": pulltest.LastEvent + 1, "time": hubtest.Time(2e15)})
			if err != nil {
				return 0, err
			}
			// This is what Koji's deleteTag does.
			n := 0
			for _, table := range []string{"tag_config", "tag_inheritance", "tag_packages", "tag_listing", "tag_extra"} {
				m, err := rows.Update(table, hubtest.Values{"tag_id": tag, "active": true},
					hubtest.Values{"active": nil, "revoke_event": pulltest.LastEvent + 1, "revoker_id": 1})
				if n += m; err != nil {
					return n, err
				}
			}
			return n, nil
		},
		"renamed": func(rows *hubtest.Memory, tag int64) (int, error) {
			return rows.Update("tag", hubtest.Values{"id": tag}, hubtest.Values{"name": "f42-other"})
		},
	} {
		for asked, goes := range map[string]string{badTag: badTag, "f42-compose": "f42"} { // f42-compose inherits from f42
			t.Run(name+" "+goes, func(t *testing.T) {
				p, rows := badHub(t, hubtest.Options{})
				tag, err := rows.Select("tag", hubtest.Values{"name": goes})
				if err != nil || len(tag) != 1 {
					t.Fatal(tag, err)
				}
				changed := 0
				p.before = func(x *exchange) {
					if x.method == "queryHistory" && changed == 0 {
						if changed, err = change(rows, tag[0]["id"].(int64)); err != nil || changed == 0 {
							t.Errorf("%d rows, %v", changed, err)
						}
					}
				}
				b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Tags: []string{asked}}}
				b.good(t)
				if changed == 0 {
					t.Error("nothing was changed")
				}
				if name == "renamed" && goes == asked { // the next pull does not find it under that name
					b.bad(t, fmt.Sprintf("has no tag %q at event %d", badTag, pulltest.LastEvent))
				}
			})
		}
	}
}

// restarting is a hub's server that can leave its address and come back.
type restarting struct {
	t       *testing.T
	address string
	handler http.Handler

	mu      sync.Mutex
	server  *http.Server
	refused int // connections
}

// stop ends the server: connections are refused from then on.
func (r *restarting) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.Close()
}

func (r *restarting) start() {
	os.Remove(r.address)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.address, Net: "unix"})
	if err != nil {
		r.t.Error(err)
		return
	}
	l.SetUnlinkOnClose(false) // so that connections are refused
	r.mu.Lock()
	defer r.mu.Unlock()
	server := &http.Server{Handler: r.handler}
	r.server = server
	go server.Serve(l)
}

// noteRefused starts the server again after some refused connections.
func (r *restarting) noteRefused(enough int) {
	r.mu.Lock()
	r.refused++
	now := r.refused
	r.mu.Unlock()
	if now == enough {
		r.start()
	}
}

// onRecord calls a function for each log record.
type onRecord struct {
	slog.Handler
	do func(slog.Record)
}

func (h onRecord) Enabled(context.Context, slog.Level) bool { return true }

func (h onRecord) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		h.do(r)
	}
	return nil
}

// TestPullRestart stops the hub's server during a pull, before a request or during an answer, and starts it
// again after three refused connections.
func TestPullRestart(t *testing.T) {
	t.Parallel()
	for _, at := range []int{12, 30} {
		for _, answering := range []bool{false, true} {
			t.Run(fmt.Sprint("request ", at, " answering ", answering), func(t *testing.T) {
				p, _ := badHub(t, hubtest.Options{})
				short, err := os.MkdirTemp("", "hub-*") // the path of a socket must be short
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(short)
				r := &restarting{t: t, address: filepath.Join(short, "hub"), handler: p}
				r.start()
				defer func() { r.stop() }()
				stop := func(x *exchange) {
					if x.n == at {
						r.stop()
					}
				}
				if answering {
					p.after = func(x *exchange) {
						if stop(x); x.n == at {
							x.cut = len(x.body) / 2
						}
					}
				} else {
					p.before = stop
				}
				warned := func(w slog.Record) {
					w.Attrs(func(a slog.Attr) bool {
						if err, ok := a.Value.Any().(error); ok && errors.Is(err, syscall.ECONNREFUSED) {
							r.noteRefused(3)
						}
						return true
					})
				}
				o := eager
				o.Retries = 40 // requests wait for each other's third connection
				o.Log = slog.New(onRecord{slog.DiscardHandler, warned})
				o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", r.address)
				}}}
				c, err := hub.New("http://hub.example.org/kojihub", o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := badPull{client: c, store: pulltest.NewStore(t)}.relations()
				if err != nil || r.refused < 3 {
					t.Fatalf("refused %d times: %v", r.refused, err)
				}
				want, err := goodRelations(badTag)
				if err != nil {
					t.Fatal(err)
				}
				differ(t, got, want)
			})
		}
	}
}
