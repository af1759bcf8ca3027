// Package hub is the Koji hub as a client: it calls methods of a hub's public,
// anonymous XML-RPC API, and nothing that could change anything there.
//
// Replies are decoded as they arrive, a row at a time: the Stream methods need
// as much memory for a reply of a gigabyte as for one of a megabyte. Decoding is
// strict: a reply is delivered whole and well-formed, or there is an error. Only
// single values that are not well-formed may be passed on as such: [Call].KeepBad.
//
// Errors fall into classes that a caller can ask for: [Fault], [CallError],
// [ReplyError], [HTTPError], [ErrNotHub], [ErrLogin], [ErrRefused], [Temporary],
// [Splittable].
package hub

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kojisnap/kojisnap/secret"
)

// Options of a Client. The zero value works.
type Options struct {
	HTTPClient     *http.Client  // nil: one of its own with Go's defaults (proxies from the environment, gzip). Redirects are never followed.
	ServerCA       string        // file or directory of certificate authorities (PEM) that alone are trusted, as serverca of a Koji profile; default the system's
	NoVerify       bool          // accept any certificate, as no_ssl_verify of a Koji profile
	UserAgent      string        // default "kojisnap"
	Contact        string        // whom the hub's administrators may ask, sent as From and, " (+CONTACT)", in the User-Agent; default none
	Retries        int           // how often a request that met a temporary error is sent again: 0 means 4, negative never
	RetryInterval  time.Duration // pause before the first repetition, doubled for each further one, with jitter; default 1 s, at most 1 min
	RequestTimeout time.Duration // longest silence of the hub: until its reply begins, then between its bytes; default 30 min, negative none
	Jobs           int           // requests under way at once, over all calls of the Client; default 4
	MaxRate        float64       // requests that may begin in a second, over all calls of the Client; default no limit
	BatchSize      int           // calls in one multicall; default 1,000
	MaxRequest     int           // bytes of a request; default 4,194,304, a hub's own default limit
	MaxReply       int64         // bytes of memory that one Value or Row may take; default 16 MiB
	SlowAfter      time.Duration // over how long the rate of a reply that has begun is measured, see package slow; default 1 min
	Log            *slog.Logger  // debug: every request; warn: repetitions. nil discards
}

const (
	defaultRetries        = 4
	defaultRetryInterval  = time.Second
	maxRetryInterval      = time.Minute
	defaultRequestTimeout = 30 * time.Minute
	defaultJobs           = 4
	defaultBatchSize      = 1000
	defaultMaxRequest     = 4 << 20
	defaultMaxReply       = 16 << 20
)

// Client calls one hub. Its methods may be called concurrently.
type Client struct {
	url  string
	http *http.Client
	opts Options
	log  *slog.Logger
	jobs chan struct{} // one place for each request under way
	pace *pace

	stats stats

	large  chan struct{} // held by the one request whose Value or Row is large
	floods atomic.Int64  // replies that had a Value or Row beyond Options.MaxReply

	good       atomic.Bool  // there was an answer of a hub
	maxRequest atomic.Int64 // bytes of a multicall: Options.MaxRequest, or what a proxy takes

	mu       sync.Mutex
	versions []Version     // that replies told, each time another; empty until known
	skew     time.Duration // of the hub's clock, from its last reply
	clocked  bool
}

// Call is one method call. Args are positional; Kwargs travel as Koji's
// __starstar struct. Values may be nil, bool, any integer that fits int64,
// float64, string, []any, []string, []int, []int64, map[string]any, and those
// nested.
type Call struct {
	Method string
	Args   []any
	Kwargs map[string]any
	// Again, if it is set, lets a Stream method repeat the call after a temporary
	// error also if rows were given away: it is called first, then the rows come
	// anew, from the call's first one.
	Again func()
	// KeepBad lets a method read on where a value is not what XML or XML-RPC
	// allow: a control character, a number of more than 64 bits, too deep a nesting.
	// The value comes as [Bad]. Without it such a reply is an error.
	KeepBad bool
}

// request is a call, or some in a multicall, ready to be sent.
type request struct {
	method  string // for messages
	body    []byte
	again   func()
	keepBad bool
}

