package hub

import (
	"net/http"
	"testing"
	"time"
)

// The hub's clock is its own, not this machine's, and is asked for once.
func TestClock(t *testing.T) {
	r := find(t, "getAPIVersion.plain")
	date := "Mon, 02 Jan 2006 15:04:05 GMT"
	n := 0
	c := serve(t, func(w http.ResponseWriter, req *http.Request) {
		n++
		w.Header().Set("Date", date)
		w.Write(r.response)
	}, Options{})
	for range 2 {
		got, err := c.Clock(t.Context())
		want := time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC)
		if err != nil || got.Before(want.Add(-time.Second)) || got.After(want.Add(time.Hour)) {
			t.Errorf("%v, %v", got, err)
		}
	}
	if n != 1 {
		t.Errorf("%d requests", n)
	}
	date = "yesterday"
	c = serve(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Date", date)
		w.Write(r.response)
	}, Options{})
	if got, err := c.Clock(t.Context()); err == nil {
		t.Errorf("the clock says %v", got)
	}
}
