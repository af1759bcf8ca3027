package idset_test

import (
	"runtime"
	"slices"
	"testing"

	"kojisnap/kojisnap/idset"
)

func TestSet(t *testing.T) {
	ids := []int64{0, 63, 64, 65535, 65536, 1 << 20, 1<<31 - 1}
	s := idset.Of(ids)
	c := s.Clone()
	c.Remove(64)
	c.Add(7)
	if !slices.Equal(s.List(), ids) || s.Len() != len(ids) || !s.Has(64) || s.Has(7) {
		t.Errorf("%v", s.List())
	}
	if got := s.Without(c); !slices.Equal(got, []int64{64}) {
		t.Errorf("%v", got)
	}
	if got := s.Minus(c, idset.Of([]int64{63, -1, 1 << 25})); !slices.Equal(got.List(), []int64{64}) || !slices.Equal(s.List(), ids) {
		t.Errorf("%v", got.List())
	}
	if id, err := idset.Parse([]byte("2147483648")); err == nil {
		t.Errorf("%d fits an integer", id)
	}
	if id, err := idset.Parse(idset.Text(-5)); id != -5 || err != nil {
		t.Error(id, err)
	}
}

// TestSize: sets of 30 million ids among 60 million, more than the rpms of the largest hub, take some megabytes, and so does what is
// made of them: a pull of everything has a few of them at once.
func TestSize(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var s idset.Set
	for id := int64(1); id < 60_000_000; id += 1 + id%2 {
		s.Add(id)
	}
	rest := s.Minus(idset.Of([]int64{1, 3}))
	n := 0
	for range rest.All() {
		n++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n < 29_000_000 || n != rest.Len() || n != s.Len()-2 {
		t.Errorf("%d ids, %d of %d", n, rest.Len(), s.Len())
	}
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 32<<20 {
		t.Errorf("two sets of %d ids take %d MiB", n, took>>20)
	}
	runtime.KeepAlive(&s)
}
