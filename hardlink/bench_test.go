package hardlink_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/volumes"
)

// many is a site of as many small rpms as asked for, each a copy of a real one, 20 to
// a build; they are copied, not linked, from a read-only bind mount.
func many(b *testing.B, rpms int) (s *site, ro string, bytes int64) {
	b.Helper()
	s = &site{prod: filepath.Join(b.TempDir(), "prod"), top: filepath.Join(b.TempDir(), "koji")}
	from, err := extracted()
	if err != nil {
		b.Fatal(err)
	}
	rpm := mustRead(b, filepath.Join(from, someRPM))
	_, hash := md5Of(b, rpm)
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

// md5Of is the MD5 of what follows an rpm's signature header (koji-facts 5.4).
func md5Of(b *testing.B, rpm []byte) (head int, sum string) {
	il := int(rpm[96+10])<<8 + int(rpm[96+11])
	dl := int(rpm[96+14])<<8 + int(rpm[96+15])
	hs := 8 + 16*il + dl
	hs += -hs & 7
	head = 96 + 8 + hs
	h := md5.Sum(rpm[head:])
	return head, hex.EncodeToString(h[:])
}

// cpu is the processor time used so far by this process and those it waited for: on
// a machine that others use it says more than the wall clock.
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

// BenchmarkCopy is a first copy of small rpms, verified and synced; beside it what cp
// and rsync need for the same files, with a sync at the end.
func BenchmarkCopy(b *testing.B) {
	const rpms = 4000
	s, ro, bytes := many(b, rpms)
	var begin, used time.Duration
	report := func(b *testing.B) {
		b.SetBytes(bytes)
		b.ReportMetric(float64(used.Microseconds())/float64(rpms*b.N), "cpu-µs/file")
		b.ReportMetric(float64(rpms)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
	}
	clean := func(b *testing.B) {
		b.StopTimer()
		if err := os.RemoveAll(s.top); err != nil {
			b.Fatal(err)
		}
		if err := os.Mkdir(s.top, 0o755); err != nil {
			b.Fatal(err)
		}
		exec.Command("sync").Run()
		begin = cpu(b)
		b.StartTimer()
	}
	b.Run("kojisnap", func(b *testing.B) {
		used = 0
		for range b.N {
			clean(b)
			if r := s.mustCopy(b, func(o *hardlink.Options) { o.ReadOnly = ro }); r.Copied != rpms {
				b.Fatalf("%+v", r)
			}
			used += cpu(b) - begin
		}
		report(b)
	})
	for name, command := range map[string][]string{
		"cp":    {"cp", "-r", "--preserve=timestamps,mode", ro + "/packages", s.top},
		"rsync": {"rsync", "-a", ro + "/packages", s.top},
	} {
		b.Run(name, func(b *testing.B) {
			used = 0
			if _, err := exec.LookPath(name); err != nil {
				b.Skip("needs " + name)
			}
			for range b.N {
				clean(b)
				if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				exec.Command("sync", "-f", s.top).Run()
				used += cpu(b) - begin
			}
			report(b)
		})
	}
}

// BenchmarkCopyLarge is one large file; io.Copy beside it is the limit.
func BenchmarkCopyLarge(b *testing.B) {
	const size = 256 << 20
	s := onlyBash(b)
	ro := filepath.Join(b.TempDir(), "ro")
	rpm := mustRead(b, filepath.Join(s.prod, bashDir, bashRPM))
	rpm = append(rpm, make([]byte, size)...)
	path := filepath.Join(s.prod, bashDir, bashRPM)
	head, _ := md5Of(b, rpm)
	h := md5.Sum(rpm[head:])
	copy(rpm[sigmd5At(rpm):], h[:])
	os.Remove(path)
	if err := os.WriteFile(path, rpm, 0o644); err != nil {
		b.Fatal(err)
	}
	s.input.Builds[0].RPMs = s.input.Builds[0].RPMs[:0:0]
	s.input.Builds[0].RPMs = append(s.input.Builds[0].RPMs, volumes.RPMFile{
		RPM:  volumes.RPM{Name: "bash", Version: "5.3.0", Release: "2.fc42", Arch: "x86_64"},
		Size: int64(len(rpm)), PayloadHash: hex.EncodeToString(h[:])})
	bindReadOnly(b, s.prod, ro)
	b.Run("kojisnap", func(b *testing.B) {
		b.SetBytes(int64(len(rpm)))
		for range b.N {
			b.StopTimer()
			os.RemoveAll(s.top)
			os.Mkdir(s.top, 0o755)
			b.StartTimer()
			s.mustCopy(b, func(o *hardlink.Options) { o.ReadOnly = ro })
		}
	})
	b.Run("io.Copy", func(b *testing.B) {
		b.SetBytes(int64(len(rpm)))
		for range b.N {
			in, err := os.Open(filepath.Join(ro, bashDir, bashRPM))
			if err != nil {
				b.Fatal(err)
			}
			out, err := os.Create(filepath.Join(s.top, "x"))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(out, in); err != nil {
				b.Fatal(err)
			}
			if err := out.Sync(); err != nil {
				b.Fatal(err)
			}
			in.Close()
			out.Close()
		}
	})
}

// BenchmarkNothingChanged is a run that finds all files in place.
func BenchmarkNothingChanged(b *testing.B) {
	const rpms = 20000
	s, _, _ := many(b, rpms)
	s.mustCopy(b) // hard links: quicker, and the same to compare
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
