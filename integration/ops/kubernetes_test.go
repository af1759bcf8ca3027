package ops_test

import (
	"os"
	"strings"
	"testing"
)

// TestKubernetes runs the tests of scripts/scriptstest, a module of its own: they decode scripts/kubernetes with
// Kubernetes' types.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	module := scripts + "/scriptstest"
	environ := []string{"GOWORK=off", "GOFLAGS=" + os.Getenv("GOFLAGS") + " -mod=readonly", "CGO_ENABLED=" + os.Getenv("CGO_ENABLED"), "KOJISNAP_TEST_PROGRAM=" + program(t)}
	if o := run(t, module, environ, "go", "mod", "download"); o.code != 0 {
		lacking(t, "needs the modules of scripts/scriptstest/go.mod: "+o.stderr)
	}
	o := run(t, module, environ, "go", "test", "-vet=off", "-ldflags=-s -w", "-count=1", "-v", "./...")
	if o.code != 0 {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if passed := strings.Count(o.stdout, "\n--- PASS: "); passed < 6 || strings.Contains(o.stdout, "--- SKIP") {
		t.Errorf("%d tests passed:\n%s", passed, o.stdout)
	}
}
