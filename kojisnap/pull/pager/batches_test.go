package pager_test

import (
	"slices"
	"testing"
	"time"

	"kojisnap/kojisnap/pull/pager"
)

// TestBatchSize follows the hub's answers.
func TestBatchSize(t *testing.T) {
	for name, c := range map[string]struct {
		took []time.Duration
		want []int
	}{
		"quick":           {[]time.Duration{0, 0, 0}, []int{1000, 1000, 1000}},
		"even":            {[]time.Duration{3 * time.Second, 3 * time.Second}, []int{500, 500}},
		"slow, then fine": {[]time.Duration{20 * time.Second, 12 * time.Second, 0, 5 * time.Second}, []int{250, 125, 250, 250}},
		"always slow":     {slices.Repeat([]time.Duration{time.Minute}, 6), []int{250, 125, 62, 31, 20, 20}},
	} {
		if got := pager.BatchSizes(c.took); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
