package hardlink_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/volumes"
)

// Names that differ only in case are different files, and files may have the longest names that are possible.
func TestCollidingAndLongNames(t *testing.T) {
	s := &site{prod: filepath.Join(t.TempDir(), "prod"), top: filepath.Join(t.TempDir(), "koji")}
	from, err := extracted()
	if err != nil {
		t.Fatal(err)
	}
	rpm := mustRead(t, filepath.Join(from, someRPM))
	long := func(c string, n int) string { return strings.Repeat(c, n) }
	deep := strings.Repeat("a/", 1200) + "a"
	for _, b := range []volumes.Build{
		{Name: "Foo", Version: "1", Release: "1"}, {Name: "foo", Version: "1", Release: "1"}, {Name: "foo", Version: "1", Release: "1A"},
		{Name: "foo", Version: "1", Release: "1a"}, {Name: long("n", 255), Version: long("v", 255), Release: long("r", 255)},
	} {
		bf := volumes.BuildFiles{Build: b}
		for _, name := range []string{"x", "X", long("x", 255-len("-1-1.noarch.rpm"))} {
			r := volumes.RPM{Name: name, Version: "1", Release: "1", Arch: "noarch"}
			bf.RPMs = append(bf.RPMs, volumes.RPMFile{RPM: r, Size: int64(len(rpm)), PayloadHash: sigmd5Of(rpm)})
			path := filepath.Join(s.prodDir(t, b), "noarch", r.File())
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, rpm, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s.input.Builds = append(s.input.Builds, bf)
	}
	if err := os.Mkdir(s.top, 0o755); err != nil {
		t.Fatal(err)
	}
	if r := s.mustCopy(t); r.Builds != 5 || r.Linked != 15 || len(r.Kept) != 0 {
		t.Errorf("%+v", r)
	}
	if n := s.check(t); n != 15 {
		t.Errorf("%d files", n)
	}
	if a := s.diff(t); a.Pending() {
		t.Errorf("left to do: %+v", a)
	}

	b := &s.input.Builds[0]
	b.Archives = []volumes.ArchiveFile{{Path: "maven/" + deep + "/x/1/x.jar", BType: "maven", Size: 1, Checksum: strings.Repeat("0", 32)}}
	plan, err := volumes.NewPlan(s.input, s.want)
	if err != nil {
		t.Fatal(err)
	}
	// A path may have the most components that are possible: no source has the file, and only this build is
	// reported.
	e := s.engine(t)
	a, err := e.Diff(t.Context(), plan)
	if err != nil || len(a.Missing) != 1 {
		t.Errorf("%v, missing %d", err, len(a.Missing))
	}
	b.Archives[0].Path = "maven/" + deep + "/" + deep
	plan, err = volumes.NewPlan(s.input, s.want)
	if err != nil || len(plan.Held) != 1 || len(plan.Held[0].String()) > 400 || plan.Held[0].Name != "Foo-1-1" || len(plan.Staged) != 4 {
		t.Errorf("%v, held %v", err, plan.Held)
	}
}

// sigmd5Of returns the SIGMD5 that an rpm has in its header.
func sigmd5Of(rpm []byte) string {
	at := sigmd5At(rpm)
	return hex.EncodeToString(rpm[at : at+16])
}
