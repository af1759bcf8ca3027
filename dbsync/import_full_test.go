package dbsync_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/lockfile"
	"kojisnap/kojisnap/retry"
)

// smallDisk is a file system of a few megabytes, of which a test takes the room and gives it back.
type smallDisk struct {
	t    testing.TB
	path string
}

// newSmallDisk mounts one on path, below a server's directory, for that server.
func newSmallDisk(t testing.TB, dir, path string, size int) *smallDisk {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	mountSmall(t, path, size)
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := errors.Join(os.Chown(path, int(owner.Uid), int(owner.Gid)), os.Chmod(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	return &smallDisk{t, path}
}

func mountSmall(t testing.TB, path string, size int) {
	t.Helper()
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func (d *smallDisk) ballast() string { return filepath.Join(d.path, "ballast") }

// fill leaves so many bytes.
func (d *smallDisk) fill(room int) {
	var free syscall.Statfs_t
	if err := syscall.Statfs(d.path, &free); err != nil {
		d.t.Error(err)
		return
	}
	err := os.WriteFile(d.ballast(), make([]byte, max(0, int(free.Bavail)*int(free.Bsize)-room)), 0o644)
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // the server may have taken some meanwhile
		d.t.Error(err)
	}
}

func (d *smallDisk) clear() {
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Error(err)
	}
}

// tablespace makes a tablespace on a small disk of a private server.
func (s *staging) tablespace(dir string, size int) (name string, disk *smallDisk) {
	s.t.Helper()
	disk = newSmallDisk(s.t, dir, filepath.Join(dir, "small"), size)
	dbtest.Exec(s.t, s.dsn, fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", disk.path))
	return "small", disk
}

// TestFullImportServerFull: the disk of the database is full at each stage of a full import. Each load says so in one line,
// and how to go on; with room again the next one goes on, and in the end all is as if there had been room.
func TestFullImportServerFull(t *testing.T) {
	t.Parallel()
	w := everything(t)
	other := w.snapshot(shot{})
	w.parent = 0 // no history of before
	snap := w.snapshot(shot{everything: true})
	s, dir := private(t)
	space, disk := s.tablespace(dir, 64<<20)
	want := &staging{t: t, dsn: s.dsn}
	s.begin(space)
	want.beginAs("other", "pg_default")
	want.load(snap, dbsync.LoadOptions{})

	for _, c := range []struct {
		stage string
		n     int64
		room  int
	}{
		{"", 0, 0}, {"copy", 1, 0}, {"copy", 500, 64 << 10}, {"copy", 1, 512 << 10}, {"index", 1, 0}, {"index", 5, 64 << 10}, {"index", 30, 0}, {"merge", 1, 0},
	} {
		opt := dbsync.LoadOptions{Sessions: 2, Progress: &at{stage: c.stage, n: c.n, do: func() { disk.fill(c.room) }}}
		if c.stage == "" {
			disk.fill(0)
		}
		_, err := dbsync.Load(t.Context(), s.conn, snap, opt)
		begun := c.stage != ""
		help := "make room on the database server"
		if begun {
			help += "; then kojisnap load --snapshot " + snap.ID + " goes on"
		}
		if err == nil || !strings.Contains(err.Error(), "No space left on device") || !strings.Contains(err.Error(), help) || strings.Contains(err.Error(), "\n") {
			t.Errorf("full at %s %d, with %d bytes of room: %v", c.stage, c.n, c.room, err)
		}
		disk.clear()
		if _, err := book.ReadMark(t.Context(), s.conn); errors.Is(err, lockfile.ErrLocked) != begun {
			t.Errorf("full at %s %d: the mark: %v", c.stage, c.n, err)
		}
		if c.stage == "merge" {
			s.refuses(snap, other)
		}
	}
	if rep := s.load(snap, dbsync.LoadOptions{}); rep.Mode != "import" {
		t.Errorf("mode %q", rep.Mode)
	}
	s.sameAs(want)
}

// TestFullImportServerLogFull: the write-ahead log of the database fills its disk amid a full import. PostgreSQL stops then,
// and may not start before there is room. Loads meanwhile end as with any lost database; with room again the import goes on.
func TestFullImportServerLogFull(t *testing.T) {
	t.Parallel()
	w := everything(t)
	snap := w.snapshot(shot{everything: true})
	parent, err := os.MkdirTemp("", "kojisnap-full-") // PostgreSQL's user must get there
	if err == nil {
		err = os.Chmod(parent, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	dir, elsewhere := filepath.Join(parent, "server"), filepath.Join(parent, "space")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mountSmall(t, dir, 200<<20)
	dsn, err := dbtest.StartLocal(dir)
	if err != nil {
		t.Skipf("no PostgreSQL on this machine: %v", err)
	}
	t.Cleanup(func() {
		if err := dbtest.StopLocal(dir); err != nil && !errors.Is(err, syscall.EBUSY) { // a mount is there
			t.Error(err)
		}
	})
	s, want, disk := &staging{t: t, dsn: dsn}, &staging{t: t, dsn: dsn}, &smallDisk{t, dir}
	large := newSmallDisk(t, dir, elsewhere, 256<<20)
	dbtest.Exec(t, dsn, fmt.Sprintf("CREATE TABLESPACE large LOCATION '%s'", large.path))
	s.begin("large")
	want.beginAs("other", "large")
	want.load(snap, dbsync.LoadOptions{})

	for _, c := range []at{{stage: "copy", n: 500}, {stage: "index", n: 10}} {
		other := dbtest.Connect(t, dsn)
		c.do = func() {
			disk.fill(0)
			for range 100 { // until there is no segment left
				if _, err := other.Exec(t.Context(), "CREATE TABLE x (); DROP TABLE x; SELECT pg_switch_wal()"); err != nil {
					return
				}
			}
			t.Error("the log has room")
		}
		_, err := dbsync.Load(t.Context(), s.conn, snap, dbsync.LoadOptions{Sessions: 2, Progress: &c})
		if !errors.As(err, new(*retry.TemporaryError)) || !strings.Contains(err.Error(), "kojisnap load --snapshot "+snap.ID+" goes on") || strings.Contains(err.Error(), "\n") {
			t.Errorf("full at %s: %v", c.stage, err)
		}
		if _, err := dbconn.Connect(t.Context(), s.dsn); !errors.As(err, new(*retry.TemporaryError)) {
			t.Errorf("a server that has no room to start: %v", err)
		}
		disk.clear()
		if err := dbtest.RestartLocal(dir); err != nil {
			t.Fatal(err)
		}
		s.conn, want.conn = dbtest.Connect(t, s.dsn), dbtest.Connect(t, want.dsn)
		if _, err := book.ReadMark(t.Context(), s.conn); !errors.Is(err, lockfile.ErrLocked) {
			t.Errorf("full at %s: the mark: %v", c.stage, err)
		}
	}
	if rep := s.load(snap, dbsync.LoadOptions{}); rep.Mode != "import" {
		t.Errorf("mode %q", rep.Mode)
	}
	s.sameAs(want)
}
