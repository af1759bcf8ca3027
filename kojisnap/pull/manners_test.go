package pull_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
)

// TestPullDeadline: a pull gives up at its deadline and says why, with a temporary error.
func TestPullDeadline(t *testing.T) {
	c, _ := pulltest.Production(t, hubtest.Options{})
	_, err := pull.Pull(t.Context(), c, pulltest.NewStore(t), pull.Options{Tags: []string{"f42"}, Deadline: time.Nanosecond})
	if !errors.Is(err, context.DeadlineExceeded) || !hub.Temporary(err) || !strings.Contains(err.Error(), "not done within 1ns") {
		t.Errorf("got %v", err)
	}
}
