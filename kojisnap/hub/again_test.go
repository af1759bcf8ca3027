package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

// cutting answers with a reply whose first sending ends at a byte.
type cutting struct {
	reply    []byte
	cut      int
	requests int
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", fmt.Sprint(len(c.reply)))
	body := c.reply
	if c.requests++; c.requests == 1 {
		body = body[:c.cut]
	}
	w.Write(body)
}

// A call that may come again does, wherever its reply was cut off: the rows of the last try are
// all there is, and Again was called before them. A Call keeps nothing of a first try either.
func TestAgain(t *testing.T) {
	table := find(t, "listVolumes.plain")
	tree, err := reference(table.response)
	if err != nil {
		t.Fatal(err)
	}
	want := tree.([]any)
	// The same rows as a struct of tables.
	tables := strings.Replace(string(table.response), "<array>", "<struct><member><name>volume</name><value><array>", 1)
	at := strings.LastIndex(tables, "</array>") + len("</array>")
	tables = tables[:at] + "</value></member></struct>" + tables[at:]

	for name, test := range map[string]struct {
		reply string
		ask   func(c *Client, call Call, row func(Row) error) error
	}{
		"Stream": {string(table.response), func(c *Client, call Call, row func(Row) error) error {
			return c.Stream(t.Context(), call, row)
		}},
		"StreamTables": {tables, func(c *Client, call Call, row func(Row) error) error {
			return c.StreamTables(t.Context(), call, func(_ string, r Row) error { return row(r) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cuts, repeated := 0, 0
			h := &cutting{reply: []byte(test.reply)}
			c := serve(t, h.ServeHTTP, Options{})
			for cut := range test.reply {
				if !seedtest.Long() && cut%3 > 0 {
					continue
				}
				cuts++
				h.cut, h.requests = cut, 0
				var got []any
				again := func() { repeated++; got = nil }
				err := test.ask(c, Call{Method: "listVolumes", Again: again}, func(r Row) error {
					got = append(got, ordered(r.Value))
					return nil
				})
				if err != nil || !reflect.DeepEqual(got, want) || h.requests != 2 {
					t.Fatalf("cut at %d: %v, %d requests, rows %v", cut, err, h.requests, got)
				}
			}
			if repeated < cuts/4 {
				t.Errorf("Again was called for %d of %d cuts", repeated, cuts)
			}
		})
	}
	t.Run("Call", func(t *testing.T) {
		h := &cutting{reply: table.response}
		c := serve(t, h.ServeHTTP, Options{})
		for cut := range table.response {
			h.cut, h.requests = cut, 0
			v, err := c.Call(t.Context(), Call{Method: "listVolumes"})
			if err != nil || !reflect.DeepEqual(ordered(v), tree) || h.requests != 2 {
				t.Fatalf("cut at %d: %v, %v after %d requests", cut, v, err, h.requests)
			}
		}
	})
}

// With Again the rest of a multicall is asked for wherever it was cut off, and no row counts that
// was of a result that did not arrive whole.
func TestAgainMulti(t *testing.T) {
	h := newMultiHub(t)
	whole, cut := "", 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		first := len(h.requests) == 0
		reply := h.reply(r)
		w.Header().Set("Content-Length", fmt.Sprint(len(reply)))
		if first {
			whole = reply
			reply = reply[:cut]
		}
		io.WriteString(w, reply)
	}, Options{})
	want := []string{"0/1", "0/2", "1/3", "2/", "3/", "4 fault", "6/4"}
	for ; cut == 0 || cut < len(whole); cut++ {
		h.requests = nil
		var got []string
		list := calls(7)
		for i := range list {
			list[i].Again = func() {
				for len(got) > 0 && strings.HasPrefix(got[len(got)-1], fmt.Sprint(i, "/")) {
					got = got[:len(got)-1]
				}
			}
		}
		err := c.StreamMultiFaults(t.Context(), list, func(i int, r Row) error {
			id, _ := r.Get("id").Int()
			got = append(got, strings.TrimSuffix(fmt.Sprintf("%d/%d", i, id), "0"))
			return nil
		}, func(e *CallError) error {
			got = append(got, fmt.Sprint(e.Index, " fault"))
			return nil
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at %d of %d: %v, %q", cut, len(whole), err, got)
		}
	}
}

// A hub that goes offline in a multicall says so in the result of one call. It is the hub's state
// and passes: that call and those after it are asked for again.
func TestOfflineInMulticall(t *testing.T) {
	offline := strings.Replace(strings.Replace(faultResult, "1000", "1014", 1), "No such build", "database outage", 1)
	for at := range int64(7) {
		if at == 4 { // a fault of its own
			continue
		}
		for name, ask := range map[string]func(*Client) (int, error){
			"Multi": func(c *Client) (int, error) {
				results, err := c.Multi(t.Context(), calls(7))
				if err == nil && (results[at].Err != nil || results[4].Err == nil) {
					t.Errorf("results %v", results)
				}
				return len(results), err
			},
			"StreamMulti": func(c *Client) (rows int, err error) {
				err = c.StreamMultiFaults(t.Context(), calls(7), func(int, Row) error { rows++; return nil }, func(e *CallError) error {
					if e.Index != 4 {
						t.Errorf("a fault of %v", e)
					}
					return nil
				})
				return rows, err
			},
		} {
			t.Run(fmt.Sprint(name, " ", at), func(t *testing.T) {
				h := newMultiHub(t)
				right := h.results[at]
				for _, times := range []int{2, 100} {
					left := times
					c := serve(t, func(w http.ResponseWriter, r *http.Request) {
						h.results[at] = right
						if left--; left >= 0 {
							h.results[at] = offline
						}
						io.WriteString(w, h.reply(r))
					}, Options{})
					n, err := ask(c)
					var fault *Fault
					switch {
					case times == 2 && (err != nil || n < 5):
						t.Errorf("back again: %d, %v", n, err)
					case times == 100 && (!Temporary(err) || !errors.As(err, &fault) || !strings.Contains(err.Error(), "the hub is offline: fault 1014: database outage")):
						t.Errorf("offline for ever: %v", err)
					}
				}
			})
		}
	}
}
