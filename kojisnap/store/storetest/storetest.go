// Package storetest is the suite that every store passes.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kojisnap/kojisnap/store"
)

// Run tests the store that open returns. Each call of open gives an empty one.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	ctx := context.Background()
	t.Run("absent", func(t *testing.T) {
		s := open(t)
		if _, err := s.Get(ctx, "segments/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get: %v, want fs.ErrNotExist", err)
		}
		if err := s.Delete(ctx, "segments/none"); err != nil {
			t.Errorf("Delete: %v", err)
		}
		if l, err := s.List(ctx, ""); err != nil || len(l) != 0 {
			t.Errorf("List: %v, %v", l, err)
		}
	})
	t.Run("round trip", func(t *testing.T) {
		s := open(t)
		want := map[string]string{"a/one": "1", "a/two.zst": strings.Repeat("xyz", 1<<20), "b-c": ""}
		for name, body := range want {
			put(t, s, name, body)
		}
		for name, body := range want {
			if got := get(t, s, name); got != body {
				t.Errorf("%s: got %d bytes, want %d", name, len(got), len(body))
			}
		}
		put(t, s, "a/one", "replaced")
		if got := get(t, s, "a/one"); got != "replaced" {
			t.Errorf("after replacing: %q", got)
		}
		checkList(t, s, "", "a/one", "a/two.zst", "b-c")
		checkList(t, s, "a/", "a/one", "a/two.zst")
		checkList(t, s, "a/t", "a/two.zst")
		if err := s.Delete(ctx, "a/one"); err != nil {
			t.Fatal(err)
		}
		checkList(t, s, "", "a/two.zst", "b-c")
	})
	t.Run("not from the start", func(t *testing.T) {
		s := open(t)
		r := strings.NewReader("skip-this:kept")
		if _, err := r.Seek(10, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(ctx, "x", r); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, "x"); got != "kept" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("failed source", func(t *testing.T) {
		s := open(t)
		put(t, s, "x", "old")
		broken := errors.New("source broke")
		for _, after := range []int{0, 1 << 20, 20 << 20} {
			if err := s.Put(ctx, "x", newBroken(broken, after)); !errors.Is(err, broken) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Put of a source that breaks after %d bytes: %v", after, err)
			}
		}
		if got := get(t, s, "x"); got != "old" {
			t.Errorf("a failed Put left %q", got)
		}
		checkList(t, s, "", "x")
		if c, ok := s.(store.Cleaner); ok {
			if left, err := c.Clean(ctx, "", time.Now().Add(time.Hour), false); err != nil || len(left) > 0 {
				t.Errorf("failed Puts left %q, %v", left, err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		s := open(t)
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Put(done, "x", strings.NewReader("1")); !errors.Is(err, context.Canceled) {
			t.Errorf("Put: %v", err)
		}
		if _, err := s.Get(done, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
		checkList(t, s, "")
	})
	t.Run("hostile names", func(t *testing.T) {
		s := open(t)
		for _, name := range []string{"", "..", "../x", "/x", "a/../x", "a//x", "a\nb", "a\x00b", ".hidden", "A"} {
			if err := s.Put(ctx, name, strings.NewReader("1")); err == nil {
				t.Errorf("Put(%q) was accepted", name)
			}
			if _, err := s.Get(ctx, name); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get(%q): %v", name, err)
			}
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		s := open(t)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				body := strings.Repeat(fmt.Sprint(i%4), 10_000)
				if err := s.Put(ctx, fmt.Sprintf("same-%d", i%4), strings.NewReader(body)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range 4 {
			if got := get(t, s, fmt.Sprintf("same-%d", i)); got != strings.Repeat(fmt.Sprint(i), 10_000) {
				t.Errorf("same-%d is mixed", i)
			}
		}
	})
}

// RunCreator tests that open's stores are store.Creators.
func RunCreator(t *testing.T, open func(t *testing.T) store.Store) {
	ctx := context.Background()
	t.Run("create", func(t *testing.T) {
		s := open(t)
		c := s.(store.Creator)
		if err := c.Create(ctx, "a/x", strings.NewReader("first")); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(ctx, "a/x", strings.NewReader("second")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second Create: %v, want fs.ErrExist", err)
		}
		if got := get(t, s, "a/x"); got != "first" {
			t.Errorf("a second Create left %q", got)
		}
		put(t, s, "a/x", "third")
		if got := get(t, s, "a/x"); got != "third" {
			t.Errorf("Put after Create: %q", got)
		}
		broken := errors.New("source broke")
		if err := c.Create(ctx, "b", newBroken(broken, 0)); !errors.Is(err, broken) {
			t.Errorf("a broken source: %v", err)
		}
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := c.Create(done, "c", strings.NewReader("1")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := c.Create(ctx, "../d", strings.NewReader("1")); err == nil {
			t.Error("a name outside of the store was accepted")
		}
		checkList(t, s, "", "a/x")
	})
	t.Run("create at once", func(t *testing.T) {
		s := open(t)
		c := s.(store.Creator)
		var mu sync.Mutex
		var won []string
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				body := strings.Repeat(fmt.Sprint(i), 10_000)
				err := c.Create(ctx, "one", strings.NewReader(body))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, body)
				} else if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || get(t, s, "one") != won[0] {
			t.Errorf("%d writers succeeded, or the object is not the winner's", len(won))
		}
	})
}

// RunCleaner tests that open's stores are store.Cleaners. leave leaves in a store what a writer leaves
// that is killed in the middle of an object, and returns Clean's description of it.
func RunCleaner(t *testing.T, open func(t *testing.T) store.Store, leave func(t *testing.T, s store.Store, name string) string) {
	ctx := context.Background()
	s := open(t)
	c := s.(store.Cleaner)
	whole := []string{"pulls/x/history-1", "segments/a.zst", "snapshots/b.json"}
	for _, name := range whole {
		put(t, s, name, "whole")
	}
	segments := []string{leave(t, s, "segments/a.zst"), leave(t, s, "segments/new.zst")}
	slices.Sort(segments)
	part := leave(t, s, "pulls/x/history-2")
	check := func(what, prefix string, before time.Duration, remove bool, want ...string) {
		t.Helper()
		got, err := c.Clean(ctx, prefix, time.Now().Add(before), remove)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", what, got, err, want)
		}
		checkList(t, s, "", whole...)
	}
	check("of writers that are alive", "", -time.Hour, true)
	check("only to say", "segments/", time.Hour, false, segments...)
	check("below one prefix", "segments/", time.Hour, true, segments...)
	check("again", "segments/", time.Hour, true)
	check("of one object", "pulls/x/history-2", time.Hour, true, part)
	check("all", "", time.Hour, true)
	if got := get(t, s, "segments/a.zst"); got != "whole" {
		t.Errorf("the object is %q now", got)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Clean(done, "", time.Now(), true); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// brokenSource breaks after some bytes.
type brokenSource struct {
	*strings.Reader
	err error
}

func newBroken(err error, after int) brokenSource {
	return brokenSource{strings.NewReader(strings.Repeat("x", after)), err}
}

func (b brokenSource) Read(p []byte) (int, error) {
	if b.Len() == 0 {
		return 0, b.err
	}
	return b.Reader.Read(p)
}

func (b brokenSource) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func put(t *testing.T, s store.Store, name, body string) {
	t.Helper()
	if err := s.Put(context.Background(), name, bytes.NewReader([]byte(body))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s store.Store, name string) string {
	t.Helper()
	r, err := s.Get(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func checkList(t *testing.T, s store.Store, prefix string, want ...string) {
	t.Helper()
	l, err := s.List(context.Background(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l {
		got = append(got, e.Name)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("List(%q) = %q, want %q", prefix, got, want)
	}
}
