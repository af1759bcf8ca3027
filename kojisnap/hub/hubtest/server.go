// Package hubtest is a Koji hub for tests and for the demo. It answers the
// anonymous read calls of a real hub from the rows of a Koji database: from
// files (Rows) or from PostgreSQL (PostgreSQL); of the latter it always shows the
// committed content. Package generate makes the rows of a hub as large as a
// distribution's, and changes rows at random as Koji would.
//
// It imitates what a client can see of Koji 1.35: values and their types, the
// order of rows and of struct members, event views, query options with their
// traps, faults, multicalls, HTTP statuses. A test sends each recorded request
// of a real hub (package kojiprod) and compares the answers.
//
// How it works: a Source gives a View, the tables at one moment (package kojidb).
// A method is a Go function that runs queries over the tables of its call's view
// (package query) and returns a value: nil, bool, int64, *big.Int, float64, string,
// or one of package python's. Package xmlrpc reads calls and writes replies. Below a
// method a fault travels as a panic and is recovered where the call was dispatched,
// as an exception does in Koji.
package hubtest

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// Options configure a Server. The zero value is a hub like the recorded one.
type Options struct {
	// KojiVersion is the answer of getKojiVersion and the header Koji-Version; default 1.35.3.
	KojiVersion string
	// Released makes the hub answer as Koji 1.35.3 as released. The recorded hub has the same version but
	// newer code.
	Released bool
	// Ahead is how far the hub's local time is ahead of the time zone of its database's sessions. Before 1.35 it matters
	// where a time is given as a number.
	Ahead time.Duration
	// Offline is called once a request. If it returns text, all calls fault 1014 with it. Koji has three
	// such texts: the administrator's, "Server disabled for maintenance", "database outage".
	Offline func() string
	// MaxRequestLength is in bytes; default 4 MiB. Longer bodies get HTTP 400.
	MaxRequestLength int64
	// Topdir, if set, is the hub's file tree. The hub serves it below /kojifiles/, and getBuildLogs lists
	// its files.
	Topdir string
	// Fault, if set, is called before each call, also within a multicall, with the call's arguments. The hub
	// raises what it returns. It may be called concurrently.
	Fault func(method string, args []any) *python.Fault
	// Tamper, if set, may change the reply to a call. If it returns the beginning of body, the reply is cut
	// off: Content-Length stays that of the whole. It may be called concurrently.
	Tamper func(method string, body []byte) []byte
	// Log gets a line for each call at level debug; nil discards.
	Log *slog.Logger
}

// Server is a Koji hub as an http.Handler. It answers calls at each path except /kojifiles/.
type Server struct {
	src   kojidb.Source
	opts  Options
	log   *slog.Logger
	files http.Handler

	mu    sync.Mutex
	calls map[string]int
}

// New makes a hub that answers from src.
func New(src kojidb.Source, opts Options) *Server {
	if opts.KojiVersion == "" {
		opts.KojiVersion = "1.35.3"
	}
	if opts.MaxRequestLength == 0 {
		opts.MaxRequestLength = 4 << 20
	}
	s := &Server{src: src, opts: opts, log: opts.Log, calls: map[string]int{}}
	if s.log == nil {
		s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opts.Topdir != "" {
		s.files = http.StripPrefix("/kojifiles/", http.FileServer(http.Dir(opts.Topdir)))
	}
	return s
}

// Calls returns how often each method was called, also within multicalls.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

func (s *Server) counted(method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
}
