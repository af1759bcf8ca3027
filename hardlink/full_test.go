package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"kojisnap/hardlink"
)

// onlySmall is a site of a few small builds, one without files.
func onlySmall(t testing.TB) *site { return newSite(t, "win-tool", "emptypkg") }

// The disk or a quota is full at each single operation in turn. The error says so, nothing is half made, no
// temporary file is left, and the next run completes.
func TestFullAtAnyWrite(t *testing.T) {
	base := onlySmall(t)
	for i, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		for n := i % every(); ; n += every() {
			s := &site{prod: base.prod, top: t.TempDir(), input: base.input, want: base.want}
			e := s.engine(t)
			a, err := e.Diff(t.Context(), s.plan(t))
			must(t, err)
			hit := e.FailWrite(n, errno)
			_, err = e.Apply(t.Context(), a)
			if !hit() {
				must(t, err)
				if n < 20 {
					t.Errorf("only %d writes", n)
				}
				break
			}
			var space *hardlink.SpaceError
			if !errors.As(err, &space) {
				t.Fatalf("write %d, %v: error %v, want a SpaceError", n, errno, err)
			}
			s.wholeOrAbsent(t)
			s.mustCopy(t)
			s.check(t)
			if t.Failed() {
				t.Fatalf("write %d, %v", n, errno)
			}
		}
	}
}

// A real file system runs out of inodes after any number of them: topdir is unchanged or complete.
func TestFullOfInodes(t *testing.T) {
	s := onlySmall(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=16m,nr_inodes=1000")
	full := 0
	for inodes := 3; ; inodes++ {
		must(t, syscall.Mount("", s.top, "", syscall.MS_REMOUNT, "size=16m,nr_inodes="+strconv.Itoa(inodes)))
		_, err := s.copy(t)
		if err == nil {
			break
		}
		full++
		var space *hardlink.SpaceError
		if !errors.As(err, &space) {
			t.Fatalf("%d inodes: error %v, want a SpaceError", inodes, err)
		}
		s.wholeOrAbsent(t)
		if t.Failed() || inodes > 2000 {
			t.Fatalf("%d inodes", inodes)
		}
	}
	if full < 20 {
		t.Errorf("full %d times only", full)
	}
	s.check(t)
}

// A real file system runs out of bytes, with more and more of them used before.
func TestFullOfBytes(t *testing.T) {
	s := onlySmall(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=256k")
	filler := filepath.Join(s.top, "filler")
	full, done := 0, 0
	for size := 256 << 10; size > 0; size -= 4 << 10 {
		f, err := os.Create(filler)
		must(t, err)
		err = syscall.Fallocate(int(f.Fd()), 0, 0, int64(size))
		f.Close()
		if errors.Is(err, syscall.ENOSPC) {
			continue
		}
		must(t, err)
		_, err = s.copy(t)
		var space *hardlink.SpaceError
		if err == nil {
			done++
			break
		} else if !errors.As(err, &space) {
			t.Fatalf("%d bytes taken: error %v, want a SpaceError", size, err)
		}
		full++
		s.wholeOrAbsent(t)
	}
	if full < 3 || done == 0 {
		t.Errorf("full %d times, done %d", full, done)
	}
	s.check(t)
}
