package hub

import (
	"errors"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// What is sent for a call holds the values of the request that was recorded of
// Koji's own client for the same call.
func TestEncodeAsRecorded(t *testing.T) {
	checked := 0
	for _, r := range recordings(t) {
		if _, ok := readOnly[r.Method]; !ok || r.Case == "wire-extras" || r.Case == "big-int" {
			continue // those two were written by hand: no arguments make them
		}
		call := Call{Method: r.Method, Args: r.Args, Kwargs: r.Kwargs}
		params, err := call.params()
		if err != nil {
			if r.name() != "getRPMChecksums.bash" {
				t.Errorf("%s: %v", r.name(), err)
			}
			continue
		}
		got, err := encodeRequest(r.Method, params)
		if err != nil {
			t.Errorf("%s: %v", r.name(), err)
			continue
		}
		want, err := reference(r.request)
		if err != nil {
			continue // made ill-formed on purpose
		}
		sent, err := reference(got)
		if err != nil {
			t.Errorf("%s: %v in %s", r.name(), err, got)
			continue
		}
		checked++
		if !reflect.DeepEqual(unordered(sent), unordered(want)) {
			t.Errorf("%s: got\n%v\nwant\n%v", r.name(), unordered(sent), unordered(want))
		}
		if !strings.Contains(string(got), "<methodName>"+r.Method+"</methodName>") {
			t.Errorf("%s: no such method in %s", r.name(), got)
		}
	}
	if checked < 150 {
		t.Errorf("only %d requests compared", checked)
	}
}

// unordered makes maps of structs, whose order means nothing in a request, and
// numbers of doubles, however written. Line breaks become LF: Python sends CR as
// it is, which XML reads as LF; kolo's encoder escapes it, so that it arrives.
func unordered(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(strings.ReplaceAll(v, "\r\n", "\n"), "\r", "\n")
	case double:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			panic(err)
		}
		return f
	case []any:
		for i := range v {
			v[i] = unordered(v[i])
		}
		return v
	case []member:
		m := map[string]any{}
		for _, e := range v {
			m[e.name] = unordered(e.value)
		}
		return m
	}
	return v
}

func TestEncodeValues(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "<nil/>"},
		{[]any{nil, map[string]any{"a": nil}}, "<array><data><value><nil/></value><value><struct><member><name>a</name><value><nil/></value></member></struct></value></data></array>"},
		{true, "<boolean>1</boolean>"},
		{-5, "<int>-5</int>"},
		{int32(5), "<int>5</int>"},
		{int64(math.MaxInt32), "<int>2147483647</int>"},
		{int64(math.MinInt32), "<int>-2147483648</int>"},
		{math.MaxInt32 + 1, "<i8>2147483648</i8>"},
		{int64(math.MinInt64), "<i8>-9223372036854775808</i8>"},
		{1795222000.248079, "<double>1795222000.248079</double>"},
		{"", "<string></string>"},
		{"<base64>nil</base64>&", "<string>&lt;base64&gt;nil&lt;/base64&gt;&amp;</string>"},
		{"údržba\n\t", "<string>údržba&#xA;&#x9;</string>"},
		{[]string{"a", "b"}, "<array><data><value><string>a</string></value><value><string>b</string></value></data></array>"},
		{[]int{}, "<array><data></data></array>"},
		{[]int64{1 << 40}, "<array><data><value><i8>1099511627776</i8></value></data></array>"},
		{map[string]any{}, "<struct></struct>"},
	} {
		got, err := encodeRequest("m", []any{c.value})
		want := `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>m</methodName><params><param><value>` + c.want + `</value></param></params></methodCall>`
		if err != nil || string(got) != want {
			t.Errorf("%#v: got %s, %v", c.value, got, err)
		}
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), "a\x00b", "a\x1bb", "\xff", "\ufffe", uint8(3), struct{}{},
		map[string]any{"<": 1}, map[string]any{"a b": 1}, []any{[]byte{1}}} {
		if got, err := encodeRequest("m", []any{bad}); err == nil {
			t.Errorf("%#v became %s", bad, got)
		}
	}
}

