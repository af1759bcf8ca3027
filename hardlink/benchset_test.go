package hardlink_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/volumes"
)

// benchSet is a set of rpms to copy: production's tree and the database's rows. Each has a real signature
// header, with the SIGMD5 of the rest; the rest is random, so that no file system can compress it.
type benchSet struct {
	dir   string // production's topdir
	input volumes.Input
	files int
	bytes int64
}

// benchSets are the functions that make sets in a directory.
var benchSets = map[string]func(b *testing.B, dir string) *benchSet{
	"small": func(b *testing.B, dir string) *benchSet { // 20,000 of 4 to 28 KiB, 20 to a build
		s, rnd := newBenchSet(dir), rand.New(rand.NewPCG(1, 1))
		for i := range benchNumber(b, "KOJISNAP_BENCH_SMALL", 20000) / 20 {
			build := volumes.BuildFiles{Build: volumes.Build{Name: fmt.Sprintf("pkg%05d", i), Version: "1", Release: "1.fc42"}}
			for j := range 20 {
				rpm := volumes.RPM{Name: fmt.Sprintf("pkg%05d-sub%d", i, j), Version: "1", Release: "1.fc42", Arch: "x86_64"}
				s.add(b, &build, rpm, 4<<10+rnd.Int64N(24<<10))
			}
			s.input.Builds = append(s.input.Builds, build)
		}
		return s
	},
	"large": func(b *testing.B, dir string) *benchSet { // of 100 MB, one to a build
		s := newBenchSet(dir)
		for i := range benchNumber(b, "KOJISNAP_BENCH_LARGE", 20) {
			build := volumes.BuildFiles{Build: volumes.Build{Name: fmt.Sprintf("large%03d", i), Version: "1", Release: "1.fc42"}}
			s.add(b, &build, volumes.RPM{Name: build.Name, Version: "1", Release: "1.fc42", Arch: "x86_64"}, 100e6)
			s.input.Builds = append(s.input.Builds, build)
		}
		return s
	},
	"mix": func(b *testing.B, dir string) *benchSet { // builds, names and sizes as Fedora has them
		s := newBenchSet(dir)
		hub, err := generate.Hub(generate.Options{Seed: 1, Builds: benchNumber(b, "KOJISNAP_BENCH_MIX", 300), Outside: -1})
		if err != nil {
			b.Fatal(err)
		}
		rows := func(table string, where hubtest.Values) []hubtest.Values {
			rows, err := hub.Select(table, where)
			if err != nil {
				b.Fatal(err)
			}
			return rows
		}
		names := map[any]string{}
		for _, p := range rows("package", nil) {
			names[p["id"]] = p["name"].(string)
		}
		rpms := map[any][]hubtest.Values{}
		for _, r := range rows("rpminfo", nil) {
			rpms[r["build_id"]] = append(rpms[r["build_id"]], r)
		}
		for _, row := range rows("build", hubtest.Values{"state": 1, "volume_id": 0}) {
			build := volumes.BuildFiles{Build: volumes.Build{Name: names[row["pkg_id"]], Version: row["version"].(string), Release: row["release"].(string)}}
			for _, r := range rpms[row["id"]] {
				rpm := volumes.RPM{Name: r["name"].(string), Version: r["version"].(string), Release: r["release"].(string), Arch: r["arch"].(string)}
				s.add(b, &build, rpm, r["size"].(int64))
			}
			s.input.Builds = append(s.input.Builds, build)
		}
		return s
	},
}

// benchNumber returns a number that the environment can change.
func benchNumber(b *testing.B, name string, number int) int {
	b.Helper()
	if v := os.Getenv(name); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n <= 0 {
			b.Fatalf("%s=%q: want a number", name, v)
		}
		return n
	}
	return number
}

func newBenchSet(dir string) *benchSet { return &benchSet{dir: dir} }

// add writes an rpm of about that size and adds it to a build.
func (s *benchSet) add(b *testing.B, build *volumes.BuildFiles, rpm volumes.RPM, size int64) {
	b.Helper()
	rel, err := rpm.Path()
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(s.dir, dir(b, build.Build), rel)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	n, hash, err := writeRPM(f, size, uint64(s.files))
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	build.RPMs = append(build.RPMs, volumes.RPMFile{RPM: rpm, Size: n, PayloadHash: hash})
	s.files++
	s.bytes += n
}

// writeRPM writes random bytes after an rpm's lead and signature header.
func writeRPM(f *os.File, size int64, seed uint64) (n int64, hash string, err error) {
	from, err := extracted()
	if err != nil {
		return 0, "", err
	}
	rpm, err := os.ReadFile(filepath.Join(from, someRPM))
	if err != nil {
		return 0, "", err
	}
	head, _ := md5Of(rpm)
	lead, sum := bytes.Clone(rpm[:head]), md5.New()
	if _, err := f.Seek(int64(head), io.SeekStart); err != nil {
		return 0, "", err
	}
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	payload := max(size-int64(head), 1000)
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8(key), payload); err != nil {
		return 0, "", err
	}
	digest := sum.Sum(nil)
	copy(lead[sigmd5At(rpm):], digest)
	_, err = f.WriteAt(lead, 0)
	return int64(head) + payload, hex.EncodeToString(digest), err
}
