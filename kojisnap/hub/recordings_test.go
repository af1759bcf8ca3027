package hub

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// recording is one call of kojiprod.
type recording struct {
	N               int
	Method          string
	Case            string
	Args            []any
	Kwargs          map[string]any
	HTTPMethod      string            `json:"http_method"`
	HTTPStatus      int               `json:"http_status"`
	ResponseHeaders map[string]string `json:"response_headers"`
	RequestFile     string            `json:"request_file"`
	ResponseFile    string            `json:"response_file"`
	Fault           *struct {
		Code   int
		String string
	}

	request, response []byte
}

func (r recording) name() string { return r.Method + "." + r.Case }

// recordings returns them all, to be read only. Numbers in arguments are int64 or
// float64.
func recordings(t testing.TB) []recording {
	t.Helper()
	list, err := allRecordings()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var allRecordings = sync.OnceValues(func() ([]recording, error) {
	index, err := fs.ReadFile(kojiprod.Recordings(), "index.json")
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(index))
	dec.UseNumber()
	var list []recording
	if err := dec.Decode(&list); err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		if r.request, err = fs.ReadFile(kojiprod.Recordings(), r.RequestFile); err != nil {
			return nil, err
		}
		if r.response, err = fs.ReadFile(kojiprod.Recordings(), r.ResponseFile); err != nil {
			return nil, err
		}
		r.Args, _ = plainNumbers(r.Args).([]any)
		r.Kwargs, _ = plainNumbers(r.Kwargs).(map[string]any)
	}
	return list, nil
})

func find(t testing.TB, name string) recording {
	t.Helper()
	for _, r := range recordings(t) {
		if r.name() == name {
			return r
		}
	}
	t.Fatalf("no recording %q", name)
	return recording{}
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			panic(err)
		}
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
		return v
	}
	return v
}

// answer serves r's recorded response, whatever is asked.
func (r recording) answer(w http.ResponseWriter, _ *http.Request) {
	for k, v := range r.ResponseHeaders {
		if k != "Content-Length" { // some bodies were edited after they were recorded
			w.Header().Set(k, v)
		}
	}
	w.WriteHeader(r.HTTPStatus)
	w.Write(r.response)
}

// serve starts a server and returns a client of it. Repetitions are quick.
func serve(t testing.TB, h http.HandlerFunc, o Options) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	if o.RetryInterval == 0 {
		o.RetryInterval = 1
	}
	c, err := New(s.URL+"/kojihub", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return b
}
