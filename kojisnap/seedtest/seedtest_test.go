package seedtest_test

import (
	"slices"
	"testing"

	"kojisnap/kojisnap/seedtest"
)

func TestEach(t *testing.T) {
	for env, want := range map[string][]uint64{"": {3, 1}, "7": {7}, "9-11": {9, 10, 11}} {
		t.Setenv(seedtest.Env, env)
		var got []uint64
		seedtest.Each(t, []uint64{3, 1}, func(t *testing.T, seed uint64) { got = append(got, seed) })
		if !slices.Equal(got, want) {
			t.Errorf("%s=%s: seeds %d, want %d", seedtest.Env, env, got, want)
		}
	}
}

func TestBadSeeds(t *testing.T) {
	for _, text := range []string{"x", "-", "3-", "-3", "5-4", "1-x", "9223372036854775808"} {
		if seeds, err := seedtest.Parse(text, nil); err == nil {
			t.Errorf("%s gave %d", text, seeds)
		}
	}
}
