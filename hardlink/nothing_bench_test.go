package hardlink_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kojisnap/hardlink"
	"kojisnap/volumes"
)

// nothingToDo is a topdir of which the ledger has the files of a plan, as a copy would have
// written it, in batches of 8000 files. The files themselves are not made: nothing looks at
// them.
func nothingToDo(t testing.TB, files int) *site {
	t.Helper()
	s := &site{prod: filepath.Join(t.TempDir(), "prod"), top: filepath.Join(t.TempDir(), "koji"), want: volumes.Want{SigKeys: []string{"0123abcd"}}}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(s.prod, "packages"), 0o755))
	const hash = "0123456789abcdef0123456789abcdef"
	for i, left := 0, files; left > 0; i++ {
		b := volumes.BuildFiles{Build: volumes.Build{Name: fmt.Sprintf("some-package%d", i*7919%100003), Version: "42.1.7", Release: "3.fc42"}}
		for j := 0; j < 10 && left > 0; j++ {
			r := volumes.RPM{Name: fmt.Sprintf("%s-sub%d", b.Name, j), Version: b.Version, Release: b.Release, Arch: []string{"x86_64", "aarch64", "noarch"}[j%3]}
			f := volumes.RPMFile{RPM: r, Size: 123456, PayloadHash: hash}
			for _, key := range []string{"", "0123abcd"}[:min(2, left-1)] {
				f.Sigs = append(f.Sigs, volumes.Signature{Key: key, Hash: hash})
			}
			left -= 1 + len(f.Sigs)
			b.RPMs = append(b.RPMs, f)
		}
		s.input.Builds = append(s.input.Builds, b)
	}
	plan := s.plan(t)
	mtime := time.Unix(1750000000, 0).UnixNano()
	path := filepath.Join(s.top, ".kojisnap/ledger")
	must(os.MkdirAll(filepath.Dir(path), 0o755))
	must(os.MkdirAll(filepath.Join(s.top, "vol"), 0o755))
	must(os.Symlink(s.prod, filepath.Join(s.top, "vol/prod")))
	w := hardlink.NewLedgerText()
	n := 0
	for _, b := range plan.Staged {
		b.Build.Volume = plan.CopyVolume
		w.Build(b.Build)
		for _, f := range b.Files {
			w.Entry(hardlink.LedgerEntry{Path: f.Path, Size: max(f.Size, 4096), MTime: mtime, Digest: f.Digest})
			if n++; n%8000 == 0 {
				w.Seal()
				w.Build(b.Build)
			}
		}
		w.Complete()
		for _, dir := range []string{"packages/", "vol/staged/packages/"} {
			must(os.MkdirAll(filepath.Join(s.top, dir, b.Build.Name), 0o755))
		}
	}
	w.Seal()
	for _, b := range plan.Linked {
		link, target, err := b.Link()
		must(err)
		w.Link(link, target)
	}
	must(os.WriteFile(path, w.Text(len(plan.Linked)), 0o644))
	return s
}

// BenchmarkNothingToDo500k is what a copy does where production has nothing new, from the
// rows to the empty difference.
func BenchmarkNothingToDo500k(b *testing.B) {
	const files = 500_000
	s := nothingToDo(b, files)
	e := s.engine(b)
	medians := map[string][]float64{}
	for b.Loop() {
		begin := time.Now()
		plan, err := volumes.NewPlan(s.input, s.want)
		if err != nil {
			b.Fatal(err)
		}
		planned := time.Now()
		a, err := e.Diff(b.Context(), plan)
		if err != nil {
			b.Fatal(err)
		}
		if a.Pending() || a.Present != files || len(a.Kept) > 0 {
			b.Fatalf("%d present, %+v", a.Present, a.Kept)
		}
		medians["plan-ms"] = append(medians["plan-ms"], float64(planned.Sub(begin).Microseconds())/1000)
		medians["diff-ms"] = append(medians["diff-ms"], float64(time.Since(planned).Microseconds())/1000)
	}
	b.StopTimer()
	begin := time.Now()
	l, err := hardlink.ReadLedger(s.top)
	if err != nil || len(l.Staged()) != len(s.input.Builds) {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ledger-ms")
	for unit, values := range medians {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
}
