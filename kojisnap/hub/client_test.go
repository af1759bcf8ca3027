package hub

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kolo/xmlrpc"
)

// Every recorded call that may be made gives, through a Client, the recorded
// value or fault.
func TestCallRecordings(t *testing.T) {
	called := 0
	for _, r := range recordings(t) {
		call := Call{Method: r.Method, Args: r.Args, Kwargs: r.Kwargs}
		if checkRead(call) != nil || r.HTTPStatus != 200 {
			continue
		}
		called++
		c := serve(t, r.answer, Options{Retries: -1})
		v, err := c.Call(t.Context(), call)
		if r.Fault != nil {
			var fault *Fault
			tree, err2 := reference(r.response) // the index shortens long texts
			want, _ := tree.(Fault)
			if err2 != nil || want.Code != r.Fault.Code || !strings.HasPrefix(want.String, r.Fault.String) {
				t.Fatalf("%s: reference: %v, %v", r.name(), tree, err2)
			}
			var kolo xmlrpc.FaultError
			if !errors.As(err, &fault) || *fault != want || !errors.As(err, &kolo) || kolo != xmlrpc.FaultError(want) {
				t.Errorf("%s: got %v, want %v", r.name(), err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", r.name(), err)
			continue
		}
		want, err := reference(r.response)
		if err != nil {
			t.Fatal(err)
		}
		if got := ordered(v); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", r.name(), got, want)
		}
	}
	if called < 150 {
		t.Errorf("only %d calls", called)
	}
}

func TestStreams(t *testing.T) {
	rows := func(v any) (all []any) { // as given to fn, cloned after the fact
		return v.([]any)
	}
	t.Run("Stream", func(t *testing.T) {
		r := find(t, "listBuilds.all")
		var got []any
		var kept []Value
		err := serve(t, r.answer, Options{}).Stream(t.Context(), Call{Method: r.Method}, func(r Row) error {
			got = append(got, ordered(r.Value))
			kept = append(kept, r.Clone())
			return nil
		})
		want, _ := reference(r.response)
		if err != nil || !reflect.DeepEqual(got, rows(want)) || len(got) < 50 {
			t.Errorf("%d rows, %v", len(got), err)
		}
		for i, v := range kept {
			if !reflect.DeepEqual(ordered(v), got[i]) {
				t.Fatalf("clone %d changed to %v", i, v)
			}
		}
	})
	t.Run("StreamTables", func(t *testing.T) {
		for _, name := range []string{"queryHistory.all-tag", "listTaggedRPMS.sigs", "listTaggedArchives.maven"} {
			r := find(t, name)
			got := map[string][]any{}
			err := serve(t, r.answer, Options{}).StreamTables(t.Context(), Call{Method: r.Method}, func(table string, r Row) error {
				got[table] = append(got[table], ordered(r.Value))
				return nil
			})
			want := map[string][]any{}
			tree, _ := reference(r.response)
			switch tree := tree.(type) {
			case []any:
				for i, table := range tree {
					want[fmt.Sprint(i)] = rows(table)
				}
			case []member:
				for _, m := range tree {
					if len(rows(m.value)) > 0 {
						want[m.name] = rows(m.value)
					}
				}
			}
			if err != nil || !reflect.DeepEqual(got, want) || len(got) < 2 {
				t.Errorf("%s: %v\ngot %v\nwant %v", name, err, got, want)
			}
		}
	})
	t.Run("wrong shape", func(t *testing.T) {
		none := func(Row) error { t.Error("a row"); return nil }
		var reply *ReplyError
		r := find(t, "getTag.byid")
		if err := serve(t, r.answer, Options{}).Stream(t.Context(), Call{Method: "getTag"}, none); !errors.As(err, &reply) {
			t.Errorf("a struct streamed: %v", err)
		}
		r = find(t, "getTag.none")
		if err := serve(t, r.answer, Options{}).StreamTables(t.Context(), Call{Method: "getTag"}, func(_ string, r Row) error { return none(r) }); !errors.As(err, &reply) {
			t.Errorf("nil streamed: %v", err)
		}
	})
	t.Run("error of fn", func(t *testing.T) {
		stop := &net.OpError{Op: "theirs", Err: errors.New("stop")} // would be temporary if it were ours
		r := find(t, "listBuilds.all")
		calls := 0
		c := serve(t, func(w http.ResponseWriter, req *http.Request) { calls++; r.answer(w, req) }, Options{})
		n := 0
		err := c.Stream(t.Context(), Call{Method: "listBuilds"}, func(Row) error {
			if n++; n == 3 {
				return stop
			}
			return nil
		})
		if err != error(stop) || n != 3 || calls != 1 {
			t.Errorf("%v after %d rows, %d requests", err, n, calls)
		}
	})
}

// A reply cut anywhere is a temporary error, never a short result; the call is
// made again if no row was given away.
func TestCutOffEverywhere(t *testing.T) {
	r := find(t, "listVolumes.plain")
	tree, _ := reference(r.response)
	want := tree.([]any)
	for cut := range r.response {
		var requests atomic.Int32
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			body := r.response
			if requests.Add(1) == 1 {
				body = body[:cut]
			}
			w.Header().Set("Content-Type", "text/xml")
			if cut%2 == 0 { // both ways that a hub's server may cut it
				w.Header().Set("Content-Length", fmt.Sprint(len(r.response)))
			}
			w.Write(body)
		}, Options{})
		var got []any
		err := c.Stream(t.Context(), Call{Method: "listVolumes"}, func(r Row) error {
			got = append(got, ordered(r.Value))
			return nil
		})
		last := len(r.response) - 1 // without the last line break it is whole, but for its Content-Length
		switch {
		case err == nil && len(got) == len(want) && (requests.Load() == 2 || cut == last):
		case err != nil && Temporary(err) && requests.Load() == 1 && len(got) > 0:
			if cut == last && cut%2 == 1 {
				t.Errorf("cut at %d: %v", cut, err)
			}
		default:
			t.Errorf("cut at %d: %v, %d rows, %d requests", cut, err, len(got), requests.Load())
		}
	}
}

