package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Each bad answer has one clear line and its class.
func TestErrors(t *testing.T) {
	html := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	recorded := func(name string) http.HandlerFunc { return find(t, name).answer }
	xmlOf := func(value string) http.HandlerFunc {
		return html(200, "text/xml", "<?xml version='1.0'?>\n<methodResponse><params><param><value>"+value+"</value></param></params></methodResponse>")
	}
	for _, c := range []struct {
		name      string
		h         http.HandlerFunc
		say       string
		is        error
		temporary bool
		split     bool
		requests  int32
	}{
		{"html", html(200, "text/html; charset=utf-8", "<p>hello"), "answered HTML (HTTP 200), not XML-RPC: is this the hub's URL (usually …/kojihub)?", ErrNotHub, false, false, 1},
		{"html as xml", html(200, "text/xml", "\n <!DOCTYPE HTML><html></html>"), "answered HTML (HTTP 200)", ErrNotHub, false, false, 1},
		{"html without type", html(200, "text/xml", "<html><body>"), "answered HTML (HTTP 200)", ErrNotHub, false, false, 1},
		{"text", html(200, "text/plain", "hello"), `reply of getTag, byte 0: text "hello" where a tag should be`, nil, false, true, 1},
		{"empty", html(200, "text/xml", ""), "it is empty", nil, true, false, 5},
		{"401", html(401, "text/html", "<html>"), "HTTP 401 Unauthorized", ErrLogin, false, false, 1},
		{"403", html(403, "text/plain", "go away"), "HTTP 403 Forbidden: go away", ErrLogin, false, false, 1},
		{"404", html(404, "text/html", "<html>"), "HTTP 404 Not Found", ErrNotHub, false, false, 1},
		{"405", recorded("http.GET"), "HTTP 405", ErrNotHub, false, false, 1},
		{"400", recorded("http.not-xml"), "HTTP 400 Bad Request: Invalid request: syntax error: line 1, column 0", nil, false, false, 1},
		{"408", html(408, "text/plain", "slow"), "HTTP 408", nil, true, false, 5},
		{"500", html(500, "text/html", "<html>"), "HTTP 500 Internal Server Error", nil, true, true, 2},
		{"502", html(502, "text/html", "<html>"), "HTTP 502 Bad Gateway", nil, true, false, 5},
		{"503", html(503, "text/plain", "a\x1b[1m\nb"), "HTTP 503 Service Unavailable: a\uFFFD[1m b", nil, true, false, 5},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example.org/x", http.StatusFound)
		}, `HTTP 302 Found: it redirects to "https://other.example.org/x"`, nil, false, false, 1},
		{"offline", recorded("getKojiVersion.server-offline"), "call getTag: the hub is offline: fault 1014: údržba / planned outage", nil, true, false, 5},
		{"generic fault", recorded("getTag.strict-unknown"), "fault 1000: ", nil, false, true, 1},
		{"traceback", recorded("listBuilds.bad-order"), "call getTag: fault 1: Exception: Invalid order: nope", nil, false, true, 1},
		{"wants a login", recorded("createTag.anonymous"), "fault 1004: ", ErrLogin, false, false, 1},
		{"auth fault", recorded("getTag.bad-key"), "fault 1002: ", ErrLogin, false, false, 1},
		{"control character", xmlOf("a\x01b"), "byte 61: character U+0001, which XML does not allow", nil, false, true, 1},
		{"bad UTF-8", xmlOf("a\xffb"), "byte 61: byte 0xff is not UTF-8", nil, false, true, 1},
		{"more after the end", html(200, "text/xml", "<methodResponse><params><param><value/></param></params></methodResponse><x/>"), `"<x/>" after the end`, nil, false, true, 1},
		{"doctype", html(200, "text/xml", "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><methodResponse/>"), "document types and declarations are refused", nil, false, true, 1},
		{"deep", xmlOf(strings.Repeat("<array><data><value>", 200)), "values nested more than 100 deep", nil, false, true, 1},
		{"huge string", xmlOf(strings.Repeat("x", 20_000)), "text of more than 10000 bytes", nil, false, true, 1},
		{"many nodes", xmlOf("<array><data>" + strings.Repeat("<value/>", 2000) + "</data></array>"), "a value of more than 10000 bytes", nil, false, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int32
			client := serve(t, func(w http.ResponseWriter, r *http.Request) { requests.Add(1); c.h(w, r) }, Options{MaxReply: 10_000})
			_, err := client.Call(t.Context(), Call{Method: "getTag", Args: []any{1}})
			if err == nil || !strings.Contains(err.Error(), c.say) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %v, want %q", err, c.say)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			for _, class := range []error{ErrNotHub, ErrLogin, ErrRefused} {
				if class != c.is && errors.Is(err, class) {
					t.Errorf("%v is %v", err, class)
				}
			}
			if Temporary(err) != c.temporary || Splittable(err) != c.split {
				t.Errorf("%v: temporary %t, splittable %t", err, Temporary(err), Splittable(err))
			}
			if requests.Load() != c.requests {
				t.Errorf("%d requests, want %d", requests.Load(), c.requests)
			}
		})
	}
}

