package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kojisnap/dbsync/book"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/metrics"
	"kojisnap/kojisnap/verify"
)

// evil is a tag as a hostile hub could name it.
const evil = "f42\" 1\n# TYPE kojisnap_ready counter\nkojisnap_ready{env=\"x\"} 9 \\ \xff"

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// record is a sync that ended with a code, with one check that failed.
func record(exit int) kojisnap.SyncRecord {
	r := kojisnap.SyncReport{Missing: 2, Passed: map[string]map[string]map[string]int{"tag": {"f42": {"": 1}, evil: {"": 1}}, "hub": {"": {"": 1}}},
		Checks: []verify.Check{{Name: "files", Tag: evil, Arch: "x86_64", Status: verify.StatusFailed, Bad: 3, Count: 212}, {Name: "repo", Tag: "f42", Status: verify.StatusWarning}},
		Steps: []kojisnap.SyncStep{
			{Name: "pull", Seconds: 12, Counts: map[string]int64{"requests": 40, "sent": 2000, "received": 300_000, "rows": 5000}},
			{Name: "copy", Seconds: 3, Counts: map[string]int64{"present": 9, "made": 5, "hardlinked": 3, "copied": 2, "bytes": 4 << 20}},
			{Name: "load", Seconds: 5, Counts: map[string]int64{"inserted": 10, "updated": 3, "revoked_or_deleted": 1}},
			{Name: "verify", Seconds: 9, Counts: map[string]int64{"checks": 5, "failed": 1, "warning": 1}},
			{Name: "verify", Seconds: 2, Counts: map[string]int64{"checks": 5, "failed": 1, "warning": 1}}}}
	body, _ := json.Marshal(r)
	return kojisnap.SyncRecord{SyncRun: book.SyncRun{ID: 7, Started: now.Add(-2 * time.Minute), Finished: now.Add(-time.Minute), Exit: exit, LastLoad: 3, Report: body}, Report: r}
}

// staging is one whose last sync ended with a code; the one before was good.
func staging(exit int) metrics.Staging {
	last := record(exit)
	good := book.SyncRun{ID: 6, Started: now.Add(-time.Hour), Finished: now.Add(-50 * time.Minute), LastLoad: 3, Report: last.SyncRun.Report}
	s := &status.Status{Mark: book.Mark{Environment: "stg"}, Now: now, Event: 419, EventTime: now.Add(-3 * time.Hour), History: 300,
		LastSuccess: &book.Run{ID: 3, Finished: now.Add(-70 * time.Second)}, Syncs: []book.SyncRun{last.SyncRun, good}, LastGoodSync: &good, Conflicts: make([]book.Entry, 4)}
	if exit == 0 {
		s.LastGoodSync = &s.Syncs[0]
	}
	return metrics.Staging{Env: "stg", Version: "1.2", Status: &kojisnap.StagingStatus{Status: s, Drift: &kojisnap.Drift{Events: 12, Seconds: 90}}}
}

// parse reads metrics as Prometheus does, and returns the values by name and labels.
func parse(t *testing.T, text []byte) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", err, problems)
	}
	values := map[string]float64{}
	for name, f := range families {
		if f.GetType() != dto.MetricType_GAUGE || !strings.HasPrefix(name, "kojisnap_") {
			t.Errorf("%s is a %s", name, f.GetType())
		}
		for _, m := range f.Metric {
			key := name
			for _, l := range m.Label {
				if l.GetName() != "env" {
					key += " " + l.GetName() + "=" + l.GetValue()
				} else if l.GetValue() != "stg" {
					t.Errorf("%s is of environment %q", name, l.GetValue())
				}
			}
			values[key] = m.Gauge.GetValue()
		}
	}
	return values
}

