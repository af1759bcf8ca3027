package ops_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestVersion: the program says which commit it was built from, and all packages have the version that it prints.
func TestVersion(t *testing.T) {
	version := strings.TrimSpace(succeed(t, scripts+"/packaging/version"))
	out := succeed(t, program(t), "--version")
	if m := regexp.MustCompile(`^kojisnap (\S+) \(commit [0-9a-f]{8,12}(\+mod)? of \d{4}-\d\d-\d\d\)\n$`).FindStringSubmatch(out); m == nil || m[1] != version {
		t.Errorf("--version prints %q; the sources say %q", out, version)
	}
	if spec := read(t, scripts+"/packaging/kojisnap.spec"); !regexp.MustCompile(`(?m)^Version: +` + regexp.QuoteMeta(version) + `$`).MatchString(spec) {
		t.Errorf("kojisnap.spec has not the version %s", version)
	}
	if jobs := read(t, scripts+"/kubernetes/cronjobs.yml"); !strings.Contains(jobs, "/kojisnap:"+version+"\n") {
		t.Errorf("cronjobs.yml has not the version %s", version)
	}
}
