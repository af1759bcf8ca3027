package idset_test

import (
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
	if id, err := idset.Parse([]byte("2147483648")); err == nil {
		t.Errorf("%d fits an integer", id)
	}
	if id, err := idset.Parse(idset.Text(-5)); id != -5 || err != nil {
		t.Error(id, err)
	}
}
