package kojisnap_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
)

// BenchmarkPullHistory pulls the tag of a generated hub in which a year of updates went by, half of its
// builds were replaced by newer ones, with that history and without it; and then again, after a change for
// each hundredth of the builds. The metrics are ratios of the one to the other.
func BenchmarkPullHistory(b *testing.B) {
	url, change := startHub(b, 1, "paced")
	c, err := hub.New(url, hub.Options{})
	if err != nil {
		b.Fatal(err)
	}
	v, err := c.Call(b.Context(), hub.Call{Method: "getLastEvent"})
	if err != nil {
		b.Fatal(err)
	}
	start, _ := v.Field("id").Int()
	for range 12 {
		change(1000)
	}
	change(1) // a day later, so that the overlap does not reach the last of these
	for b.Loop() {
		top := b.TempDir()
		pull := func(since int64) (pull.Result, float64, float64) {
			args := []string{url, filepath.Join(top, fmt.Sprint(since)), "", fmt.Sprint(since)}
			out, took, peak := timed(b, benchCommand(b, "pull", args...))
			var r pull.Result
			if err := json.Unmarshal(out, &r); err != nil {
				b.Fatal(err)
			}
			return r, took.Seconds(), peak
		}
		plain, plainTook, _ := pull(0)
		with, withTook, peak := pull(start)
		var revoked int64
		s, err := dir.Open(filepath.Join(top, fmt.Sprint(start)))
		if err != nil {
			b.Fatal(err)
		}
		snap, err := repository.Open(b.Context(), s, with.Snapshot)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range snap.Manifest.Relations {
			for _, seg := range r.Revoked {
				if relation.Get(r.Name).Versioned {
					revoked += seg.Rows
				}
			}
		}
		b.ReportMetric(float64(revoked), "revoked-rows")
		b.ReportMetric(float64(with.Asked.Rows)/float64(plain.Asked.Rows), "rows/plain")
		b.ReportMetric(withTook/plainTook, "time/plain")
		b.ReportMetric(float64(with.Totals.Compressed)/float64(plain.Totals.Compressed), "store/plain")
		b.ReportMetric(peak, "peak-MiB")
		change(240)
		plain, plainTook, _ = pull(0)
		with, withTook, _ = pull(start)
		if with.Base == "" || plain.Base == "" {
			b.Fatal("a pull did not go on from the last")
		}
		b.ReportMetric(float64(with.Asked.Rows)/float64(plain.Asked.Rows), "again-rows/plain")
		b.ReportMetric(withTook/plainTook, "again-time/plain")
	}
}
