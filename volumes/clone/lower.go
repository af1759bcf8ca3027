package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Lower is a tree that a clone reads as long as it lives, and by what it is recognized.
type Lower struct {
	Path string `json:"path"`
	Live bool   `json:"live,omitempty"` // production may change it; otherwise it is a view of one moment
	// Inode and Born (when it was made, in ns since 1970; 0: the file system does not say) are those of the directory.
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"`
	// Changed are the times of the last change, in ns since 1970, of the directory and of packages in it. A view of one
	// moment keeps them.
	Changed [2]int64 `json:"changed"`
}

// StaleError says that a clone no longer shows what it was made of.
type StaleError struct {
	ID     string // empty if the caller knows
	Reason string
}

func (e *StaleError) Error() string {
	if e.ID == "" {
		return "clone stale: " + e.Reason
	}
	return fmt.Sprintf("clone stale: %s: %s; make a new one: kojisnap clone, or sync", e.ID, e.Reason)
}

// LookAtLower looks at a tree that a clone is to be made of.
func LookAtLower(path string, live bool) (Lower, error) {
	l := Lower{Path: path, Live: live}
	st, err := statx(path)
	if err != nil {
		return l, err
	}
	packages, err := statx(filepath.Join(path, "packages"))
	if err != nil {
		return l, err
	}
	l.Inode, l.Born = st.Ino, born(st)
	l.Changed = [2]int64{nanoseconds(st.Ctime), nanoseconds(packages.Ctime)}
	return l, nil
}

// Check is a *StaleError if the tree is gone, cannot be read, or is another one than when the clone was made.
func (l Lower) Check() error {
	now, err := LookAtLower(l.Path, l.Live)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return &StaleError{Reason: fmt.Sprintf("the tree %s, which it reads, is gone", l.Path)}
	case err != nil:
		return &StaleError{Reason: fmt.Sprintf("the tree %s, which it reads, cannot be read: %v", l.Path, err)}
	case now.Inode != l.Inode, l.Born != 0 && now.Born != 0 && now.Born != l.Born, !l.Live && now.Changed != l.Changed:
		return &StaleError{Reason: fmt.Sprintf("the tree %s, which it reads, was replaced by another one", l.Path)}
	}
	return nil
}

// FileStale says why a file of the tree is not what a clone, made at a time, has of it: it is gone, cannot be read, or
// was changed later. Empty: the tree is not to blame. rel is relative to the tree, have is the file as the clone shows it.
func (l Lower) FileStale(rel string, have fs.FileInfo, made time.Time) string {
	if !filepath.IsLocal(rel) {
		return ""
	}
	path := filepath.Join(l.Path, rel)
	st, err := statx(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		if have == nil {
			return "" // neither has it
		}
		return path + " is gone"
	case err != nil:
		return err.Error()
	case have != nil && (int64(st.Size) != have.Size() || nanoseconds(st.Mtime) != have.ModTime().UnixNano()):
		return path + " was replaced"
	case nanoseconds(st.Ctime) > made.UnixNano():
		return path + " was changed after the clone was made"
	}
	return ""
}

func statx(path string) (st unix.Statx_t, err error) {
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return st, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return st, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

func born(st unix.Statx_t) int64 {
	if st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return nanoseconds(st.Btime)
}