// A bad row is named so that it can be found.
func TestBadRowIsNamed(t *testing.T) {
	r := find(t, "listTaggedRPMS.f42-inherit-latest")
	bad := bytes.Replace(r.response, []byte("<string>2.41</string>"), []byte("<string>2.\x0241</string>"), 2)
	bad = bytes.Replace(bad, []byte("2.\x0241"), []byte("2.41"), 1) // the second one only
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(bad) }, Options{})
	n := 0
	err := c.StreamTables(t.Context(), Call{Method: r.Method}, func(string, Row) error { n++; return nil })
	want := ReplyError{Method: "listTaggedRPMS", Offset: int64(bytes.Index(bad, []byte("\x02"))), Table: "0", Row: 1,
		Seen: `arch="i686" build_id=5 id=22 name="glibc" release="5.fc42"`, Err: errors.New("character U+0002, which XML does not allow")}
	var got *ReplyError
	if !errors.As(err, &got) || n != 1 {
		t.Fatalf("%v after %d rows", err, n)
	}
	if got.Error() != want.Error() || got.Offset != want.Offset || got.Row != 1 {
		t.Errorf("got  %v\nwant %v", got, &want)
	}
	// In a multicall the call is named.
	h := newMultiHub(t)
	h.results[6] = one(idRow(4) + "\x03")
	c = serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, h.reply(r)) }, Options{})
	err = c.StreamMultiFaults(t.Context(), calls(7), func(int, Row) error { return nil }, func(*CallError) error { return nil })
	var call *CallError
	if !errors.As(err, &call) || call.Index != 6 || !Splittable(err) || !strings.Contains(err.Error(), "getBuild(6): reply of ") {
		t.Errorf("%v", err)
	}
}

func TestNetworkErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c, _ := New("http://"+l.Addr().String()+"/kojihub", Options{RetryInterval: 1, Retries: 1})
	if _, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || !Temporary(err) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}

	// A connection closed without an answer.
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}, Options{})
	if _, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || !Temporary(err) {
		t.Errorf("closed: %v", err)
	}

	// A hub that is silent, before its reply and in it.
	for _, begin := range []string{"", "<methodResponse>"} {
		done := make(chan struct{})
		c = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				io.WriteString(w, begin)
				http.NewResponseController(w).Flush()
			}
			<-done
		}, Options{RequestTimeout: time.Millisecond * 50, Retries: -1})
		_, err := c.Call(t.Context(), Call{Method: "getTag"})
		close(done)
		if err == nil || !Temporary(err) || !strings.Contains(err.Error(), "silent too long (50ms)") {
			t.Errorf("silent after %q: %v", begin, err)
		}
	}

	// Certificates are not cured by time.
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	defer s.Close()
	c, _ = New(s.URL, Options{Retries: -1})
	if _, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || Temporary(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	c, _ = New(strings.Replace(s.URL, "https:", "http:", 1), Options{Retries: -1})
	if _, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || Temporary(err) {
		t.Errorf("http to https: %v", err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	c, _ = New(strings.Replace(plain.URL, "http:", "https:", 1), Options{Retries: -1})
	if _, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || Temporary(err) {
		t.Errorf("https to http: %v", err)
	}
}

// Cancelling ends a call at once: while it waits for its turn, for the reply, for
// the rest of the reply, or to be repeated. It is not temporary.
func TestCancelled(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	for name, h := range map[string]func(w http.ResponseWriter, cancel func()){
		"reply": func(w http.ResponseWriter, cancel func()) { cancel(); <-done },
		"rest": func(w http.ResponseWriter, cancel func()) {
			io.WriteString(w, "<methodResponse>")
			http.NewResponseController(w).Flush()
			cancel()
			<-done
		},
		"repeat": func(w http.ResponseWriter, cancel func()) { w.WriteHeader(503); cancel() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { h(w, cancel) }, Options{RetryInterval: time.Hour, Jobs: 1})
		_, err := c.Call(ctx, Call{Method: "getTag"})
		if !errors.Is(err, context.Canceled) || Temporary(err) {
			t.Errorf("%s: %v", name, err)
		}
		c.jobs <- struct{}{} // every place taken
		if _, err := c.Call(ctx, Call{Method: "getTag"}); !errors.Is(err, context.Canceled) {
			t.Errorf("no place: %v", err)
		}
		if _, err := c.Multi(ctx, calls(3)); !errors.Is(err, context.Canceled) {
			t.Errorf("multi: %v", err)
		}
		if err := c.StreamMulti(ctx, calls(3), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("stream multi: %v", err)
		}
	}
}

// The results of many multicalls are kept until the last is there: they have a limit together.
func TestMultiKeeps(t *testing.T) {
	text := one("<string>" + strings.Repeat("x", 6<<20) + "</string>")
	requests := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		io.WriteString(w, "<methodResponse><params><param><value><array><data>"+text+"</data></array></value></param></params></methodResponse>")
	}, Options{BatchSize: 1, Jobs: 1})
	if results, err := c.Multi(t.Context(), calls(10)); err != nil || len(results) != 10 {
		t.Fatalf("10 results: %v", err)
	}
	requests = 0
	_, err := c.Multi(t.Context(), calls(100))
	if !Flooded(err) || Splittable(err) || Temporary(err) || !strings.Contains(err.Error(), "hub "+c.URL()+" sends results of more than 67108864 bytes in all") || requests > 12 {
		t.Errorf("%d requests: %v", requests, err)
	}
}
