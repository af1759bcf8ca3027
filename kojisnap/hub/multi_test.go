package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// multiHub answers multicalls of getBuild and others made up here: call N gives
// what results[N] holds, N being the first argument.
type multiHub struct {
	t        testing.TB
	results  map[int64]string
	mu       sync.Mutex
	requests [][]int64 // what each multicall asked for
}

func (h *multiHub) reply(r *http.Request) string {
	tree, err := reference(read(h.t, r.Body))
	if err != nil {
		h.t.Error(err)
		return ""
	}
	var ids []int64
	var b strings.Builder
	b.WriteString("<methodResponse><params><param><value><array><data>")
	for _, call := range unordered(tree).([]any)[0].([]any) {
		id := call.(map[string]any)["params"].([]any)[0].(int64)
		ids = append(ids, id)
		b.WriteString(h.results[id])
	}
	h.mu.Lock()
	h.requests = append(h.requests, ids)
	h.mu.Unlock()
	b.WriteString("</data></array></value></param></params></methodResponse>")
	return b.String()
}

func one(v string) string {
	return "<value><array><data><value>" + v + "</value></data></array></value>"
}

const faultResult = `<value><struct><member><name>faultCode</name><value><int>1000</int></value></member>` +
	`<member><name>faultString</name><value><string>No such build</string></value></member>` +
	`<member><name>traceback</name><value><array><data></data></array></value></member></struct></value>`

func idRow(n int) string {
	return fmt.Sprintf("<struct><member><name>id</name><value><int>%d</int></value></member></struct>", n)
}

func newMultiHub(t testing.TB) *multiHub {
	rows := func(n ...int) (s string) {
		s = "<array><data>"
		for _, n := range n {
			s += "<value>" + idRow(n) + "</value>"
		}
		return s + "</data></array>"
	}
	return &multiHub{t: t, results: map[int64]string{
		0: one(rows(1, 2)), 1: one(idRow(3)), 2: one("<nil/>"), 3: one("text"), 4: faultResult, 5: one(rows()), 6: one(rows(4)),
	}}
}

func calls(n int) (list []Call) {
	for i := range n {
		list = append(list, Call{Method: "getBuild", Args: []any{i}})
	}
	return list
}

func TestMulti(t *testing.T) {
	h := newMultiHub(t)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, h.reply(r)) }, Options{BatchSize: 3})
	list := calls(7)
	results, err := c.Multi(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	fault := &Fault{1000, "No such build"}
	var got []any
	for _, r := range results {
		if r.Err != nil {
			got = append(got, r.Err)
			continue
		}
		got = append(got, r.Value.Any())
	}
	id := func(n int64) any { return map[string]any{"id": n} }
	want := []any{[]any{id(1), id(2)}, id(3), nil, "text", &CallError{4, list[4], fault}, []any{}, []any{id(4)}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if say := got[4].(error).Error(); say != "getBuild(4): fault 1000: No such build" {
		t.Errorf("error says %q", say)
	}
	if len(h.requests) != 3 {
		t.Errorf("requests: %v", h.requests)
	}
	if none, err := c.Multi(t.Context(), nil); err != nil || len(none) != 0 || len(h.requests) != 3 {
		t.Errorf("no calls: %v, %v", none, err)
	}

	// A whole multicall's fault, and a reply for other calls, are errors.
	for reply, say := range map[string]string{
		string(find(t, "multiCall.server-offline").response):                                                     "the hub is offline",
		"<methodResponse><params><param><value><array><data/></array></value></param></params></methodResponse>": "array of 0 results for 3 calls",
		"<methodResponse><params><param><value><array><data>" + strings.Repeat("<value>1</value>", 3) +
			"</data></array></value></param></params></methodResponse>": "neither a result nor a fault",
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, reply) }, Options{Retries: -1})
		if _, err := c.Multi(t.Context(), calls(3)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("got %v, want %q", err, say)
		}
	}
}

