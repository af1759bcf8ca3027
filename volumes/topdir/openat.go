package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// at opens rel's directory and calls f with it and rel's last component.
func (t *Dir) at(op, rel string, f func(dir int, name string) error) error {
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
		return err // from at within f
	}
	return t.error(op, rel, err)
}

// openDir opens a directory. It follows no symlink and enters no mount on the way from topdir, or from
// packages if that is apart.
func (t *Dir) openDir(rel string, flags int) (int, error) {
	if rel == "" {
		rel = "."
	}
	flags |= unix.O_DIRECTORY | unix.O_CLOEXEC
	root, below := t.rooted(rel)
	fd, err := unix.Openat2(root, below, &unix.OpenHow{Flags: uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV})
	if err == unix.ENOSYS || err == unix.EPERM { // Linux before 5.6, or a seccomp filter
		fd, err = walk(root, below, flags)
	}
	return fd, t.error("open", rel, err)
}

// walk is openDir for kernels without openat2: it opens component by component.
func walk(root int, rel string, flags int) (int, error) {
	var top, st unix.Stat_t
	if err := unix.Fstat(root, &top); err != nil {
		return -1, err
	}
	fd, err := unix.Openat(root, ".", flags, 0)
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
		if st.Dev != top.Dev { // this does not see a bind mount of the same file system
			unix.Close(fd)
			return -1, unix.EXDEV
		}
	}
	return fd, nil
}

func (t *Dir) makeDir(rel string) (int, error) {
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

// newDir makes a directory. If mkdir(2) alone does not give it its attributes, newDir makes it under a
// temporary name first: a kill must not leave one that staging's hub cannot write to.
func (t *Dir) newDir(parent int, name, rel string) error {
	if t.plainDirs || t.temp == "" || strings.HasPrefix(rel, t.temp+"/") || strings.HasPrefix(rel, packagesDir+"/.kojisnap-tmp/") {
		if err := unix.Mkdirat(parent, name, t.dirMode()); err != nil {
			return t.error("mkdir", rel, err)
		}
		if t.plainDirs {
			var st unix.Stat_t
			err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW)
			if err != nil || st.Mode&0o777 == t.dirMode() {
				return t.error("stat", rel, err)
			}
			// A default access list of the parent has removed a permission; a umask did not.
		}
		return t.ownDir(parent, name, rel)
	}
	temp, err := t.tempFor(rel, fmt.Sprintf("%s/dir%d", t.temp, t.made.Add(1)))
	if err != nil {
		return err
	}
	if err := t.Mkdir(temp); err != nil {
		return err
	}
	err = t.RenameNew(temp, rel)
	if err != nil {
		t.Rmdir(temp)
	}
	return err
}

func (t *Dir) ownDir(parent int, name, rel string) error {
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

// error explains why the kernel refused a directory to openDir.
func (t *roots) error(op, rel string, err error) error {
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
