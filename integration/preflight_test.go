package integration_test

import (
	"regexp"
	"strings"
	"testing"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
)

// TestOrderOfRefusals: what a late step of sync would refuse is refused before anything is done, in one
// line that says what to do.
func TestOrderOfRefusals(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	c := w.config(t, "f42-compose")
	same := &still{w: w}
	refused := func(code int, says string, args ...string) {
		t.Helper()
		same.begin(t)
		o := kojisnapRun(t, args...)
		o.stderr = regexp.MustCompile(`(?m)^kojisnap: warn: hub call to be repeated.*\n`).ReplaceAllString(o.stderr, "")
		if o.code != code || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, says) {
			t.Errorf("%v: exit code %d, want %d and %q: %q, %q", args, o.code, code, says, o.stdout, o.stderr)
		}
		same.refused(t, args)
	}
	notInit := "has no user kojisnap, which kojisnap init makes"
	refused(2, notInit, "sync", "-c", c)
	refused(1, "is not marked as staging (kojisnap init does that)", "sync", "-c", c, "--no-verify")
	same.end(t, "before init")
	w.init(t)
	refused(1, `is marked as environment "stg", not "prod"`, "sync", "-c", c, "--env", "prod")
	refused(5, "database", "sync", "-c", c, "--db", "host=127.0.0.1 port=1 dbname=koji connect_timeout=2")

	// Staging's hub.
	missing := "no staging hub: give --staging-hub URL"
	refused(2, missing, "sync", "-c", c, "--staging-hub", "")
	refused(2, "no staging hub: give --hub URL", "verify", "-c", c, "--hub", "")
	refused(5, "--no-verify leaves that out", "sync", "-c", c, "--staging-hub", brokenHub(t))
	_, other := serve(t, w.prodRows, hubtest.Options{})
	for _, url := range []string{w.prodURL, w.prodURL + "/", strings.Replace(w.prodURL, "kojihub", "./kojihub", 1)} {
		refused(2, "is production's", "sync", "-c", c, "--staging-hub", url)
	}
	refused(2, notInit, "sync", "-c", c, "--staging-hub", other)

	// An event that is older than what the database holds.
	same.end(t, "before the first load")
	w.pull(t, 300, "f42-compose")
	succeed(t, "sync", "-c", c)
	refused(2, "is production's", "verify", "-c", c, "--hub", w.prodURL)
	refused(2, notInit, "verify", "-c", c, "--hub", other)
	refused(2, "is production's", "verify", "-c", c, "--against", w.stagingURL)
	refused(1, "stands at event 419, the snapshot at 300: the snapshot is older than what the database holds; --rollback goes back", "sync", "-c", c, "--event", "300")
	same.end(t, "after it")
	// Of tags that are only inherited the snapshot alone knows.
	files := w.files(t)
	rows := w.database(t, "")
	o := kojisnapRun(t, "sync", "-c", w.config(t, "f43"), "--event", "300")
	if o.code != 1 || !strings.Contains(o.stderr, "stands at event 419, the snapshot at 300") {
		t.Errorf("a new tag at an old event: exit code %d, %q", o.code, o.stderr)
	}
	if w.files(t) != files || w.database(t, "") != rows {
		t.Error("a new tag at an old event: something was copied or loaded")
	}
	succeed(t, "sync", "-c", c, "--event", "300", "--rollback")
	// The user is known whatever staging made of it.
	dbtest.Exec(t, w.dsn, "UPDATE users SET status = 0 WHERE name = 'kojisnap'")
	succeed(t, "sync", "-c", c)
}