// Result is the outcome of one call of a multicall: a Value or an Err, which is
// a *CallError naming the call.
type Result struct {
	Value Value
	Err   error
}

// New returns a client of the hub at rawURL, usually https://HOST/kojihub. It
// sends nothing. A URL is refused if it is not http or https, has a query
// string (a hub takes that for a login), a fragment, or a user and password.
func New(rawURL string, o Options) (*Client, error) {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil || u.User == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == ""):
		return nil, fmt.Errorf("hub URL %q: want http://HOST/PATH or https://HOST/PATH", secret.HideURL(rawURL))
	case u.User != nil:
		return nil, fmt.Errorf("hub URL %q: remove the user and password: the hub is only read, without a login", secret.Hide(u.String()))
	case u.RawQuery != "" || u.ForceQuery:
		return nil, fmt.Errorf("hub URL %q: remove the query string: a hub takes it for a login", secret.Hide(rawURL))
	case u.Fragment != "":
		return nil, fmt.Errorf("hub URL %q: remove the fragment", secret.Hide(rawURL))
	}
	if strings.ContainsFunc(o.UserAgent+o.Contact, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("user agent %q, contact %q: want printable ASCII", o.UserAgent, o.Contact)
	}
	o.UserAgent = cmp.Or(o.UserAgent, "kojisnap")
	if o.Contact != "" {
		o.UserAgent += " (+" + o.Contact + ")"
	}
	o.Retries = max(cmp.Or(o.Retries, defaultRetries), 0)
	o.RetryInterval = cmp.Or(o.RetryInterval, defaultRetryInterval)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, defaultRequestTimeout)
	o.Jobs = max(cmp.Or(o.Jobs, defaultJobs), 1)
	o.BatchSize = max(cmp.Or(o.BatchSize, defaultBatchSize), 1)
	o.MaxRequest = cmp.Or(o.MaxRequest, defaultMaxRequest)
	o.MaxReply = cmp.Or(o.MaxReply, defaultMaxReply)
	client, err := newHTTPClient(o)
	if err != nil {
		return nil, err
	}
	c := &Client{url: u.String(), http: client, opts: o, log: o.Log, jobs: make(chan struct{}, o.Jobs), pace: newPace(o.MaxRate), large: make(chan struct{}, 1)}
	c.maxRequest.Store(int64(o.MaxRequest))
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Jobs returns how many requests may be under way at once.
func (c *Client) Jobs() int { return c.opts.Jobs }

// URL returns the hub's URL.
func (c *Client) URL() string { return c.url }

// Call calls a method and returns its whole reply, decoded. A fault is a
// *Fault. Use a Stream method for replies of many rows.
func (c *Client) Call(ctx context.Context, call Call) (Value, error) {
	body, err := c.encode(call)
	if err != nil {
		return Value{}, err
	}
	var v Value
	err = c.do(ctx, request{method: call.Method, body: body, keepBad: call.KeepBad}, func(d *decoder) error {
		var err error
		v, err = d.whole()
		return err
	})
	return v, err
}

// Stream calls a method whose reply is an array and gives each element to fn,
// in order, as it arrives; the Row is reused. An error of fn ends the call and
// is returned as it is. fn must not call the Client: its request holds one of
// Options.Jobs' places.
//
// Unless the call has an Again, a request is repeated after a temporary error
// only as long as fn was not called: later the error is returned, see
// [Temporary], and fn has seen a part of the rows.
func (c *Client) Stream(ctx context.Context, call Call, fn func(Row) error) error {
	body, err := c.encode(call)
	if err != nil {
		return err
	}
	return c.do(ctx, request{call.Method, body, call.Again, call.KeepBad}, func(d *decoder) error { return d.stream(fn) })
}

// StreamTables is Stream for replies that are a struct of arrays, as
// queryHistory's, or an array of arrays, as listTaggedRPMS' rpms and builds:
// table is the member's name, or the array's number, "0", "1", ….
func (c *Client) StreamTables(ctx context.Context, call Call, fn func(table string, r Row) error) error {
	body, err := c.encode(call)
	if err != nil {
		return err
	}
	return c.do(ctx, request{call.Method, body, call.Again, call.KeepBad}, func(d *decoder) error { return d.streamTables(fn) })
}
