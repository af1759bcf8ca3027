package hub_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// A hub with all rows of kojiprod, called in every way at once, by one Client.
func TestAgainstHub(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(rows, hubtest.Options{})
	s := httptest.NewServer(server)
	defer s.Close()
	c, err := hub.New(s.URL+"/kojihub", hub.Options{Jobs: 2, BatchSize: 7})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()

	var ids []int64
	names := map[int64]string{}
	if err := c.Stream(ctx, hub.Call{Method: "listBuilds", Kwargs: map[string]any{"queryOpts": map[string]any{"order": "build_id"}}}, func(r hub.Row) error {
		id, ok := r.Get("build_id").Int()
		nvr, ok2 := r.Get("nvr").Str()
		if !ok || !ok2 {
			return fmt.Errorf("row %s", r)
		}
		ids = append(ids, id)
		names[id] = nvr
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := count(t, "build.tsv"); len(ids) != want {
		t.Fatalf("%d builds, the table has %d", len(ids), want)
	}

	var calls []hub.Call
	for _, id := range ids {
		calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id}})
	}
	calls = append(calls, hub.Call{Method: "getBuild", Args: []any{int64(1) << 30}}, // nil
		hub.Call{Method: "getBuild", Args: []any{"no-1-1"}, Kwargs: map[string]any{"strict": true}}) // fault
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			results, err := c.Multi(ctx, calls)
			if err != nil {
				return err
			}
			for i, id := range ids {
				if nvr, _ := results[i].Value.Field("nvr").Str(); nvr != names[id] || results[i].Err != nil {
					return fmt.Errorf("getBuild(%d): %s, %v, want %s", id, nvr, results[i].Err, names[id])
				}
			}
			var fault *hub.Fault
			if last := results[len(ids):]; !last[0].Value.IsNil() || !errors.As(last[1].Err, &fault) || fault.Code != hub.FaultGeneric {
				return fmt.Errorf("the last two: %v", last)
			}
			return nil
		})
		g.Go(func() error {
			var got []int64
			faults := 0
			err := c.StreamMultiFaults(ctx, calls, func(i int, r hub.Row) error {
				if id, ok := r.Get("id").Int(); ok != r.IsNil() && i < len(ids) {
					got = append(got, id)
				}
				return nil
			}, func(*hub.CallError) error { faults++; return nil })
			if err == nil && (!reflect.DeepEqual(got, ids) || faults != 1) {
				err = fmt.Errorf("streamed %v with %d faults", got, faults)
			}
			return err
		})
		g.Go(func() error {
			n := map[string]int{}
			err := c.StreamTables(ctx, hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []string{"tag_listing", "tag_packages", "tag_config"}}},
				func(table string, r hub.Row) error { n[table]++; return nil })
			if want := map[string]int{"tag_listing": count(t, "tag_listing.tsv"), "tag_packages": count(t, "tag_packages.tsv"), "tag_config": count(t, "tag_config.tsv")}; err == nil && !reflect.DeepEqual(n, want) {
				err = fmt.Errorf("history of %v, want %v", n, want)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if v, err := c.Version(ctx); err != nil || v != (hub.Version{Major: 1, Minor: 35, Patch: 3}) {
		t.Errorf("version %v, %v", v, err)
	}
}

// A multicall's reply that this hub cuts short is asked for again in part.
func TestCutOffByHub(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	var replies atomic.Int32
	s := httptest.NewServer(hubtest.New(rows, hubtest.Options{Tamper: func(_ string, body []byte) []byte {
		if replies.Add(1) == 1 {
			return body[:len(body)*2/3]
		}
		return body
	}}))
	defer s.Close()
	c, err := hub.New(s.URL, hub.Options{RetryInterval: 1})
	if err != nil {
		t.Fatal(err)
	}
	var calls []hub.Call
	for id := range 20 {
		calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id + 1}})
	}
	var got []int64
	if err := c.StreamMulti(t.Context(), calls, func(i int, r hub.Row) error {
		id, _ := r.Get("id").Int()
		got = append(got, id-int64(i))
		return nil
	}); err != nil || replies.Load() != 2 {
		t.Errorf("%v after %d replies", err, replies.Load())
	}
	for i, n := range got {
		if n != 1 || len(got) != 20 {
			t.Errorf("%d rows, %d: %d", len(got), i, n)
		}
	}
}

func count(t *testing.T, table string) int {
	b, err := fs.ReadFile(kojiprod.Rows(), table)
	if err != nil {
		t.Error(err)
	}
	return strings.Count(string(b), "\n") - 1
}