func TestOfflineThenBack(t *testing.T) {
	offline, back := find(t, "getKojiVersion.server-offline"), find(t, "getKojiVersion.plain")
	n := 0
	var log bytes.Buffer
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n < 3 {
			offline.answer(w, r)
			return
		}
		back.answer(w, r)
	}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	v, err := c.Call(t.Context(), Call{Method: "getKojiVersion"})
	if s, ok := v.Str(); err != nil || !ok || s != "1.35.3" || n != 3 {
		t.Errorf("%v, %v after %d requests", v, err, n)
	}
	if strings.Count(log.String(), "level=INFO") != 2 || strings.Contains(log.String(), "level=WARN") { // cron mails warnings
		t.Errorf("log: %s", &log)
	}
}

func TestRequest(t *testing.T) {
	r := find(t, "getTag.byid")
	var got http.Header
	c := serve(t, func(w http.ResponseWriter, req *http.Request) {
		got = req.Header.Clone()
		got.Set("Method", req.Method)
		got.Set("URI", req.RequestURI)
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(r.response)
		z.Close()
	}, Options{UserAgent: "kojisnap/1", Contact: "releng@example.org"})
	v, err := c.Call(t.Context(), Call{Method: "getTag", Args: []any{1}})
	want, _ := reference(r.response)
	if err != nil || !reflect.DeepEqual(ordered(v), want) {
		t.Errorf("gzip: %v, %v", v, err)
	}
	got.Del("Content-Length")
	if want := (http.Header{"Method": {"POST"}, "Uri": {"/kojihub"}, "Content-Type": {"text/xml"}, "Accept-Encoding": {"gzip"},
		"User-Agent": {"kojisnap/1 (+releng@example.org)"}, "From": {"releng@example.org"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("sent %v", got)
	}

	// Of compressed data too, a part is not the whole.
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(r.response)
	zw.Close()
	for _, cut := range []int{0, 5, z.Len() / 2, z.Len() - 1} {
		c := serve(t, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(z.Bytes()[:cut])
		}, Options{Retries: -1})
		if v, err := c.Call(t.Context(), Call{Method: "getTag"}); err == nil || !Temporary(err) {
			t.Errorf("gzip cut at %d: %v, %v", cut, v, err)
		}
	}
}

func TestStats(t *testing.T) {
	reply := "<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><int>1</int></value><value><int>2</int></value></data></array></value></param></params></methodResponse>"
	c := serve(t, func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, reply) }, Options{})
	for range 3 {
		if err := c.Stream(t.Context(), Call{Method: "listVolumes"}, func(Row) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	got := c.Stats()
	if got.Sent == 0 || got.Sent%3 != 0 {
		t.Errorf("%d bytes sent", got.Sent)
	}
	got.Sent = 0
	if want := (Stats{Requests: 3, Rows: 6, Received: int64(3 * len(reply))}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
