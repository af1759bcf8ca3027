package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is staging's topdir, opened for writing. Paths are relative to it. No method follows a symlink or
// enters another mount on the way to what it changes, so that nothing in topdir can lead a write into the
// read-only volume. Only the directory packages may itself be a mount or a symlink; Open checks it. Methods
// may be called concurrently.
type Dir struct {
	// Hook, if set, is called before each operation except reading, and can make it fail: for tests of what
	// a crash leaves behind.
	Hook func(op, rel string) error

	roots
	owners
	temp string // where directories are made before they get their names; "": there is none yet
	made atomic.Int64
}

func (t *Dir) hook(op, rel string) error {
	if t.Hook == nil {
		return nil
	}
	return t.error(op, rel, t.Hook(op, rel))
}

// Open opens staging's topdir for writing. readOnly is the directory of the read-only volume (production's
// topdir as mounted here), "" if there is none. Open returns an error if topdir is missing, is on a read-only
// mount, or is or lies below readOnly, by path or by device and inode; if topdir's vol is on another file
// system; or if symlinks of Koji's in packages would lead elsewhere.
func Open(topdir, readOnly string) (*Dir, error) {
	if topdir == "" {
		return nil, errors.New("no topdir given")
	}
	resolved, err := directory("topdir", topdir)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(resolved, &st); err != nil {
		return nil, fmt.Errorf("topdir %s: statfs: %w", topdir, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return nil, fmt.Errorf("topdir %s: is on a read-only mount", topdir)
	}
	if readOnly != "" {
		if err := apart(topdir, resolved, readOnly); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(resolved, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("topdir %s: %w", topdir, err)
	}
	t := &Dir{roots: roots{path: resolved, fd: fd, packages: -1}}
	t.SetAttributes(Attributes{})
	if err := t.openPackages(readOnly); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Close closes the directory.
func (t *Dir) Close() error {
	if t.packages >= 0 {
		unix.Close(t.packages)
	}
	return unix.Close(t.fd)
}

// Path returns topdir's absolute path, without symlinks.
func (t *roots) Path() string { return t.path }

// Join returns the absolute path of a path relative to topdir, for messages and reading.
func (t *roots) Join(rel string) string { return filepath.Join(t.path, rel) }

// Room is what topdir's file system has left for a user other than root.
type Room struct {
	Bytes  int64
	Inodes int64 // math.MaxInt64 if the file system does not count them
	Size   int64 // bytes, used and free
}

// Room asks the file system.
func (t *Dir) Room() (Room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(t.path, &st); err != nil {
		return Room{}, fmt.Errorf("topdir %s: statfs: %w", t.path, err)
	}
	r := Room{Bytes: int64(st.Bavail) * st.Bsize, Inodes: math.MaxInt64, Size: int64(st.Blocks) * st.Bsize}
	if st.Files > 0 {
		r.Inodes = int64(st.Ffree)
	}
	return r, nil
}

// Sync writes content and names of topdir's whole file system to the disk (syncfs), and of the one of
// packages.
func (t *Dir) Sync() error {
	if err := t.hook("syncfs", "."); err != nil {
		return err
	}
	dirs := []string{t.path}
	if t.packages >= 0 {
		dirs = append(dirs, t.Join(packagesDir))
	}
	for _, dir := range dirs {
		f, err := os.Open(dir) // syncfs refuses an O_PATH descriptor
		if err != nil {
			return err
		}
		err = unix.Syncfs(int(f.Fd()))
		f.Close()
		if err != nil {
			return fmt.Errorf("topdir %s: syncfs of %s: %w", t.path, dir, err)
		}
	}
	return nil
}

// Lstat is lstat(2). It follows symlinks on the way: it changes nothing.
func (t *Dir) Lstat(rel string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(t.fd, rel, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, t.error("lstat", rel, err)
}

// Mkdir makes a directory and the missing ones above it. Each appears with its attributes; without a mode
// among them, with 0755 whatever the umask.
func (t *Dir) Mkdir(rel string) error {
	fd, err := t.makeDir(rel)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// EnsureDir is Mkdir for a directory of kojisnap's own: it sets the attributes even if the directory exists.
func (t *Dir) EnsureDir(rel string) error {
	if err := t.Mkdir(rel); err != nil || t.attr == (Attributes{}) {
		return err
	}
	if err := t.hook("chown", rel); err != nil {
		return err
	}
	fd, err := t.openDir(rel, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mode := uint32(0)
	if t.attr.Mode != 0 {
		mode = t.dirMode()
	}
	return t.own(fd, t.Join(rel), mode)
}

// UseTemp makes the directory for temporary names. It first removes what a killed run left in it.
func (t *Dir) UseTemp(rel string) error {
	t.temp = ""
	if err := t.RemoveAll(rel); err != nil {
		return err
	}
	if err := t.EnsureDir(rel); err != nil {
		return err
	}
	t.temp = rel
	return nil
}

// Open opens a regular file for reading.
func (t *Dir) Open(rel string) (*os.File, error) {
	var file *os.File
	err := t.at("open", rel, func(dir int, name string) error {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			file = os.NewFile(uintptr(fd), t.Join(rel))
		}
		return err
	})
	return file, err
}

// LinkFile makes a hard link to an open file at rel.
func (t *Dir) LinkFile(f *os.File, rel string) error {
	return t.at("link", rel, func(dir int, name string) error { return linkFile(f, dir, name) })
}

func linkFile(f *os.File, dir int, name string) error {
	// By descriptor this needs CAP_DAC_READ_SEARCH; by /proc it does not.
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// Symlink makes a symlink. rel must not exist.
func (t *Dir) Symlink(target, rel string) error {
	return t.at("symlink", rel, func(dir int, name string) error {
		if err := unix.Symlinkat(target, dir, name); err != nil {
			return err
		}
		err := t.ownLink(dir, name, rel)
		if err != nil {
			unix.Unlinkat(dir, name, 0)
		}
		return err
	})
}

// Readlink returns a symlink's target.
func (t *Dir) Readlink(rel string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(t.fd, rel, buf)
	if err != nil {
		return "", t.error("readlink", rel, err)
	}
	return string(buf[:n]), nil
}

// Rename renames within topdir. It replaces a file or a symlink, never a directory.
func (t *Dir) Rename(from, to string) error {
	return t.at("rename", from, func(fromDir int, fromName string) error {
		return t.at("rename", to, func(toDir int, toName string) error {
			return unix.Renameat(fromDir, fromName, toDir, toName)
		})
	})
}

// RenameNew is Rename to a name that must be free (renameat2 RENAME_NOREPLACE).
func (t *Dir) RenameNew(from, to string) error {
	return t.at("rename", from, func(fromDir int, fromName string) error {
		return t.at("rename", to, func(toDir int, toName string) error {
			err := unix.Renameat2(fromDir, fromName, toDir, toName, unix.RENAME_NOREPLACE)
			if err != unix.EINVAL && err != unix.ENOSYS {
				return err
			}
			// The file system cannot do that (NFS): look, then rename. Only the holder of topdir's lock
			// writes.
			var st unix.Stat_t
			if err := unix.Fstatat(toDir, toName, &st, unix.AT_SYMLINK_NOFOLLOW); err != unix.ENOENT {
				if err == nil {
					err = unix.EEXIST
				}
				return err
			}
			return unix.Renameat(fromDir, fromName, toDir, toName)
		})
	})
}

// Exchange swaps two names in one step (renameat2 RENAME_EXCHANGE). It returns EINVAL or ENOSYS if the file
// system or the kernel cannot.
func (t *Dir) Exchange(a, b string) error {
	return t.at("exchange", a, func(aDir int, aName string) error {
		return t.at("exchange", b, func(bDir int, bName string) error {
			return unix.Renameat2(aDir, aName, bDir, bName, unix.RENAME_EXCHANGE)
		})
	})
}

// Remove removes a file or a symlink.
func (t *Dir) Remove(rel string) error {
	return t.at("remove", rel, func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) })
}

// Rmdir removes an empty directory.
func (t *Dir) Rmdir(rel string) error {
	return t.at("rmdir", rel, func(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

// RemoveAll removes a tree that the caller owns. A missing tree is no error. It removes symlinks and does not
// follow them.
func (t *Dir) RemoveAll(rel string) error {
	err := t.at("remove", rel, func(dir int, name string) error {
		// os.Root does not leave its directory, and its RemoveAll follows no symlink.
		root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir))
		if err != nil {
			return err
		}
		defer root.Close()
		return root.RemoveAll(name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadDir lists a directory, sorted.
func (t *Dir) ReadDir(rel string) ([]fs.DirEntry, error) {
	fd, err := t.openDir(rel, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), t.Join(rel))
	defer d.Close()
	return d.ReadDir(-1)
}

// Names returns the names in a directory, in no order.
func (t *Dir) Names(rel string) ([]string, error) {
	fd, err := t.openDir(rel, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), t.Join(rel))
	defer d.Close()
	return d.Readdirnames(-1)
}
