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
		Others: []volumes.Build{{Name: "a", Version: "1", Release: "1", Volume: "ssd"}, {Name: "Z", Version: "1", Release: "1"}},
	}
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
			Build:  volumes.Build{Name: "a", Version: "1", Release: "2", Volume: "archive01"},
			Behind: "prod_archive01",
			Files: []volumes.File{
				sig("data/sigcache/abcd0123/x86_64/a-1-2.x86_64.rpm.sig"),
				sig("data/sigcache/src/a-1-2.src.rpm.sig"),
				sig("data/sigcache/x86_64/a-1-2.x86_64.rpm.sig"),
				{Path: "data/signed/abcd0123/x86_64/a-1-2.x86_64.rpm", Kind: volumes.KindSigned, Size: -1, Digest: sigmd5,
					Key: "abcd0123", Unsigned: "x86_64/a-1-2.x86_64.rpm",
					Sig: "data/sigcache/abcd0123/x86_64/a-1-2.x86_64.rpm.sig", SigDigest: md5},
				{Path: "files/module/m.txt", Kind: volumes.KindArchive, Size: 3, Digest: md5, Optional: true, Deep: true},
				{Path: "i686/a-1-2.i686.rpm", Kind: volumes.KindRPM, Size: 10, Digest: sigmd5}, // not signed
				{Path: "src/a-1-2.src.rpm", Kind: volumes.KindRPM, Size: 10, Digest: sigmd5},
			},
		}},
		Linked: []volumes.Build{
			{Name: "Z", Version: "1", Release: "1", Volume: "prod"},
			{Name: "a", Version: "1", Release: "1", Volume: "prod_ssd"},
			{Name: "a", Version: "1", Release: "2", Volume: "staged"},
		},
	}
	if !reflect.DeepEqual(got, want) {
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

func TestNewPlanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*volumes.Input, *volumes.Want)
		want   string
	}{
		"rpm arch":      {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].RPMs[0].Arch = "../x" }, `rpm arch "../x"`},
		"sigkey":        {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].RPMs[0].Sigs[1].Key = "a/b" }, `sigkey "a/b"`},
		"archive":       {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].Archives[0].Path = "a/../../b" }, `archive path "a/../../b"`},
		"other build":   {func(in *volumes.Input, _ *volumes.Want) { in.Others[0].Name = "a\nb" }, `package name "a\nb"`},
		"volume":        {func(in *volumes.Input, _ *volumes.Want) { in.Others[0].Volume = "../.." }, `volume name "../.."`},
		"payloadhash":   {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].RPMs[0].PayloadHash = "12" }, "payloadhash"},
		"sighash":       {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].RPMs[0].Sigs[0].Hash = "" }, "sighash"},
		"checksum":      {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].Archives[0].Checksum = "zz" }, "not a digest"},
		"checksum type": {func(in *volumes.Input, _ *volumes.Want) { in.Builds[0].Archives[0].ChecksumType = 7 }, "checksum type 7"},
		"twice":         {func(in *volumes.Input, _ *volumes.Want) { in.Others[1] = in.Builds[0].Build }, "in the plan twice"},
		"rpm twice": {func(in *volumes.Input, _ *volumes.Want) {
			in.Builds[0].RPMs[1] = in.Builds[0].RPMs[3]
			in.Builds[0].RPMs[1].Size = 11
		}, "in the plan twice"},
		"copy volume":       {func(_ *volumes.Input, w *volumes.Want) { w.CopyVolume = "a/b" }, `copy volume name "a/b"`},
		"copy volume prod":  {func(_ *volumes.Input, w *volumes.Want) { w.CopyVolume = "prod" }, `"prod" cannot be both`},
		"copy volume prod_": {func(_ *volumes.Input, w *volumes.Want) { w.CopyVolume = "prod_ssd" }, `"prod_ssd" cannot be both`},
		"mapped to DEFAULT": {func(_ *volumes.Input, w *volumes.Want) { w.Mapping.Rules = map[string]string{"ssd": "DEFAULT"} }, "is mapped to DEFAULT"},
		"mapped alike": {func(_ *volumes.Input, w *volumes.Want) {
			w.Mapping.Rules = map[string]string{"ssd": "x", "archive01": "x"}
		}, "both mapped to"},
		"mapped out": {func(_ *volumes.Input, w *volumes.Want) { w.Mapping.Rules = map[string]string{"ssd": "../x"} }, `staging volume name "../x"`},
	} {
		in, want := example(), volumes.Want{}
		c.change(&in, &want)
		_, err := volumes.NewPlan(in, want)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// Two archives of one name, of which no database says which is where: both are wanted.
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
		if got[0].Sits(path) != want {
			t.Errorf("sits at %q: %v", path, !want)
		}
	}
	if got[2].Sits("images/a/x.raw") {
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
