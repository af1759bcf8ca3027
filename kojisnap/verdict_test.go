package kojisnap_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/verify"
)

// TestJudge: a staging is called ready only after a sync that verified it, and until something else was loaded; each
// other verdict has a cause and a cure.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	failed := func(checks ...verify.Check) kojisnap.SyncReport {
		for i := range checks {
			checks[i].Status = verify.StatusFailed
		}
		return kojisnap.SyncReport{Checks: checks}
	}
	verified := []kojisnap.SyncStep{{Name: "pull"}, {Name: "copy"}, {Name: "load"}, {Name: "verify", Counts: map[string]int64{"checks": 9}}}
	files, rpms := verify.Check{Name: "files", Count: 200, Bad: 1}, verify.Check{Name: "rpms", Count: 50, Bad: 7}
	for name, c := range map[string]struct {
		event    int64
		load     int64 // the last that succeeded; the last sync came to 9
		syncs    bool
		exit     int
		error    string
		steps    []kojisnap.SyncStep
		report   kojisnap.SyncReport
		state    kojisnap.State
		text     string
		cures    []string
		noCauses bool
	}{
		"nothing loaded":       {state: kojisnap.StateNotReady, text: "NOT READY: nothing was loaded yet", cures: []string{"kojisnap sync"}},
		"only loads":           {event: 419, load: 3, state: kojisnap.StateUnproven, text: "NOT PROVEN: event 419 is loaded, and no sync has verified it", cures: []string{"kojisnap verify"}},
		"all is well":          {event: 419, load: 9, syncs: true, steps: verified, state: kojisnap.StateReady, text: "READY at event 419, 51 min old", noCauses: true},
		"a load since":         {event: 419, load: 10, syncs: true, steps: verified, state: kojisnap.StateUnproven, text: "NOT PROVEN: event 419 is loaded, and no sync has verified it since", cures: []string{"kojisnap verify"}},
		"not verified":         {event: 419, load: 9, syncs: true, steps: verified[:3], state: kojisnap.StateUnproven, text: "NOT PROVEN: event 419 is loaded, and the sync did not verify it", cures: []string{"kojisnap verify"}},
		"files":                {event: 419, load: 9, syncs: true, exit: 3, steps: verified, report: failed(files, verify.Check{Name: "files", Count: 12, Bad: 2}), state: kojisnap.StateNotReady, text: "NOT READY: 3 of 212 files", cures: []string{"copy --audit --repair"}},
		"a digest, and rpms":   {event: 419, load: 9, syncs: true, exit: 6, steps: verified, report: failed(files, rpms), state: kojisnap.StateNotReady, text: "NOT READY: 1 of 200 files, 7 of 50 rpms", cures: []string{"copy --audit --repair", "load --audit"}},
		"many reasons":         {event: 419, load: 9, syncs: true, exit: 3, steps: verified, report: failed(files, rpms, verify.Check{Name: "trial"}, verify.Check{Name: "room"}), state: kojisnap.StateNotReady, text: "NOT READY: 1 of 200 files, 7 of 50 rpms, and 2 more reasons", cures: []string{"", "", "--compose DIR", "keep-days"}},
		"rows were left out":   {event: 419, load: 9, syncs: true, exit: 3, error: "build 7: its name is no name", steps: verified, state: kojisnap.StateNotReady, text: "NOT READY: build 7: its name is no name", cures: []string{"kojisnap sync names"}},
		"the hub was away":     {event: 419, load: 9, syncs: true, exit: 5, error: "pull: no answer", steps: []kojisnap.SyncStep{{Name: "pull", Error: "no answer"}}, state: kojisnap.StateUnproven, text: "NOT PROVEN: the last sync failed at pull, 51 min ago", cures: []string{"The next sync tries again"}},
		"wrong usage":          {event: 419, load: 9, syncs: true, exit: 2, error: "no rpm of arch x86-64", state: kojisnap.StateUnproven, text: "NOT PROVEN: the last sync failed, 51 min ago", cures: []string{"configuration"}},
		"no reason was stored": {event: 419, load: 9, syncs: true, exit: 3, steps: verified, state: kojisnap.StateNotReady, text: "NOT READY: exit code 3 without a reason on record", cures: []string{"kojisnap sync names"}},
	} {
		s := &status.Status{Now: now, Event: c.event, Mark: book.Mark{MarkedAt: now.Add(-time.Hour)}}
		if c.load > 0 {
			s.LastSuccess = &book.Run{ID: c.load, Finished: now.Add(-30 * time.Minute)}
		}
		if c.syncs {
			c.report.Steps = c.steps
			body, err := json.Marshal(c.report)
			if err != nil {
				t.Fatal(err)
			}
			s.Syncs = []book.SyncRun{{ID: 5, Finished: now.Add(-51 * time.Minute), Exit: c.exit, Error: c.error, LastLoad: 9, Report: body}}
			if c.exit == 0 {
				s.LastGoodSync = &s.Syncs[0]
			}
		}
		v := (&kojisnap.StagingStatus{Status: s}).Judge()
		if v.State != c.state || v.Text != c.text || len(v.Causes) != len(c.cures) || (len(v.Causes) == 0) != c.noCauses {
			t.Errorf("%s: %+v, want %s %q", name, v, c.state, c.text)
			continue
		}
		for i, cause := range v.Causes {
			if cause.What == "" || cause.Cure == "" || !strings.Contains(cause.Cure, c.cures[i]) {
				t.Errorf("%s: %+v", name, cause)
			}
		}
	}
}

// TestCheckCures: every check that verify makes has a cure of its own.
func TestCheckCures(t *testing.T) {
	files, err := filepath.Glob("verify/*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:checkOf\(|Check\{Name: )"([^"]+)"`).FindAllSubmatch(body, -1) {
			names[string(m[1])] = true
		}
	}
	if len(names) < 25 {
		t.Errorf("only %d checks were found", len(names))
	}
	none := kojisnap.CheckCure("no such check")
	for name := range names {
		if kojisnap.CheckCure(name) == none || kojisnap.CheckCure("build "+name) != kojisnap.CheckCure(name) {
			t.Errorf("the check %q has no cure", name)
		}
	}
}

// TestSize: sizes have two or three digits, and the unit in which they have them.
func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 20480: "20 KiB", 1023 << 10: "1.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := kojisnap.Size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
