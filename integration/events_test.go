package integration_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/verify"
)

// TestLoadedEvents: status lists the events at which calls answer as production did, and they do.
func TestLoadedEvents(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	listed := func(want ...int64) (s kojisnap.StagingStatus) {
		t.Helper()
		must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &s))
		var got []int64
		for _, e := range s.Events {
			got = append(got, e.Event)
			if e.EventTime.IsZero() || e.Loaded.IsZero() || !strings.HasPrefix(e.Snapshot, "4") && !strings.HasPrefix(e.Snapshot, "3") || len(e.Tags) != 1 {
				t.Errorf("%+v", e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		text := succeed(t, "status", "-c", c, "-v")
		if n := strings.Count(text, "safe to pin  event "); n != len(want) {
			t.Errorf("status -v lists %d events: %s", n, text)
		}
		return s
	}
	events := func(want ...int64) {
		t.Helper()
		for _, e := range listed(want...).Events {
			r, err := verify.Verify(t.Context(), verify.Options{Hub: w.staging, Against: w.prod, Event: e.Event, Want: compose.Want{Tags: e.Tags}})
			must(t, err)
			if !r.Ready() {
				t.Errorf("event %d is not as production's: %+v", e.Event, r.Checks)
			}
		}
	}
	events()
	of := map[int64]*snapfile.Snapshot{}
	for _, event := range []int64{330, 360, lastEvent} {
		of[event] = w.pull(t, event, "f42-compose")
		w.load(t, of[event])
	}
	events(lastEvent, 360, 330)
	if text := succeed(t, "status", "-c", c); strings.Contains(text, "safe to pin") {
		t.Errorf("status: %s", text)
	}
	w.load(t, of[lastEvent]) // nothing to do
	if o := kojisnapRun(t, "load", "-c", c, "--snapshot", "360-000000000000"); o.code == 0 {
		t.Error("a snapshot that is none was loaded")
	}
	if o := kojisnapRun(t, "load", "-c", c, "--snapshot", of[330].ID); o.code != 1 {
		t.Errorf("an older snapshot: exit code %d, %s", o.code, o.stderr)
	}
	listed(lastEvent, 360, 330)
	// Another scope's older event takes nothing back; a rollback does.
	w.load(t, w.pull(t, 410, "trashcan"))
	events(410, lastEvent, 360, 330)
	succeed(t, "load", "-c", c, "--snapshot", of[360].ID, "--rollback")
	events(360, 330)
	w.load(t, of[lastEvent])
	events(lastEvent, 360, 330)
}
