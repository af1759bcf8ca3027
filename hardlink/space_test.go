package hardlink_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink"
	"kojisnap/kojisnap/progress"
)

// Other programs fill the disk during a copy. The copy stops before it takes the last bytes, and continues
// when there is room again.
func TestDiskFillsUpMeanwhile(t *testing.T) {
	s := newSite(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=64m")
	const reserve = 64 << 20 / 100
	filler := filepath.Join(s.top, "others")
	fill := sync.OnceFunc(func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if err := unix.Fallocate(int(f.Fd()), 0, 0, freeBytes(t, s.top)-reserve-1<<20); err != nil {
			t.Error(err)
		}
	})
	_, err := s.copy(t, func(o *hardlink.Options) {
		o.Jobs, o.BatchFiles, o.Progress = 1, 10, onCopied(fill)
	})
	var space *hardlink.SpaceError
	if !errors.As(err, &space) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("error %v, want a SpaceError", err)
	}
	if space.Reserve != reserve || space.Need <= space.Free-reserve {
		t.Errorf("%+v, want a reserve of %d that is at stake", space, reserve)
	}
	if free := freeBytes(t, s.top); free < reserve {
		t.Errorf("%d bytes are free, %d were to be left", free, reserve)
	}
	if s.wholeOrAbsent(t) == 0 {
		t.Error("nothing was made before")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.mustCopy(t)
	s.check(t)
}

func TestFewInodes(t *testing.T) {
	s := newSite(t)
	mount(t, "tmpfs", s.top, "tmpfs", 0, "size=64m,nr_inodes=100")
	_, err := s.copy(t)
	var space *hardlink.SpaceError
	if !errors.As(err, &space) || !space.Inodes {
		t.Fatalf("error %v, want a SpaceError for inodes", err)
	}
	if got := files(t, filepath.Join(s.top, "vol")); len(got) != 0 {
		t.Errorf("files %q after a refusal", got)
	}
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// onCopied is a Progress that calls a function for each file that is made.
type onCopied func()

func (f onCopied) Begin(stage string, _ int64) progress.Counter {
	if stage != "copy" {
		return progress.Discard.Begin("", 0)
	}
	return f
}
func (f onCopied) Add(int64) { f() }
func (f onCopied) End()      {}
