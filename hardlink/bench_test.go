package hardlink_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/seedtest"
	"kojisnap/volumes"
)

// many is a site with a number of small rpms, each a copy of a real one, 20 to a build. They are on a
// read-only bind mount, so that they are copied, not linked.
func many(b *testing.B, rpms int) (s *site, ro string, bytes int64) {
	b.Helper()
	s = &site{prod: filepath.Join(b.TempDir(), "prod"), top: filepath.Join(b.TempDir(), "koji")}
	from, err := extracted()
	if err != nil {
		b.Fatal(err)
	}
	rpm := mustRead(b, filepath.Join(from, someRPM))
	_, hash := md5Of(rpm)
	for i := range rpms / 20 {
		bf := volumes.BuildFiles{Build: volumes.Build{Name: fmt.Sprintf("pkg%05d", i), Version: "1", Release: "1"}}
		dir := filepath.Join(s.prod, dir(b, bf.Build), "x86_64")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 20 {
			r := volumes.RPM{Name: fmt.Sprintf("pkg%05d-sub%d", i, j), Version: "1", Release: "1", Arch: "x86_64"}
			if err := os.WriteFile(filepath.Join(dir, r.File()), rpm, 0o644); err != nil {
				b.Fatal(err)
			}
			bf.RPMs = append(bf.RPMs, volumes.RPMFile{RPM: r, Size: int64(len(rpm)), PayloadHash: hash})
			bytes += int64(len(rpm))
		}
		s.input.Builds = append(s.input.Builds, bf)
	}
	if err := os.Mkdir(s.top, 0o755); err != nil {
		b.Fatal(err)
	}
	ro = filepath.Join(b.TempDir(), "ro")
	bindReadOnly(b, s.prod, ro)
	return s, ro, bytes
}

// md5Of returns the MD5 of what follows an rpm's signature header.
func md5Of(rpm []byte) (head int, sum string) {
	il := int(rpm[96+10])<<8 + int(rpm[96+11])
	dl := int(rpm[96+14])<<8 + int(rpm[96+15])
	hs := 8 + 16*il + dl
	hs += -hs & 7
	head = 96 + 8 + hs
	h := md5.Sum(rpm[head:])
	return head, hex.EncodeToString(h[:])
}

// cpu returns the processor time of this process and of its finished children: on a machine that others use
// it says more than wall clock time.
func cpu(b *testing.B) (d time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return d
}

// BenchmarkNothingChanged measures a run that finds all files in place.
func BenchmarkNothingChanged(b *testing.B) {
	const rpms = 20000
	s, _, _ := many(b, rpms)
	s.mustCopy(b) // hard links are quicker to make and the same to compare
	plan := s.plan(b)
	e := s.engine(b)
	begin := cpu(b)
	for b.Loop() {
		a, err := e.Diff(b.Context(), plan)
		if err != nil {
			b.Fatal(err)
		}
		if a.Pending() || a.Present != rpms {
			b.Fatalf("%d present", a.Present)
		}
	}
	b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(rpms*b.N), "cpu-µs/file")
	b.ReportMetric(float64(rpms)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

// The benchmarks work, with few files: in the short form each with the first of its ways.
func TestBenchmarks(t *testing.T) {
	which := "Copy/small/warm|Update/small/same|Hardlink/small|Reflink/xfs/small|Fetch/jobs=4"
	if seedtest.Long() {
		which = "Copy|Update|Hardlink|Reflink|Fetch"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", "-test.bench="+which, "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), "KOJISNAP_BENCH_SMALL=40", "KOJISNAP_BENCH_LARGE=1", "KOJISNAP_BENCH_MIX=2")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "\nBenchmark") < 5 {
		t.Errorf("%v: %s", err, out)
	}
}
