package volumes_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

const hash = "0123456789abcdef0123456789abcdef"

func example() volumes.Input {
	rpm := func(arch string, keys ...string) volumes.RPMFile {
		r := volumes.RPMFile{RPM: volumes.RPM{Name: "a", Version: "1", Release: "2", Arch: arch}, Size: 10, PayloadHash: hash}
		for _, k := range keys {
			r.Sigs = append(r.Sigs, volumes.Signature{Key: k, Hash: strings.ToUpper(hash)})
		}
		return r
	}
	gone := rpm("x86_64")
	gone.Name, gone.MetadataOnly = "gone", true
	return volumes.Input{
		Builds: []volumes.BuildFiles{{
			Build: volumes.Build{Name: "a", Version: "1", Release: "2", Volume: "archive01"},
			RPMs:  []volumes.RPMFile{rpm("x86_64", "", "abcd0123"), rpm("i686"), rpm("s390x"), rpm("src", ""), gone},
			Archives: []volumes.ArchiveFile{
				{Path: "files/module/m.txt", BType: "module", Size: 3, Checksum: hash},
				{Path: "images/x.raw", BType: "image", Size: 4, Checksum: hash + hash, ChecksumType: 2},
				{Path: "images/gone.raw", BType: "image", Size: 5, Checksum: "", MetadataOnly: true},
			},
		}},
		Others: []volumes.Other{other("a", "ssd"), other("Z", "")},
	}
}

func other(name, volume string) volumes.Other {
	return volumes.Other{Build: volumes.Build{Name: name, Version: "1", Release: "1", Volume: volume}, Files: name == "Z"}
}

func TestNewPlan(t *testing.T) {
	got, err := volumes.NewPlan(example(), volumes.Want{Arches: []string{"x86_64"}, SigKeys: []string{"ABCD0123"}, BTypes: []string{"module"}})
	if err != nil {
		t.Fatal(err)
	}
	md5, sigmd5 := "md5:"+hash, "sigmd5:"+hash
	sig := func(path string) volumes.File {
		return volumes.File{Path: path, Kind: volumes.KindSignature, Size: -1, Digest: md5, Optional: true}
	}
	want := volumes.Plan{
		CopyVolume: "staged",
		Prod:       "prod",
		Volumes:    []volumes.VolumeLink{{Name: "prod_archive01", Source: "vol/archive01"}, {Name: "prod_ssd", Source: "vol/ssd"}},
		Staged: []volumes.StagedBuild{{
			Build:        volumes.Build{Name: "a", Version: "1", Release: "2", Volume: "archive01"},
			SourceVolume: "prod_archive01",
			Files: []volumes.File{
				sig("data/sigcache/abcd0123/x86_64/a-1-2.x86_64.rpm.sig"),
				sig("data/sigcache/src/a-1-2.src.rpm.sig"),
				sig("data/sigcache/x86_64/a-1-2.x86_64.rpm.sig"),
				{Path: "data/signed/abcd0123/x86_64/a-1-2.x86_64.rpm", Kind: volumes.KindSigned, Size: -1, Digest: sigmd5,
					Key: "abcd0123", Unsigned: "x86_64/a-1-2.x86_64.rpm",
					Sig: "data/sigcache/abcd0123/x86_64/a-1-2.x86_64.rpm.sig", SigDigest: md5, UnsignedSize: 10},
				{Path: "files/module/m.txt", Kind: volumes.KindArchive, Size: 3, Digest: md5, Optional: true, SubdirUnknown: true},
				{Path: "i686/a-1-2.i686.rpm", Kind: volumes.KindRPM, Size: 10, Digest: sigmd5}, // not signed
				{Path: "src/a-1-2.src.rpm", Kind: volumes.KindRPM, Size: 10, Digest: sigmd5, Headers: "=" + md5},
			},
		}},
		Linked: []volumes.Build{
			{Name: "Z", Version: "1", Release: "1", Volume: "prod"},
			{Name: "a", Version: "1", Release: "1", Volume: "prod_ssd"},
			{Name: "a", Version: "1", Release: "2", Volume: "staged"},
		},
		Sample:     []volumes.Build{{Name: "Z", Version: "1", Release: "1"}},
		Production: []string{"", "archive01", "ssd"},
	}
	if got = got.WithoutRows(); !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("plan\n%s\nwant\n%s", g, w)
	}
}

// The order of rows does not matter.
func TestPlanIsStable(t *testing.T) {
	in := volumestest.Input(t)
	want := volumes.Want{SigKeys: []string{"41526f0e", ""}}
	first, err := volumes.NewPlan(in, want)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(in.Builds), func(i, j int) { in.Builds[i], in.Builds[j] = in.Builds[j], in.Builds[i] })
	for _, b := range in.Builds {
		r.Shuffle(len(b.RPMs), func(i, j int) { b.RPMs[i], b.RPMs[j] = b.RPMs[j], b.RPMs[i] })
	}
	second, err := volumes.NewPlan(in, want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Error("the plan depends on the order of rows")
	}
	if first.Bytes() == 0 {
		t.Error("no bytes")
	}
}

