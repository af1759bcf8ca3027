package kojisnap_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/benchtest"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store/dir"
	"kojisnap/volumes"
)

// copyArgs are what a process of BenchmarkCopyNothingToDo is told.
type copyArgs struct{ Store, Snapshot, Topdir, Source string }

func (a copyArgs) options() kojisnap.CopyOptions {
	return kojisnap.CopyOptions{
		Want:    compose.Want{Builds: compose.BuildsTagged, SigKeys: []string{generate.Key}},
		Topdir:  a.Topdir,
		Sources: []string{a.Source}, WritableSource: true,
	}
}

// copied is what it tells.
type copied struct {
	Present int
	Pending bool
	Took    time.Duration // from the store to the report
	Peak    int64         // bytes resident, at most
}

// benchCopy copies.
func benchCopy(args []string) error {
	var a copyArgs
	if err := json.Unmarshal([]byte(args[0]), &a); err != nil {
		return err
	}
	begin := time.Now()
	ctx := context.Background()
	s, err := dir.Open(a.Store)
	if err != nil {
		return err
	}
	snap, err := repository.Open(ctx, s, a.Snapshot)
	if err != nil {
		return err
	}
	r, err := kojisnap.Copy(ctx, snap, s, a.options())
	if err != nil {
		return err
	}
	c := copied{Present: r.Report.Present, Pending: r.Actions.Pending(), Took: time.Since(begin)}
	if c.Peak, err = benchtest.Peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// BenchmarkCopyNothingToDo is a copy where production has nothing new, from the snapshot in the
// store to the empty difference, with as many builds of a generated tag as KOJISNAP_BENCH_BUILDS
// says: 18,500 have 512,000 files. Of those production's tree has what a copy looks at before it
// trusts a tree, and topdir the ledger: nothing else is looked at.
func BenchmarkCopyNothingToDo(b *testing.B) {
	builds := 18_500
	if v := os.Getenv("KOJISNAP_BENCH_BUILDS"); v != "" {
		var err error
		if builds, err = strconv.Atoi(v); err != nil {
			b.Fatal(err)
		}
	}
	rows, err := generate.Hub(generate.Options{Seed: 1, Builds: builds, Outside: -1})
	pulltest.Must(b, err)
	a := copyArgs{Store: filepath.Join(b.TempDir(), "store"), Topdir: filepath.Join(b.TempDir(), "koji"), Source: filepath.Join(b.TempDir(), "prod")}
	s, err := dir.Open(a.Store)
	pulltest.Must(b, err)
	snap := pulltest.Pull(b, pulltest.Client(b, hubtest.New(rows, hubtest.Options{})), s, 0, generate.Tag)
	a.Snapshot = snap.ID
	plan, _, err := compose.PlanFiles(b.Context(), snap, a.options().Want, nil, nil)
	pulltest.Must(b, err)
	written := &ledger.Ledger{Builds: map[string]*ledger.Build{}}
	planned := 0
	for _, p := range plan.Staged {
		samplePresent(b, a.Source, p)
		p.Build.Volume = plan.CopyVolume
		build := &ledger.Build{Build: p.Build, Complete: true}
		for _, f := range p.Files {
			build.Entries = append(build.Entries, ledger.Entry{Path: f.Path, Size: max(f.Size, 5000), MTime: 1750000000e9, Digest: f.Digest})
		}
		planned += len(p.Files)
		dir, err := p.Build.Dir()
		pulltest.Must(b, err)
		pulltest.Must(b, os.MkdirAll(filepath.Join(a.Topdir, dir), 0o755))
		written.Builds[dir] = build
	}
	pulltest.Must(b, os.MkdirAll(filepath.Join(a.Topdir, ".kojisnap"), 0o755))
	f, err := os.Create(filepath.Join(a.Topdir, ".kojisnap/ledger"))
	pulltest.Must(b, err)
	_, err = written.WriteTo(f)
	pulltest.Must(b, err)
	pulltest.Must(b, f.Close())
	arg, err := json.Marshal(a)
	pulltest.Must(b, err)
	run := func() (c copied) {
		out, _, _ := timed(b, benchCommand(b, "copy", string(arg)))
		pulltest.Must(b, json.Unmarshal(out, &c))
		return c
	}
	run() // makes the symlinks
	var took, peak []float64
	for b.Loop() {
		c := run()
		if c.Present != planned || c.Pending {
			b.Fatalf("%d present of %d: %+v", c.Present, planned, c)
		}
		took, peak = append(took, c.Took.Seconds()), append(peak, float64(c.Peak)/(1<<20))
	}
	for unit, values := range map[string][]float64{"s": took, "MiB-peak": peak} {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
	b.ReportMetric(float64(planned), "files")
}

// samplePresent makes the one file by which a copy sees that a build is in production's tree.
func samplePresent(b *testing.B, prod string, s volumes.StagedBuild) {
	b.Helper()
	dir, err := s.Build.Dir()
	pulltest.Must(b, err)
	for _, f := range s.Files {
		path, size := f.Path, f.Size
		if f.Kind == volumes.KindSigned {
			path, size = f.Unsigned, 0
		} else if f.Kind != volumes.KindRPM {
			continue
		}
		path = filepath.Join(prod, dir, path)
		pulltest.Must(b, os.MkdirAll(filepath.Dir(path), 0o755))
		pulltest.Must(b, os.WriteFile(path, nil, 0o644))
		pulltest.Must(b, os.Truncate(path, size))
		return
	}
}

func TestBenchmarkCopyNothingToDo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", "-test.bench=CopyNothingToDo", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), "KOJISNAP_BENCH_BUILDS=50")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), " files") {
		t.Errorf("%v: %s", err, out)
	}
}
