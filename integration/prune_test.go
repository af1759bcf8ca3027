package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
)

// TestPrunedBeforeLoad: with more pulls than loads, prune keeps what the next load reads of revocations.
// If it is gone all the same, the load says so, and what it says puts it right.
func TestPrunedBeforeLoad(t *testing.T) {
	t.Parallel()
	const between = 410
	guessed := func(w *env) (n int) {
		t.Helper()
		must(t, dbtest.Connect(t, w.dsn).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM tag_listing WHERE revoker_id = user_id) +
			(SELECT count(*) FROM tag_config WHERE revoker_id = user_id) + (SELECT count(*) FROM tag_packages WHERE revoker_id = user_id)
			FROM kojisnap.mark`).Scan(&n))
		return n
	}
	for _, forget := range []bool{false, true} {
		t.Run(fmt.Sprint("forget=", forget), func(t *testing.T) {
			t.Parallel()
			w := newMarkedEnv(t)
			c := w.config(t, "f42-compose")
			w.pull(t, 300, "f42-compose")
			succeed(t, "load", "-c", c)
			mid := w.pull(t, between, "f42-compose")
			last := w.pull(t, lastEvent, "f42-compose")
			if last.Manifest.Parent != mid.ID {
				t.Fatalf("the last snapshot goes on from %q", last.Manifest.Parent)
			}

			prune := []string{"prune", "-c", c, "--keep", "1"}
			if forget {
				prune = append(prune, "--forget", "stg")
			}
			succeed(t, prune...)
			if there := strings.Contains(succeed(t, "snapshots", "-c", c), mid.ID); there == forget {
				t.Errorf("after %q the snapshot in between is there: %v", prune, there)
			}
			o := kojisnapRun(t, "load", "-c", c)
			if o.code != 0 || strings.Contains(o.stderr, "kojisnap pull --since 300, then kojisnap load") != forget {
				t.Errorf("load: exit code %d, %q", o.code, o.stderr)
			}
			if n := guessed(w); n > 0 != forget {
				t.Errorf("%d revocations were guessed", n)
			}
			if forget {
				succeed(t, "pull", "-c", c, "--event", fmt.Sprint(lastEvent), "--since", "300")
				succeed(t, "load", "-c", c)
				if n := guessed(w); n > 0 {
					t.Errorf("%d revocations are guessed after what the load said", n)
				}
				return
			}
			// Once the environment is past them, they go.
			succeed(t, prune...)
			if got := succeed(t, "snapshots", "-c", c); strings.Count(got, "\n") != 1 {
				t.Errorf("after the load prune keeps %q", got)
			}
		})
	}
	if o := kojisnapRun(t, "pull", "--hub", "http://127.0.0.1:1", "--tag", "x", "--store", t.TempDir(), "--revoked-since", "3"); o.code != 2 {
		t.Errorf("--revoked-since without --full: exit code %d, %q", o.code, o.stderr)
	}
}
