package version

import (
	"runtime/debug"
	"testing"
	"time"
)

// TestLine: the line says which code it is, as far as the build knows.
func TestLine(t *testing.T) {
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for _, test := range []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, "kojisnap " + Number},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.time", Value: "2026-11-29T23:30:00-05:00"}, {Key: "vcs.modified", Value: "false"}}, "kojisnap " + Number + " (commit 0123456789ab of 2026-11-30)"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "0123"}, {Key: "vcs.modified", Value: "true"}}, "kojisnap " + Number + " (commit 0123, modified)"},
	} {
		if got := lineOf(originOf(test.settings)); got != test.want {
			t.Errorf("%v: %q, want %q", test.settings, got, test.want)
		}
	}
	commit, date = revision, "2026-01-02T03:04:05Z" // as a build from a tarball sets them
	t.Cleanup(func() { commit, date = "", "" })
	if got := lineOf(originOf([]debug.BuildSetting{{Key: "vcs.revision", Value: "ffff"}, {Key: "vcs.modified", Value: "true"}})); got != "kojisnap "+Number+" (commit 0123456789ab of 2026-01-02)" {
		t.Errorf("set by the build: %q", got)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if got := ManualDate(); !got.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("the manual's date is %v", got)
	}
}
