package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Topdir is staging's topdir, opened for writing. Paths are relative to it. No
// method follows a symlink or enters another mount on the way to what it changes,
// so that nothing in topdir can lead a write into the read-only volume. Methods
// may be called concurrently.
type Topdir struct {
	// Hook, if set, is called before each operation that Topdir does, but for looking,
	// and can make it fail: for tests of what a crash leaves.
	Hook func(op, rel string) error

	path string
	fd   int

	attr       Attributes
	plainDirs  bool // mkdir(2) alone gives directories all that they are to have
	unlabelled atomic.Bool
	temp       string // where directories are made before they get their names; "" while there is none
	made       atomic.Int64
}

func (t *Topdir) hook(op, rel string) error {
	if t.Hook == nil {
		return nil
	}
	return t.error(op, rel, t.Hook(op, rel))
}

// OpenTopdir opens staging's topdir for writing. readOnly is the directory of the
// read-only volume (production's topdir as mounted here); "" if there is none. It
// is refused if topdir is missing, is on a read-only mount, or is or is below
// readOnly, by path or by device and inode.
func OpenTopdir(topdir, readOnly string) (*Topdir, error) {
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
	t := &Topdir{path: resolved, fd: fd}
	t.SetAttributes(Attributes{})
	return t, nil
}

// directory resolves the symlinks of a directory's path.
func directory(what, dir string) (string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s %s: does not exist: %w", what, dir, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", what, dir, err)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", what, dir, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s %s: is not a directory", what, dir)
	}
	return filepath.Abs(resolved)
}

// apart reports a topdir that is or is below the read-only volume.
func apart(topdir, resolved, readOnly string) error {
	ro, err := directory("read-only volume", readOnly)
	if err != nil {
		return err
	}
	roInfo, err := os.Stat(ro)
	if err != nil {
		return err
	}
	for p := resolved; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("topdir %s: %w", topdir, err)
		}
		if p == ro || os.SameFile(info, roInfo) {
			if p == resolved {
				return fmt.Errorf("topdir %s: is the read-only volume %s itself", topdir, readOnly)
			}
			return fmt.Errorf("topdir %s: is below the read-only volume %s", topdir, readOnly)
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	// Another bind mount of part of the same tree.
	for _, sub := range []string{"packages", "vol"} {
		a, aerr := os.Stat(filepath.Join(resolved, sub))
		b, berr := os.Stat(filepath.Join(ro, sub))
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			return fmt.Errorf("topdir %s: its %s is the one of the read-only volume %s", topdir, sub, readOnly)
		}
	}
	return nil
}

// Close releases the directory.
func (t *Topdir) Close() error { return unix.Close(t.fd) }

// Path is topdir's absolute path, without symlinks.
func (t *Topdir) Path() string { return t.path }

// Join is a path relative to topdir as an absolute one, for messages and reading.
func (t *Topdir) Join(rel string) string { return filepath.Join(t.path, rel) }

// Room is what topdir's file system has left for an unprivileged user.
type Room struct {
	Bytes  int64
	Inodes int64 // math.MaxInt64 where they are not counted
	Size   int64 // bytes, used and free
}

// Room asks the file system.
func (t *Topdir) Room() (Room, error) {
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

// Sync writes all of topdir's file system to the disk (syncfs): content and names.
func (t *Topdir) Sync() error {
	if err := t.hook("syncfs", "."); err != nil {
		return err
	}
	f, err := os.Open(t.path) // syncfs refuses an O_PATH descriptor
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("topdir %s: syncfs: %w", t.path, err)
	}
	return nil
}

