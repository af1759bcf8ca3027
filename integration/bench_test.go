package integration_test

import (
	"path/filepath"
	"testing"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/kojisnap/verify"
)

// BenchmarkPull pulls all tags of the recorded production, hub and client in one process.
func BenchmarkPull(b *testing.B) {
	w := newHubEnv(b)
	tags := activeTags(b, w.prod)
	rows := int64(0)
	for b.Loop() {
		s, err := dir.Open(filepath.Join(b.TempDir(), "store"))
		must(b, err)
		r, err := pull.Pull(b.Context(), w.prod, s, pull.Options{Tags: tags, Event: lastEvent, Full: true})
		must(b, err)
		rows += r.Totals.Rows
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMainJob pulls, copies, loads and verifies the recorded production into a fresh
// staging: all that the first day takes.
func BenchmarkMainJob(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newEnv(b)
		w.init(b)
		tags := activeTags(b, w.prod)
		b.StartTimer()
		snap := w.pull(b, lastEvent, tags...)
		w.copy(b, snap, compose.Want{})
		w.load(b, snap)
		r, err := verify.Verify(b.Context(), verify.Options{Hub: w.staging, Snapshot: snap, Topdir: w.topdir, Digest: true})
		must(b, err)
		if !r.Ready() {
			b.Fatalf("%+v", r.Checks)
		}
	}
}