// What one row says keeps back its build or its volume, which is named; all else is planned.
func TestNewPlanHolds(t *testing.T) {
	const build, volume, gone = "build", "volume", "nowhere"
	for name, c := range map[string]struct {
		change func(*volumes.Input)
		kind   string // gone: a build that has no symlink either
		want   string
	}{
		"rpm arch":      {func(in *volumes.Input) { in.Builds[0].RPMs[0].Arch = "../x" }, build, `rpm arch "../x"`},
		"rpm name":      {func(in *volumes.Input) { in.Builds[0].RPMs[0].Name = "a\nb" }, build, `rpm name "a\nb"`},
		"long rpm name": {func(in *volumes.Input) { in.Builds[0].RPMs[0].Name = strings.Repeat("a", 250) }, build, "265 bytes are more than a file name can have"},
		"long .sig":     {func(in *volumes.Input) { in.Builds[0].RPMs[0].Name = strings.Repeat("a", 238) }, build, "unsafe signature header file name"},
		"sigkey":        {func(in *volumes.Input) { in.Builds[0].RPMs[0].Sigs[1].Key = "a/b" }, build, `sigkey "a/b"`},
		"archive":       {func(in *volumes.Input) { in.Builds[0].Archives[0].Path = "a/../../b" }, build, `archive path "a/../../b"`},
		"no path":       {func(in *volumes.Input) { in.Builds[0].Archives[0].Err = errors.New("archive 7: odd") }, build, "archive 7: odd"},
		"payloadhash":   {func(in *volumes.Input) { in.Builds[0].RPMs[0].PayloadHash = "12" }, build, "payloadhash"},
		"sighash":       {func(in *volumes.Input) { in.Builds[0].RPMs[0].Sigs[0].Hash = "" }, build, "sighash"},
		"key twice": {func(in *volumes.Input) {
			r := &in.Builds[0].RPMs[0]
			r.Sigs = append(r.Sigs, volumes.Signature{Key: "ABCD0123", Hash: strings.Repeat("1", 32)})
		}, build, "in the plan twice"},
		"checksum":      {func(in *volumes.Input) { in.Builds[0].Archives[0].Checksum = "zz" }, build, "not a digest"},
		"no checksum":   {func(in *volumes.Input) { in.Builds[0].Archives[0].Checksum = "" }, build, "not a digest"},
		"checksum type": {func(in *volumes.Input) { in.Builds[0].Archives[0].ChecksumType = 7 }, build, "checksum type 7"},
		"rpm twice": {func(in *volumes.Input) {
			in.Builds[0].RPMs[1] = in.Builds[0].RPMs[3]
			in.Builds[0].RPMs[1].Size = 11
		}, build, "in the plan twice"},
		"other build":  {func(in *volumes.Input) { in.Others[0].Name = "a\nb" }, gone, `package name "a\nb"`},
		"version":      {func(in *volumes.Input) { in.Builds[0].Version = ".." }, gone, `build version ".."`},
		"release":      {func(in *volumes.Input) { in.Builds[0].Release = "1/2" }, gone, `build release "1/2"`},
		"long release": {func(in *volumes.Input) { in.Builds[0].Release = strings.Repeat("1", 256) }, gone, "256 bytes"},
		"twice":        {func(in *volumes.Input) { in.Others[1].Build = in.Builds[0].Build }, gone, "in the plan twice"},
		"volume":       {func(in *volumes.Input) { in.Others[0].Volume = "../.." }, volume, `volume name "../..": names a directory of the path itself: the volume gets no link, and the 1 builds on it stay out`},
		"volume, tab":  {func(in *volumes.Input) { in.Builds[0].Volume = "a\tb" }, volume, `volume name "a\tb"`},
		"long volume":  {func(in *volumes.Input) { in.Others[0].Volume = strings.Repeat("v", 255) }, volume, "staging volume name"},
		"one name": {func(in *volumes.Input) { in.Others[0].Volume, in.Builds[0].Volume = "a_b", "a/b" }, volume,
			`staging's name of it, "prod_a_b", is that of production's volume "a/b"`},
	} {
		in := example()
		in.Builds = append(in.Builds, volumes.BuildFiles{Build: volumes.Build{Name: "good", Version: "1", Release: "1"}, RPMs: in.Builds[0].RPMs[2:3]})
		c.change(&in)
		plan, err := volumes.NewPlan(in, volumes.Want{})
		if err != nil || len(plan.Held) != 1 {
			t.Errorf("%s: %v, held %v", name, err, plan.Held)
			continue
		}
		h := plan.Held[0]
		if text := h.String(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") || h.Kind != strings.Replace(c.kind, gone, build, 1) {
			t.Errorf("%s: %s", name, text)
		}
		staged := func(b volumes.StagedBuild) bool { return b.Build.Name == "good" }
		links := map[string]int{build: 4, gone: 3, volume: 3}[c.kind]
		if !slices.ContainsFunc(plan.Staged, staged) || len(plan.Linked) != links {
			t.Errorf("%s: staged %v, linked %v", name, plan.Staged, plan.Linked)
		}
	}
}