// Requests stay below the hub's limit whatever BatchSize says.
func TestMultiRequestSize(t *testing.T) {
	var sizes []int64
	h := &multiHub{t: t, results: map[int64]string{}}
	var list []Call
	for i := range 100 {
		h.results[int64(i)] = one(fmt.Sprintf("<int>%d</int>", i))
		list = append(list, Call{Method: "getBuild", Args: []any{i, long(900)}})
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sizes = append(sizes, r.ContentLength)
		io.WriteString(w, h.reply(r))
	}, Options{MaxRequest: 20_000, Jobs: 1})
	results, err := c.Multi(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if n, ok := r.Value.Int(); !ok || n != int64(i) {
			t.Errorf("result %d: %v", i, r)
		}
	}
	if len(sizes) < 6 || len(sizes) > 12 {
		t.Errorf("%d requests: %v", len(sizes), sizes)
	}
	for _, n := range sizes {
		if n > 20_000 {
			t.Errorf("a request of %d bytes", n)
		}
	}
	if _, err := c.Multi(t.Context(), []Call{{Method: "getBuild", Args: []any{long(30_000)}}}); !errors.Is(err, errTooLong) {
		t.Errorf("one call too long: %v", err)
	}
}

func TestStreamMulti(t *testing.T) {
	h := newMultiHub(t)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, h.reply(r)) }, Options{BatchSize: 3})
	var got []string
	collect := func(i int, r Row) error {
		got = append(got, fmt.Sprintf("%d %s", i, r.Value))
		return nil
	}
	err := c.StreamMultiFaults(t.Context(), calls(7), collect, func(e *CallError) error {
		got = append(got, e.Error())
		return nil
	})
	want := []string{`0 {"id": 1}`, `0 {"id": 2}`, `1 {"id": 3}`, `2 null`, `3 "text"`, `getBuild(4): fault 1000: No such build`, `6 {"id": 4}`}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
	}
	got = nil
	err = c.StreamMulti(t.Context(), calls(7), collect)
	var call *CallError
	if !errors.As(err, &call) || call.Index != 4 || !reflect.DeepEqual(got, want[:5]) {
		t.Errorf("%v\ngot  %q", err, got)
	}
}

// A multicall that is cut off is asked for again from the first call that was
// not answered whole; where a part of its rows was seen, there is an error.
func TestStreamMultiCutOff(t *testing.T) {
	whole := ""
	{
		h := newMultiHub(t)
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { whole = h.reply(r); io.WriteString(w, whole) }, Options{})
		if err := c.StreamMultiFaults(t.Context(), calls(7), func(int, Row) error { return nil }, func(*CallError) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`0 {"id": 1}`, `0 {"id": 2}`, `1 {"id": 3}`, `2 null`, `3 "text"`, `getBuild(4): fault 1000: No such build`, `6 {"id": 4}`}
	resumed, failed := 0, 0
	for cut := range whole {
		if !seedtest.Long() && cut%3 > 0 {
			continue
		}
		h := newMultiHub(t)
		first := true
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			reply := h.reply(r)
			w.Header().Set("Content-Length", fmt.Sprint(len(reply)))
			if first {
				first = false
				reply = reply[:cut]
			}
			io.WriteString(w, reply)
		}, Options{})
		var got []string
		err := c.StreamMultiFaults(t.Context(), calls(7), func(i int, r Row) error {
			got = append(got, fmt.Sprintf("%d %s", i, r.Value))
			return nil
		}, func(e *CallError) error {
			got = append(got, e.Error())
			return nil
		})
		switch {
		case err == nil && reflect.DeepEqual(got, want):
			if len(h.requests) > 1 && len(h.requests[1]) < 7 {
				resumed++
			}
		case err != nil && Temporary(err) && len(got) < len(want)+1 && reflect.DeepEqual(got, want[:len(got)]):
			failed++
		default:
			t.Fatalf("cut at %d: %v, got %q", cut, err, got)
		}
	}
	if resumed == 0 || failed == 0 || resumed < failed {
		t.Errorf("of %d cuts %d resumed, %d failed", len(whole), resumed, failed)
	}
}
