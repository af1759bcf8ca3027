package seedtest_test

import (
	"slices"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

func TestEach(t *testing.T) {
	for _, test := range []struct {
		env, long string
		want      []uint64
	}{{"", "", []uint64{3}}, {"", "1", []uint64{3, 1, 2}}, {"7", "", []uint64{7}}, {"9-11", "", []uint64{9, 10, 11}}, {"9-11", "1", []uint64{9, 10, 11}}} {
		t.Setenv(seedtest.Env, test.env)
		t.Setenv(seedtest.EnvLong, test.long)
		var got []uint64
		seedtest.Each(t, []uint64{3, 1, 2}, func(t *testing.T, seed uint64) { got = append(got, seed) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: seeds %d", test, got)
		}
	}
}

func TestSome(t *testing.T) {
	all := []int{0, 1, 2, 3, 4, 5, 6}
	for n, want := range [][]int{{}, {0}, {0, 6}, {0, 3, 6}, {0, 2, 4, 6}} {
		t.Setenv(seedtest.EnvLong, "")
		if got := seedtest.Some(all, n); !slices.Equal(got, want) {
			t.Errorf("%d of %d: %d", n, all, got)
		}
		t.Setenv(seedtest.EnvLong, "yes")
		if got := seedtest.Some(all, n); !slices.Equal(got, all) {
			t.Errorf("the long form runs %d", got)
		}
	}
	t.Setenv(seedtest.EnvLong, "")
	if got := seedtest.Some(all, 9); !slices.Equal(got, all) {
		t.Errorf("9 of %d: %d", all, got)
	}
}

func TestBadSeeds(t *testing.T) {
	for _, text := range []string{"x", "-", "3-", "-3", "5-4", "1-x", "9223372036854775808"} {
		if seeds, err := seedtest.Parse(text, nil); err == nil {
			t.Errorf("%s gave %d", text, seeds)
		}
	}
}