// Nothing but reading is ever sent, also inside a multicall.
func TestRefused(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("sent: %s", read(t, r.Body))
	}, Options{})
	for _, call := range []Call{
		{Method: "createTag", Args: []any{"x"}},
		{Method: "tagBuild", Args: []any{"f42", "bash-1-1"}},
		{Method: "login", Args: []any{"a", "b"}},
		{Method: "multiCall", Args: []any{[]any{map[string]any{"methodName": "createTag", "params": []any{"x"}}}}},
		{Method: "system.multicall", Args: []any{[]any{}}},
		{Method: "filterResults", Args: []any{"createTag", "x"}},
		{Method: "countAndFilterResults", Args: []any{"listTags"}},
		{Method: "count", Args: []any{"listTags"}},
		{Method: "host.getHostTasks"},
		{Method: "repo.request"},
		{Method: "getTag</methodName>"},
		{Method: ""},
		{Method: "getRPMChecksums", Args: []any{5}},
		{Method: "getRPMChecksums", Args: []any{5}, Kwargs: map[string]any{"cacheonly": false}},
		{Method: "getRPMChecksums", Args: []any{5}, Kwargs: map[string]any{"cacheonly": 1}},
		{Method: "getRPMChecksums", Args: []any{5, nil, false}, Kwargs: map[string]any{"cacheonly": true}},
		{Method: "getRPMChecksums", Args: []any{5, map[string]any{"__starstar": true}}},
		{Method: "listTags", Args: []any{map[string]any{"__starstar": true, "queryOpts": nil}}},
		{Method: "listBuilds", Kwargs: map[string]any{"queryOpts": map[string]any{"rowlock": true}}},
		{Method: "listBuilds", Args: []any{nil, map[string]any{"rowlock": false}}},
		{Method: "repo.query", Args: []any{[]any{}, nil, map[string]any{"rowlock": true}}},
	} {
		fine := Call{Method: "getTag", Args: []any{"f42"}}
		errs := map[string]error{}
		_, errs["Call"] = c.Call(t.Context(), call)
		_, errs["Multi"] = c.Multi(t.Context(), []Call{fine, call})
		errs["Stream"] = c.Stream(t.Context(), call, func(Row) error { return nil })
		errs["StreamTables"] = c.StreamTables(t.Context(), call, func(string, Row) error { return nil })
		errs["StreamMulti"] = c.StreamMulti(t.Context(), []Call{fine, call}, func(int, Row) error { return nil })
		for how, err := range errs {
			if !errors.Is(err, ErrRefused) || Temporary(err) {
				t.Errorf("%s of %s: %v", how, call, err)
			}
		}
	}
	for _, call := range []Call{
		{Method: "getRPMChecksums", Args: []any{5}, Kwargs: map[string]any{"cacheonly": true}},
		{Method: "getRPMChecksums", Args: []any{5, nil, true}},
	} {
		if err := checkRead(call); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Call(t.Context(), Call{Method: "getTag", Args: []any{1}, Kwargs: map[string]any{"__starstar": false}}); err == nil {
		t.Error("__starstar as an argument's name was sent")
	}
	if _, err := c.Call(t.Context(), Call{Method: "getTag", Args: []any{long(5 << 20)}}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("5 MiB: %.200v", err)
	}
}

func TestNewRefusesURLs(t *testing.T) {
	for url, say := range map[string]string{
		"koji.example.org/kojihub":         "want http://",
		"ftp://koji.example.org/kojihub":   "want http://",
		"http:///kojihub":                  "want http://",
		"http://h/kojihub?callnum=1":       "query string",
		"http://h/kojihub?":                "query string",
		"http://h/kojihub#x":               "fragment",
		"https://me:s3cret@h/kojihub":      "user and password",
		"https://me:s3cret@h:port/kojihub": "want http://",
		"https://h/kojihub\n":              "want http://",
	} {
		_, err := New(url, Options{})
		if err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New("https://h/kojihub", Options{Contact: "a\r\nX: y"}); err == nil {
		t.Error("a header in the contact was taken")
	}
}
