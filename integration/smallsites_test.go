package integration_test

import (
	"strings"
	"testing"
)

// TestNoTMPDIR: an error of a directory that nobody named says where its name comes from.
func TestNoTMPDIR(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addDatabase(t)
	o := runWith(t, []string{"HOME=" + t.TempDir(), "TMPDIR=/no/such/dir"}, "pull", "-c", w.config(t, "f42-compose"))
	if o.code != 1 || !strings.Contains(o.stderr, "TMPDIR") || !strings.Contains(o.stderr, "/no/such/dir") {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
}

// TestEnvironmentNames: what copy cannot use, init does not take.
func TestEnvironmentNames(t *testing.T) {
	t.Parallel()
	w := newHubEnv(t)
	w.addDatabase(t)
	for _, name := range []string{"Staging", "a b", "a/b", "..", strings.Repeat("a", 64)} {
		if o := kojisnapRun(t, "init", "--db", w.dsn, "--env", name); o.code == 0 || !strings.Contains(o.stderr, "lower case letters") {
			t.Errorf("%q: exit code %d: %s", name, o.code, o.stderr)
		}
	}
	succeed(t, "init", "--db", w.dsn, "--env", "stg-2_b")
}
