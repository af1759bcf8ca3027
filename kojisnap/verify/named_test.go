package verify_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/verify"
)

// newNamedSource is newSource with builds beside the tag f42-compose.
func newNamedSource(t testing.TB, builds ...string) pulltest.Source {
	t.Helper()
	from := pulltest.NewSource(t, "f42-compose")
	c, _, _ := pulltest.ModularProduction(t)
	s := pulltest.NewStore(t)
	r, err := pull.Pull(t.Context(), c, s, pull.Options{Tags: []string{"f42-compose"}, Builds: builds, Event: pulltest.LastEvent, Program: "test"})
	pulltest.Must(t, err)
	from.Snap, err = repository.Open(t.Context(), s, r.Snapshot)
	pulltest.Must(t, err)
	return from
}

const kernelRPM = "vol/staged/packages/kernel/6.14.5/300.fc42/x86_64/kernel-6.14.5-300.fc42.x86_64.rpm"

// TestVerifyNamed: builds that were asked for by name are copied and verified as a tag's latest ones are.
func TestVerifyNamed(t *testing.T) {
	s := newStaging(t, newNamedSource(t, pulltest.NamedKernel, pulltest.NamedDraft, pulltest.NamedImage, "org.example-lib-1.2.3-1", "win-tool-2.0-1", "legacy-empty-0-1"), signed)
	for _, against := range []bool{false, true} {
		r := s.verify(t, func(o *verify.Options) {
			o.Want, o.Digest = signed, true
			if against {
				o.Against, _, _ = pulltest.ModularProduction(t)
			}
		})
		if got := s.notOK(r); got != "" || !r.Ready() {
			t.Errorf("not ready:\n%s", got)
		}
		counts := map[string]int{}
		for _, c := range r.Checks {
			if c.Tag == "" && strings.HasPrefix(c.Name, "build") {
				counts[c.Name] += c.Count
			}
		}
		want := map[string]int{"builds": 6, "build rpms": 14, "build signatures": 14, "build unsigned": 14, "build archives": 4, "build files": 14,
			"build sources": 2, "build archive files": 4, "build placement": 14}
		if !maps.Equal(counts, want) {
			t.Errorf("against %v: %v, want %v", against, counts, want)
		}
	}
	// A copy of other tags has them all the same, and counts by themselves those that no such tag has; one of no
	// builds has none.
	other := filepath.Join(t.TempDir(), "koji")
	pulltest.Must(t, os.Mkdir(other, 0o755))
	for builds, want := range map[compose.Builds]string{compose.BuildsTagged: "builds by name archives: 1 files ", compose.BuildsNone: "all: 0 files "} {
		o := kojisnap.CopyOptions{Want: compose.Want{Tags: []string{"f42-addons"}, Builds: builds}, Topdir: other, Sources: []string{s.prod}, WritableSource: true, DryRun: true}
		r, err := kojisnap.Copy(t.Context(), s.snap, nil, o)
		pulltest.Must(t, err)
		var text strings.Builder
		if _, err := r.WriteTo(&text); err != nil || !strings.Contains(text.String(), want) || strings.Contains(text.String(), kernelRPM) != (builds == compose.BuildsTagged) {
			t.Errorf("copy of %s builds: %v, %.1000s", builds, err, text.String())
		}
	}
}

