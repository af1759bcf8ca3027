package kojisnap_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/hub/hubtest"
)

// BenchmarkCopyNothingToDo is a copy where production has nothing new, from the snapshot in the
// store to the empty difference. The files themselves are not made: nothing looks at them.
func BenchmarkCopyNothingToDo(b *testing.B) {
	const files = 500_000
	rows, err := hubtest.Generate(hubtest.ScaleOptions{Seed: 1, Builds: 18_500, Outside: -1})
	if err != nil {
		b.Fatal(err)
	}
	s := newStore(b)
	snap := pull(b, client(b, hubtest.New(rows, hubtest.Options{})), s, 0, hubtest.ScaleTag)
	o := kojisnap.CopyOptions{
		Want:    kojisnap.Want{Builds: kojisnap.BuildsTagged, SigKeys: []string{hubtest.ScaleKey}},
		Topdir:  filepath.Join(b.TempDir(), "koji"),
		Sources: []string{filepath.Join(b.TempDir(), "prod")},
	}
	plan, err := kojisnap.PlanFiles(b.Context(), snap, o.Want)
	if err != nil {
		b.Fatal(err)
	}
	must(b, os.MkdirAll(filepath.Join(o.Sources[0], "packages"), 0o755))
	must(b, os.MkdirAll(filepath.Join(o.Topdir, ".kojisnap"), 0o755))
	ledger := &hardlink.Ledger{Builds: map[string]*hardlink.LedgerBuild{}}
	planned := 0
	for _, p := range plan.Staged {
		p.Build.Volume = plan.CopyVolume
		build := &hardlink.LedgerBuild{Build: p.Build, Complete: true}
		for _, f := range p.Files {
			build.Entries = append(build.Entries, hardlink.LedgerEntry{Path: f.Path, Size: max(f.Size, 5000), MTime: 1750000000e9, Digest: f.Digest})
		}
		planned += len(p.Files)
		dir, err := p.Build.Dir()
		must(b, err)
		must(b, os.MkdirAll(filepath.Join(o.Topdir, dir), 0o755))
		ledger.Builds[dir] = build
	}
	if planned < files {
		b.Fatalf("only %d files are planned", planned)
	}
	f, err := os.Create(filepath.Join(o.Topdir, ".kojisnap/ledger"))
	must(b, err)
	_, err = ledger.WriteTo(f)
	must(b, err)
	must(b, f.Close())
	if _, err := kojisnap.Copy(b.Context(), snap, s, o); err != nil { // the symlinks
		b.Fatal(err)
	}
	var took []float64
	for b.Loop() {
		begin := time.Now()
		r, err := kojisnap.Copy(context.Background(), snap, s, o)
		if err != nil || r.Report.Present != planned || r.Actions.Pending() {
			b.Fatalf("%d present of %d, %v", r.Report.Present, planned, err)
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "median-ms")
	b.ReportMetric(float64(planned), "files")
}
