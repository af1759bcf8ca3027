package inside_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kojisnap/kojisnap/trial"
	"kojisnap/kojisnap/trial/inside"
	"kojisnap/kojisnap/trial/inside/insidetest"
)

// BenchmarkInside runs the trial of all rpms of x86_64 of the recorded tree in containers. Its peer is the same trial on
// this host, without an engine.
func BenchmarkInside(b *testing.B) {
	program := programOf(b)
	image := insidetest.Image{Release: "42"}
	for _, engine := range []string{inside.Here, inside.Docker, inside.Podman} {
		b.Run(engine, func(b *testing.B) {
			name := "this environment"
			switch engine {
			case inside.Podman:
				insidetest.Podman(b)
				fallthrough
			case inside.Docker:
				name = insidetest.MakeIn(b, engine, image)
			}
			w := newWorld(b, program, "packages")
			w.options.Engine = engine
			rpms, err := filepath.Glob(filepath.Join(w.top, "packages/*/*/*/x86_64/*.rpm"))
			must(b, err)
			seen := map[string]bool{} // a signed build has some names twice
			rpms = slices.DeleteFunc(rpms, func(path string) bool {
				name := filepath.Base(path)
				defer func() { seen[name] = true }()
				return seen[name]
			})
			w.job.Trees[0].RPMs = rpms
			for b.Loop() {
				steps, err := w.run(b, b.Context(), name)
				must(b, err)
				if s := steps[trial.StepTrial]; s.Error != "" || trial.Count(s.Repos).Linked != len(rpms) {
					b.Fatalf("trial %+v", s)
				}
				b.StopTimer()
				must(b, os.RemoveAll(filepath.Join(w.job.Dir, "f42")))
				b.StartTimer()
			}
			b.ReportMetric(float64(len(rpms)), "rpms")
		})
	}
}
