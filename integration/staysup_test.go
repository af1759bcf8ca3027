package integration_test

import (
	"context"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub"
)

// TestStagingStaysUp asks the staging hub, while a load brings a new snapshot, all that is
// pinned at the event of the one before: no call fails, no answer changes.
func TestStagingStaysUp(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addMarked(t)
	const before = 380
	first := w.pull(t, before, "f42-compose", "f43-build")
	w.load(t, first)
	var calls []hub.Call
	for _, c := range tagCalls(t, w.prod, []string{"f42", "f42-updates"}, before) {
		if c.Method != "getBuildTargets" && c.Method != "tagChangedSinceEvent" {
			calls = append(calls, c)
		}
	}
	want, err := w.staging.Multi(t.Context(), calls)
	must(t, err)

	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	rounds := 0
	asking.Go(func() {
		for ctx.Err() == nil || rounds == 0 {
			got, err := w.staging.Multi(context.WithoutCancel(ctx), calls)
			if err != nil {
				t.Errorf("round %d: %v", rounds, err)
				return
			}
			for i := range calls {
				if got[i].Err != nil && want[i].Err == nil {
					t.Errorf("round %d: %s: %v", rounds, calls[i], got[i].Err)
				} else if diff := differ("", stripped(want[i].Value.Any()), stripped(got[i].Value.Any())); diff != "" {
					t.Errorf("round %d: %s: %s", rounds, calls[i], diff)
				}
			}
			rounds++
		}
	})
	r := w.load(t, w.pull(t, lastEvent, "f42-compose", "f43-build"))
	stop()
	asking.Wait()
	if !r.Changed() || rounds == 0 {
		t.Errorf("changed %v, %d rounds: the test shows nothing", r.Changed(), rounds)
	}
	// And what staging says of then is what production says of then.
	compare(t, w, calls, 900)
	t.Logf("%d rounds of %d calls", rounds, len(calls))
}
