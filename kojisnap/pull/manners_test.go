package pull_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
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
		if got := pull.BatchSizes(c.took); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestPullDeadline gives up in time, and says why; it may be tried again.
func TestPullDeadline(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	_, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42"}, Deadline: time.Nanosecond})
	if !errors.Is(err, context.DeadlineExceeded) || !hub.Temporary(err) || !strings.Contains(err.Error(), "not done within 1ns") {
		t.Errorf("got %v", err)
	}
}