// Lstat is lstat. Only here symlinks on the way are followed: it changes nothing.
func (t *Topdir) Lstat(rel string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(t.fd, rel, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, t.error("lstat", rel, err)
}

// Mkdir makes a directory and those above it that are missing. None is seen that has not its
// attributes: mode 0755 whatever the umask, if there are no others.
func (t *Topdir) Mkdir(rel string) error {
	fd, err := t.makeDir(rel)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// EnsureDir is Mkdir for a directory that is kojisnap's own: if it is there, it gets the
// attributes all the same.
func (t *Topdir) EnsureDir(rel string) error {
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

// UseTemp makes the directory of temporary names anew: what a killed run left in it goes.
func (t *Topdir) UseTemp(rel string) error {
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
func (t *Topdir) Open(rel string) (*os.File, error) {
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

// LinkFile makes rel a hard link of an open file.
func (t *Topdir) LinkFile(f *os.File, rel string) error {
	return t.at("link", rel, func(dir int, name string) error { return linkFile(f, dir, name) })
}

func linkFile(f *os.File, dir int, name string) error {
	// By descriptor it needs CAP_DAC_READ_SEARCH; by /proc it does not.
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// Symlink makes a symlink; rel must not exist.
func (t *Topdir) Symlink(target, rel string) error {
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

// Readlink returns what a symlink says.
func (t *Topdir) Readlink(rel string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(t.fd, rel, buf)
	if err != nil {
		return "", t.error("readlink", rel, err)
	}
	return string(buf[:n]), nil
}

// Rename renames within topdir. It replaces a file or a symlink, never a directory.
func (t *Topdir) Rename(from, to string) error {
	return t.at("rename", from, func(fromDir int, fromName string) error {
		return t.at("rename", to, func(toDir int, toName string) error {
			return unix.Renameat(fromDir, fromName, toDir, toName)
		})
	})
}

// RenameNew is Rename for a name that must be free (renameat2 RENAME_NOREPLACE).
func (t *Topdir) RenameNew(from, to string) error {
	return t.at("rename", from, func(fromDir int, fromName string) error {
		return t.at("rename", to, func(toDir int, toName string) error {
			err := unix.Renameat2(fromDir, fromName, toDir, toName, unix.RENAME_NOREPLACE)
			if err != unix.EINVAL && err != unix.ENOSYS {
				return err
			}
			// A file system without it (NFS): look, then rename. One writer holds topdir's lock.
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

// Remove removes a file or a symlink.
func (t *Topdir) Remove(rel string) error {
	return t.at("remove", rel, func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) })
}

// Rmdir removes an empty directory.
func (t *Topdir) Rmdir(rel string) error {
	return t.at("rmdir", rel, func(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

// RemoveAll removes a tree of the caller's own; absent is not an error. Symlinks in
// it are removed, not followed.
func (t *Topdir) RemoveAll(rel string) error {
	err := t.at("remove", rel, func(dir int, name string) error {
		// os.Root does not leave its directory, and RemoveAll follows no symlink.
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
func (t *Topdir) ReadDir(rel string) ([]fs.DirEntry, error) {
	fd, err := t.openDir(rel, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), t.Join(rel))
	defer d.Close()
	return d.ReadDir(-1)
}

// Names are the names in a directory, in no order.
func (t *Topdir) Names(rel string) ([]string, error) {
	fd, err := t.openDir(rel, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), t.Join(rel))
	defer d.Close()
	return d.Readdirnames(-1)
}

// at calls f with rel's directory, opened, and rel's last component.
func (t *Topdir) at(op, rel string, f func(dir int, name string) error) error {
	if err := t.hook(op, rel); err != nil {
		return err
	}
	dir, name := path.Split(rel)
	fd, err := t.openDir(strings.TrimSuffix(dir, "/"), unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = f(fd, name)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return err // of a nested at
	}
	return t.error(op, rel, err)
}

// openDir opens a directory without following a symlink or entering a mount.
func (t *Topdir) openDir(rel string, flags int) (int, error) {
	if rel == "" {
		rel = "."
	}
	flags |= unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Openat2(t.fd, rel, &unix.OpenHow{Flags: uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV})
	if err == unix.ENOSYS || err == unix.EPERM { // Linux before 5.6; a seccomp filter
		fd, err = t.walk(rel, flags)
	}
	return fd, t.error("open", rel, err)
}

// walk is openDir for kernels without openat2: component by component.
func (t *Topdir) walk(rel string, flags int) (int, error) {
	var top, st unix.Stat_t
	if err := unix.Fstat(t.fd, &top); err != nil {
		return -1, err
	}
	fd, err := unix.Openat(t.fd, ".", flags, 0)
	if err != nil || rel == "." {
		return fd, err
	}
	for part := range strings.SplitSeq(rel, "/") {
		if part == "" || part == "." || part == ".." {
			unix.Close(fd)
			return -1, unix.EINVAL
		}
		next, err := unix.Openat(fd, part, flags|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
		if err := unix.Fstat(fd, &st); err != nil {
			unix.Close(fd)
			return -1, err
		}
		if st.Dev != top.Dev { // a bind mount of the same file system is not seen here
			unix.Close(fd)
			return -1, unix.EXDEV
		}
	}
	return fd, nil
}

func (t *Topdir) makeDir(rel string) (int, error) {
	fd, err := t.openDir(rel, unix.O_PATH)
	if !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	if err := t.hook("mkdir", rel); err != nil {
		return -1, err
	}
	parent, name := path.Split(rel)
	dir, err := t.makeDir(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	err = t.newDir(dir, name, rel)
	if err != nil && !errors.Is(err, fs.ErrExist) { // another worker made it
		return -1, err
	}
	return t.openDir(rel, unix.O_PATH)
}

// newDir makes a directory. Where mkdir(2) alone would not do, it is made complete under a
// temporary name: a kill must not leave one that staging's hub cannot write into.
func (t *Topdir) newDir(parent int, name, rel string) error {
	if t.plainDirs || t.temp == "" || strings.HasPrefix(rel, t.temp+"/") {
		if err := unix.Mkdirat(parent, name, t.dirMode()); err != nil {
			return t.error("mkdir", rel, err)
		}
		if t.plainDirs {
			return nil
		}
		return t.ownDir(parent, name, rel)
	}
	temp := fmt.Sprintf("%s/dir%d", t.temp, t.made.Add(1))
	if err := t.Mkdir(temp); err != nil {
		return err
	}
	err := t.RenameNew(temp, rel)
	if err != nil {
		t.Rmdir(temp)
	}
	return err
}

func (t *Topdir) ownDir(parent int, name, rel string) error {
	if err := t.hook("chown", rel); err != nil {
		return err
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return t.error("open", rel, err)
	}
	defer unix.Close(fd)
	return t.own(fd, t.Join(rel), t.dirMode())
}

// error explains what the kernel says about a directory that openDir refuses.
func (t *Topdir) error(op, rel string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.ELOOP:
		err = fmt.Errorf("a symlink is in the way, and none is written through: %w", err)
	case unix.EXDEV:
		if op == "open" || op == "mkdir" {
			err = fmt.Errorf("another mount is in the way, and none is written into: %w", err)
		}
	}
	return &fs.PathError{Op: op, Path: t.Join(rel), Err: err}
}