// TestVerifyNamedFaults: each thing that can be wrong with such a build is found, and nothing else.
func TestVerifyNamedFaults(t *testing.T) {
	from := newNamedSource(t, pulltest.NamedKernel, pulltest.NamedImage, "org.example-lib-1.2.3-1")
	base := newStaging(t, from, signed)
	var image, maven string // files of archives
	pulltest.Must(t, filepath.WalkDir(filepath.Join(base.top, "vol/staged/packages"), func(path string, d os.DirEntry, err error) error {
		if at := strings.TrimPrefix(path, base.top+"/"); err == nil && d.Type().IsRegular() {
			switch {
			case strings.Contains(at, "/layered-image/") && strings.Contains(at, "/images/"):
				image = at
			case strings.Contains(at, "/org.example-lib/") && strings.HasSuffix(at, ".jar"):
				maven = at
			}
		}
		return err
	}))
	if image == "" || maven == "" {
		t.Fatalf("no archives: %q, %q", image, maven)
	}
	relative := func(at, dir string) string { return at[strings.Index(at, dir)+len(dir):] }
	kernel := hubtest.Values{"id": 36}
	rpmOf := func(t *testing.T, s *staging) any {
		list, err := s.rows.Select("rpminfo", hubtest.Values{"build_id": 36, "arch": "src"})
		pulltest.Must(t, err)
		return list[0]["id"]
	}
	for _, test := range seedtest.Some([]struct {
		name     string
		damage   func(t *testing.T, s *staging)
		want     string
		suspects string
	}{
		{"deleted in staging", func(t *testing.T, s *staging) { s.update(t, "build", kernel, hubtest.Values{"state": 2}) },
			"failed builds: 1 of 3, 0 digests\n  kernel-6.14.5-300.fc42: it is DELETED in staging, COMPLETE in production\n", ""},
		{"not there", func(t *testing.T, s *staging) {
			_, err := s.rows.Delete("build", kernel)
			pulltest.Must(t, err)
		}, "failed builds: 1 of 3, 0 digests\n  kernel-6.14.5-300.fc42: staging does not have it, as id 36\n", ""},
		{"another name", func(t *testing.T, s *staging) { s.update(t, "build", kernel, hubtest.Values{"release": "301.fc42"}) },
			"failed builds: 1 of 3, 0 digests\n  kernel-6.14.5-300.fc42: staging has it as kernel-6.14.5-301.fc42, production as kernel-6.14.5-300.fc42: what asks for it by name does not find it\n" +
				"failed build rpms  aarch64: ", ""},
		{"an rpm less", func(t *testing.T, s *staging) {
			_, err := s.rows.Delete("rpminfo", hubtest.Values{"id": rpmOf(t, s)})
			pulltest.Must(t, err)
		}, "failed build rpms  src: 1 of 1, 0 digests\n  kernel-6.14.5-300.fc42.src: only in production\nwarning build sources: 1 of 1, 0 digests\n  kernel-6.14.5-300.fc42: has no source rpm\n", ""},
		{"a signature less", func(t *testing.T, s *staging) {
			_, err := s.rows.Delete("rpmsigs", hubtest.Values{"rpm_id": rpmOf(t, s), "sigkey": "ba2992d4"})
			pulltest.Must(t, err)
		}, "failed build signatures: 1 of 11, 0 digests\n  kernel-6.14.5-300.fc42.src: staging has no row of key [\"ba2992d4\"]\n", ""},
		{"an archive less", func(t *testing.T, s *staging) {
			_, err := s.rows.Delete("archiveinfo", hubtest.Values{"build_id": 61})
			pulltest.Must(t, err)
		}, "failed build archives: 1 of 3, 0 digests\n  layered-image-1-1: ", ""},
		{"an rpm's file is gone", func(t *testing.T, s *staging) { s.remove(t, kernelRPM) },
			"failed build files  x86_64: 1 of 5, 0 digests\n  kernel-6.14.5-300.fc42.x86_64: TOP/" + kernelRPM + " is not there\n", kernelRPM},
		{"an rpm's file is a symlink", func(t *testing.T, s *staging) {
			s.remove(t, kernelRPM)
			pulltest.Must(t, os.Symlink(filepath.Join(s.prod, relative(kernelRPM, "vol/staged/")), filepath.Join(s.top, kernelRPM)))
		}, "failed build files  x86_64: 1 of 5, 0 digests\n  kernel-6.14.5-300.fc42.x86_64: TOP/" + kernelRPM + " is not a regular file but a symlink\n", kernelRPM},
		{"an rpm's file is damaged", func(t *testing.T, s *staging) { s.rewrite(t, kernelRPM, flipLast) },
			"failed build files  x86_64: 1 of 5, 1 digests\n", kernelRPM},
		{"an image is gone", func(t *testing.T, s *staging) { s.remove(t, image) }, "failed build archive files: 1 of 3, 0 digests\n  layered-image-1-1: ", image},
		{"an image is damaged", func(t *testing.T, s *staging) { s.rewrite(t, image, flipLast) }, "failed build archive files: 1 of 3, 1 digests\n  layered-image-1-1: ", image},
		{"an archive is a symlink", func(t *testing.T, s *staging) {
			s.remove(t, maven)
			pulltest.Must(t, os.Symlink(filepath.Join(s.prod, relative(maven, "vol/staged/")), filepath.Join(s.top, maven)))
		}, "failed build archive files: 1 of 3, 0 digests\n  org.example-lib-1.2.3-1: TOP/" + maven + " is not a regular file but a symlink\n", maven},
	}, 7) {
		t.Run(test.name, func(t *testing.T) {
			s := base.clone(t)
			test.damage(t, s)
			r := s.verify(t, func(o *verify.Options) { o.Want, o.Digest = signed, true })
			if got := s.notOK(r); !strings.HasPrefix(got, test.want) || strings.Count(got, "failed") != strings.Count(test.want, "failed") && test.name != "another name" {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
			if got := strings.Join(r.Suspects(), " "); r.Ready() || got != test.suspects && test.suspects != "" {
				t.Errorf("ready %v, suspects %q, want %q", r.Ready(), got, test.suspects)
			}
		})
	}
}

// TestVerifyNamedIncomplete: a build on the list that production has deleted, or has not made, is a failed
// check, by the snapshot as by production's hub; what staging decided itself is on record.
func TestVerifyNamedIncomplete(t *testing.T) {
	s := newStaging(t, newNamedSource(t, pulltest.NamedKernel, pulltest.NamedGone, pulltest.NamedRunning), signed)
	want := "failed builds: 2 of 3, 0 digests\n" +
		"  " + pulltest.NamedGone + ": it is DELETED in production: no compose can take it; take it off build of [pull], or --build\n" +
		"  " + pulltest.NamedRunning + ": it is BUILDING in production: no compose can take it; take it off build of [pull], or --build\n"
	against, _, _ := pulltest.ModularProduction(t)
	for _, o := range []verify.Options{{Want: signed}, {Want: signed, Against: against}} {
		r := s.verify(t, func(v *verify.Options) { v.Want, v.Against = o.Want, o.Against })
		if got := s.notOK(r); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	s.update(t, "build", hubtest.Values{"id": 36}, hubtest.Values{"state": 2})
	r := s.verify(t, func(o *verify.Options) {
		o.Want, o.Record = signed, verify.Record{Builds: map[int64]string{36: "staging deleted it"}}
	})
	if got := s.notOK(r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if c := check(t, r, "build on record", "", ""); c.Count != 1 || len(c.Examples) != 1 || c.Examples[0] != pulltest.NamedKernel+": staging deleted it" {
		t.Errorf("%+v", c)
	}
}

// TestVerifyNamedCalls: a call that does not work is a failed check, with the reason, and all that it does not
// tell of is looked at.
func TestVerifyNamedCalls(t *testing.T) {
	s := newStaging(t, newNamedSource(t, pulltest.NamedKernel, pulltest.NamedImage), signed)
	sound := verdicts(s.verify(t, func(o *verify.Options) { o.Want = signed }))
	for _, method := range []string{"findBuildID", "listBuildRPMs", "listArchives", "queryRPMSigs"} {
		t.Run(method, func(t *testing.T) {
			broken := pulltest.Client(t, hubtest.New(s.rows, failings[0].opts(method)))
			r := s.verify(t, func(o *verify.Options) { o.Want, o.Hub = signed, broken })
			c := check(t, r, "builds", "", "")
			if c.Status != verify.StatusFailed || c.Bad == 0 || !strings.Contains(c.Examples[0], pulltest.NamedKernel+": staging's hub: ") || !strings.Contains(c.Examples[0], failings[0].says) {
				t.Errorf("%+v", c)
			}
			now := verdicts(r)
			for _, line := range now {
				if strings.HasPrefix(line, "failed build ") {
					t.Errorf("%s: what is not known is told twice", line)
				}
			}
			for _, line := range sound {
				if strings.HasPrefix(line, "ok files") && !slices.Contains(now, line) {
					t.Errorf("no %q", line)
				}
			}
		})
	}
}