// The same key in two cases with the same header is one file.
func TestKeyInTwoCases(t *testing.T) {
	in := example()
	in.Builds[0].RPMs[0].Sigs = append(in.Builds[0].RPMs[0].Sigs, volumes.Signature{Key: "ABCD0123", Hash: hash})
	plan, err := volumes.NewPlan(in, volumes.Want{SigKeys: []string{"abcd0123"}})
	if err != nil || len(plan.Held) > 0 || len(plan.Staged) != 1 {
		t.Errorf("%v, held %v", err, plan.Held)
	}
}

// An rpm without SIGMD5 is held to its own SHA-256 digests.
func TestRPMDigest(t *testing.T) {
	for hash, want := range map[string]string{"": "rpmsha256:", "(none)": "rpmsha256:", strings.Repeat("A", 64): "rpmsha256:" + strings.Repeat("a", 64),
		strings.Repeat("A", 32): "sigmd5:" + strings.Repeat("a", 32), "12": "", strings.Repeat("x", 32): "", strings.Repeat("x", 64): ""} {
		if got, err := volumes.RPMDigest(hash); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", hash, got, err)
		}
	}
}

func TestNewPlanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*volumes.Want)
		want   string
	}{
		"copy volume":       {func(w *volumes.Want) { w.CopyVolume = "a/b" }, `copy volume name "a/b"`},
		"copy volume prod":  {func(w *volumes.Want) { w.CopyVolume = "prod" }, `"prod" cannot be both`},
		"copy volume prod_": {func(w *volumes.Want) { w.CopyVolume = "prod_ssd" }, `"prod_ssd" cannot be both`},
		"mapped to DEFAULT": {func(w *volumes.Want) { w.Mapping.Rules = map[string]string{"ssd": "DEFAULT"} }, "is mapped to DEFAULT"},
		"mapped alike":      {func(w *volumes.Want) { w.Mapping.Rules = map[string]string{"ssd": "x", "archive01": "x"} }, "both mapped to"},
		"mapped out":        {func(w *volumes.Want) { w.Mapping.Rules = map[string]string{"ssd": "../x"} }, `staging volume name "../x"`},
	} {
		var want volumes.Want
		c.change(&want)
		_, err := volumes.NewPlan(example(), want)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// If two archives have one name, and no database says which directory has which, the plan wants both.
func TestArchivesInSubdirectories(t *testing.T) {
	in := example()
	b := &in.Builds[0]
	b.RPMs = nil
	same := b.Archives[0]
	other := same
	other.Checksum = strings.Repeat("1", 32)
	image := b.Archives[1]
	b.Archives = []volumes.ArchiveFile{same, other, same, image, image}
	plan, err := volumes.NewPlan(in, volumes.Want{})
	if err != nil {
		t.Fatal(err)
	}
	got := plan.Staged[0].Files
	if len(got) != 3 || got[0].Path != same.Path || got[1].Path != same.Path || got[0].Digest == got[1].Digest || got[2].Path != image.Path {
		t.Errorf("files %+v", got)
	}
	for path, want := range map[string]bool{same.Path: true, "files/module/a/b/m.txt": true, "files/module/xm.txt": false,
		"files/m.txt": false, "files/module/m.txt/x": false, "x/files/module/m.txt": false} {
		if got[0].Matches(path) != want {
			t.Errorf("sits at %q: %v", path, !want)
		}
	}
	if got[2].Matches("images/a/x.raw") {
		t.Error("an image in a subdirectory")
	}
}

func TestMapping(t *testing.T) {
	m := volumes.Mapping{Prod: "production", Rules: map[string]string{"ssd": "fast", "old": "production"}}
	for prod, want := range map[string]string{"": "production", "DEFAULT": "production", "ssd": "fast", "old": "production",
		"archive01": "production_archive01", "a/b": "production_a_b"} {
		if got := m.Staging(prod); got != want {
			t.Errorf("%q is %q, want %q", prod, got, want)
		}
	}
	links, err := m.Links([]string{"ssd", "a/b", "old", "DEFAULT"})
	if err != nil {
		t.Fatal(err)
	}
	want := []volumes.VolumeLink{{Name: "fast", Source: "vol/ssd"}, {Name: "production_a_b", Source: "vol/a/b"}}
	if !slices.Equal(links, want) {
		t.Errorf("links %v, want %v", links, want)
	}
	if _, err := m.Links([]string{"a/b", "a_b"}); err == nil {
		t.Error("two volumes under one name")
	}
	if _, err := (volumes.Mapping{Prod: ".."}).Links(nil); !errors.Is(err, volumes.ErrUnsafeName) {
		t.Errorf("error %v", err)
	}
}

func BenchmarkNewPlan(b *testing.B) {
	in := volumestest.Input(b)
	n := 0
	for b.Loop() {
		plan, err := volumes.NewPlan(in, volumes.Want{SigKeys: []string{"41526f0e"}})
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range plan.Staged {
			n += len(s.Files)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "files/s")
}