func text(t *testing.T, s metrics.Staging) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestValues: the metrics have the names and units of Prometheus' conventions, and say what the records say; hostile
// names are label values and nothing else.
func TestValues(t *testing.T) {
	values := parse(t, text(t, staging(3)))
	for key, want := range map[string]float64{
		"kojisnap_ready": 0, "kojisnap_event": 419, "kojisnap_event_timestamp_seconds": float64(now.Add(-3 * time.Hour).Unix()), "kojisnap_history_event": 300,
		"kojisnap_last_sync_timestamp_seconds": float64(now.Add(-time.Minute).Unix()), "kojisnap_last_sync_exit_code": 3, "kojisnap_last_sync_duration_seconds": 60,
		"kojisnap_last_success_timestamp_seconds": float64(now.Add(-50 * time.Minute).Unix()), "kojisnap_missing_files": 2,
		"kojisnap_sync_duration_seconds step=verify": 11, "kojisnap_sync_duration_seconds step=pull": 12,
		"kojisnap_checks status=ok": 3, "kojisnap_checks status=failed": 1, "kojisnap_checks status=warning": 1, "kojisnap_checks status=skipped": 0,
		"kojisnap_tag_ready tag=f42": 1, "kojisnap_tag_ready tag=" + strings.ToValidUTF8(evil, "\uFFFD"): 0,
		"kojisnap_files way=hardlinked": 3, "kojisnap_files way=present": 9, "kojisnap_copied_bytes": 4 << 20, "kojisnap_conflicts": 4, "kojisnap_kept_rows": 0,
		"kojisnap_drift_events": 12, "kojisnap_drift_seconds": 90, "kojisnap_production_requests": 40, "kojisnap_production_received_bytes": 300_000, "kojisnap_loaded_rows change=inserted": 10,
	} {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%s is %v, %v; want %v", key, got, ok, want)
		}
	}
	if _, ok := values["kojisnap_tag_ready tag="]; ok {
		t.Error("checks of no tag are a tag")
	}
	if v := parse(t, text(t, staging(0))); v["kojisnap_ready"] != 1 || v["kojisnap_last_success_timestamp_seconds"] != float64(now.Add(-time.Minute).Unix()) {
		t.Errorf("after a good sync: %v", v)
	}
	before := metrics.Staging{Env: "stg", Status: &kojisnap.StagingStatus{Status: &status.Status{Now: now}}}
	if v := parse(t, text(t, before)); v["kojisnap_ready"] != 0 || v["kojisnap_event"] != 0 || len(v) > 10 {
		t.Errorf("before the first load: %v", v)
	}
}

// TestFile: the file is replaced as a whole. While the database does not answer, the age of the last success stays
// in it, staging is not called ready, and what the sync itself knows is new.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kojisnap.prom")
	read := func() map[string]float64 {
		t.Helper()
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, body)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(staging(0).WriteFile(path))
	if v := read(); v["kojisnap_ready"] != 1 {
		t.Errorf("%v", v)
	}
	info, err := os.Stat(path)
	must(err)
	if info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
	failed := kojisnap.SyncRecord{SyncRun: book.SyncRun{Started: now.Add(time.Hour), Finished: now.Add(time.Hour + time.Second), Exit: 5}}
	lost := metrics.Staging{Env: "stg", Sync: &failed}
	for range 2 {
		must(lost.WriteFile(path))
		v := read()
		if v["kojisnap_ready"] != 0 || v["kojisnap_last_sync_exit_code"] != 5 || v["kojisnap_last_success_timestamp_seconds"] != float64(now.Add(-time.Minute).Unix()) ||
			v["kojisnap_last_sync_timestamp_seconds"] != float64(now.Add(time.Hour+time.Second).Unix()) {
			t.Errorf("without the database: %v", v)
		}
		for key := range v {
			if strings.HasPrefix(key, "kojisnap_tag_ready") {
				t.Errorf("%s is still there", key)
			}
		}
	}
	// A file that is none is no reason to write none.
	must(os.WriteFile(path, []byte("no metrics {{{"), 0o600))
	must(lost.WriteFile(path))
	if v := read(); v["kojisnap_ready"] != 0 || v["kojisnap_last_sync_exit_code"] != 5 {
		t.Errorf("%v", v)
	}
	// A host that only pulls says nothing of staging.
	must(metrics.Staging{Env: "stg", Sync: &failed, Apart: true}.WriteFile(filepath.Join(t.TempDir(), "pull.prom")))
	if _, ok := parse(t, text(t, metrics.Staging{Env: "stg", Sync: &failed, Apart: true}))["kojisnap_ready"]; ok {
		t.Error("a host that only pulls says whether staging is ready")
	}
}
