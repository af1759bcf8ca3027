package hub

import (
	"io"
	"net/http"
	"slices"
	"testing"
)

func TestVersion(t *testing.T) {
	old := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	reply := func(v string) string {
		return "<methodResponse><params><param><value>" + v + "</value></param></params></methodResponse>"
	}
	invalid := "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>1000</int></value></member>" +
		"<member><name>faultString</name><value>Invalid method: getKojiVersion</value></member></struct></value></fault></methodResponse>"
	for _, c := range []struct {
		h    http.HandlerFunc
		want Version
		text string
	}{
		{find(t, "getKojiVersion.plain").answer, Version{1, 35, 3}, "1.35.3"},
		{old(reply("1.34.0")), Version{1, 34, 0}, "1.34.0"},
		{old(reply("1.23")), Version{1, 23, -1}, "1.23"},
		{old(reply("2.0.1-5.el9")), Version{2, 0, 1}, "2.0.1"},
		{old(invalid), Version{1, 22, -1}, "1.22"},
	} {
		n := 0
		client := serve(t, func(w http.ResponseWriter, r *http.Request) { n++; c.h(w, r) }, Options{})
		for range 2 {
			if got, err := client.Version(t.Context()); err != nil || got != c.want || got.String() != c.text {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		}
		if n != 1 {
			t.Errorf("%s: asked %d times", c.text, n)
		}
	}
	for _, bad := range []string{"one", "1", "1.", "", "<nil/>"} {
		if v, err := serve(t, old(reply(bad)), Options{}).Version(t.Context()); err == nil {
			t.Errorf("%q is version %v", bad, v)
		}
	}
	if v := (Version{1, 34, 0}); !v.AtLeast(1, 34) || v.AtLeast(1, 35) || v.AtLeast(2, 0) || !v.AtLeast(0, 99) {
		t.Error("AtLeast")
	}
	// Any reply tells the version; no further call is needed.
	n := 0
	r := find(t, "listVolumes.plain")
	client := serve(t, func(w http.ResponseWriter, req *http.Request) { n++; r.answer(w, req) }, Options{})
	if _, err := client.Call(t.Context(), Call{Method: "listVolumes"}); err != nil {
		t.Fatal(err)
	}
	if v, err := client.Version(t.Context()); err != nil || v != (Version{1, 35, 3}) || n != 1 {
		t.Errorf("%v, %v after %d requests", v, err, n)
	}
}

// Each change of version is noted, also there and back.
func TestVersions(t *testing.T) {
	now := ""
	r := find(t, "listVolumes.plain")
	client := serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Koji-Version", now)
		w.Write(r.response)
	}, Options{})
	for _, now = range []string{"1.35.3", "1.35.3", "1.36.0", "1.35.3"} {
		if _, err := client.Call(t.Context(), Call{Method: "listVolumes"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := client.Versions(), []Version{{1, 35, 3}, {1, 36, 0}, {1, 35, 3}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if v, err := client.Version(t.Context()); err != nil || v != (Version{1, 35, 3}) {
		t.Errorf("%v, %v", v, err)
	}
}
