package integration_test

import (
	"encoding/json"
	"strings"
	"testing"

	"kojisnap/kojisnap"
)

// TestLatestOfScope: a pull of other tags into the same store is not what the next load, copy and
// verify take; and where nothing says what is meant, they say what there is.
func TestLatestOfScope(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	c := w.config(t, "f42-compose")
	meant := w.pull(t, 400, "f42-compose")
	other := w.pull(t, lastEvent, "f42-build")
	for _, cmd := range [][]string{{"show", "latest", "-c", c, "--json"}, {"load", "-c", c, "--dry-run", "--json"}, {"load", "-c", c, "--json"}} {
		o := kojisnapRun(t, cmd...)
		var r struct{ Event int64 }
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil || r.Event != meant.Manifest.Event {
			t.Errorf("%q: exit code %d, event %d (%v), %q", cmd, o.code, r.Event, err, o.stderr)
		}
	}
	var status kojisnap.StagingStatus
	must(t, json.Unmarshal([]byte(succeed(t, "status", "-c", c, "--json")), &status))
	if status.Drift == nil || status.Drift.Snapshot != meant.ID || !status.Drift.Loaded {
		t.Errorf("drift: %+v", status.Drift)
	}
	at := []string{"--store", w.store.String()}
	for _, cmd := range [][]string{
		{"load", "--db", w.dsn},
		{"copy", "--topdir", w.topdir, "--source", w.prodTree, "--writable-source"},
		{"verify", "--hub", w.stagingURL, "--topdir", w.topdir},
	} {
		o := kojisnapRun(t, append(cmd, at...)...)
		if o.code == 0 || o.code == 3 || !strings.Contains(o.stderr, meant.ID) || !strings.Contains(o.stderr, other.ID) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, %q", cmd, o.code, o.stderr)
		}
	}
	if o := kojisnapRun(t, "load", "-c", w.config(t, "f42-override")); o.code != 1 || !strings.Contains(o.stderr, `no snapshot of `) || !strings.Contains(o.stderr, `["f42-override"]`) {
		t.Errorf("load of tags never pulled: exit code %d, %q", o.code, o.stderr)
	}
}
