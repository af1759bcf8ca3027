package hardlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/volumes/topdir"
)

// OpPresent says that the file is there already.
const OpPresent Op = "present"

// Linker makes files in a directory. It must not be used by several goroutines at once.
type Linker struct {
	Dir    string
	DryRun bool // only say how, as far as that shows without writing

	planned map[string]string // in a dry run: base name → source
}

// Link makes the file src (it follows symlinks) in Dir under its own name: as a hard link, else as a reflink,
// else as a copy with src's mode and mtime. It returns the way. OpPresent: a link of src, or a file with the
// same content, is there already. Link replaces nothing else: it returns fs.ErrExist. The file appears whole,
// and a copy is durable before it has its name. If Link fails or ctx is canceled, it leaves nothing behind.
//
// A dry run assumes that hard links work within a mount, and reflinks within a file system that has them. An
// immutable file or fs.protected_hardlinks may still refuse a hard link.
func (l *Linker) Link(ctx context.Context, src string) (how Op, err error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("link %s: %w", src, err)
	}
	in, err := source.OpenFile(src)
	if err != nil {
		return "", err
	}
	defer in.Close()
	to := filepath.Join(l.Dir, filepath.Base(src))
	if l.DryRun {
		return l.predict(ctx, in, to)
	}
	// The kernel reports EEXIST before EXDEV, EROFS and EPERM.
	err = linkFile(in.File, to)
	switch {
	case err == nil:
		return OpLink, nil
	case otherWay(err):
		how, err = duplicate(ctx, in, l.Dir, to)
	}
	if errors.Is(err, fs.ErrExist) {
		return OpPresent, same(ctx, in, to)
	}
	if err != nil {
		return "", fmt.Errorf("link %s to %s: %w", src, to, cause(err))
	}
	return how, nil
}

// predict is Link in a dry run.
func (l *Linker) predict(ctx context.Context, in *source.Input, to string) (Op, error) {
	if before := l.planned[to]; before != "" { // two sources have files of this name
		return OpPresent, sameContent(ctx, in, before, to)
	}
	if _, err := os.Lstat(to); err == nil {
		return OpPresent, same(ctx, in, to)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := unix.Faccessat(unix.AT_FDCWD, l.Dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return "", fmt.Errorf("link %s to %s: %w", in.Name, to, err)
	}
	if l.planned == nil {
		l.planned = map[string]string{}
	}
	l.planned[to] = in.Name
	if topdir.SameMount(in.Name, l.Dir) {
		return OpLink, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(l.Dir, &st); err == nil && st.Dev == in.Dev && canClone(l.Dir) {
		return OpReflink, nil
	}
	return OpCopy, nil
}

// otherWay reports whether a copy may work after link(2) failed with err. ENOENT: /proc is not mounted, or
// src was unlinked meanwhile.
func otherWay(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EMLINK, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.ENOENT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// cause returns err without the names of temporary files.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// duplicate makes a reflink or a copy. It returns fs.ErrExist if the name is taken.
func duplicate(ctx context.Context, in *source.Input, dir, to string) (how Op, err error) {
	out, name, err := unnamed(dir)
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer name("") // no effect once the file has its name
	how = OpReflink
	if unix.IoctlFileClone(int(out.Fd()), int(in.File.Fd())) != nil {
		how = OpCopy
		if err := copyAll(ctx, out, in); err != nil {
			return "", err
		}
	}
	if err := in.Unchanged(); err != nil {
		return "", err
	}
	if err := out.Chmod(in.Mode); err != nil {
		return "", err
	}
	if err := setTime(int(out.Fd()), in.Mtime); err != nil {
		return "", fmt.Errorf("set its time: %w", err)
	}
	if err := out.Sync(); err != nil {
		return "", err
	}
	return how, name(to)
}

// unnamed opens a new file without a name in a directory. name gives it a name if that is free; name("")
// drops the file. A kill leaves nothing behind. Some file systems, such as NFS, have no files without names.
func unnamed(dir string) (f *os.File, name func(to string) error, err error) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return named(dir)
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch err {
	case nil:
	case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL:
		return named(dir)
	default:
		return nil, nil, err
	}
	f = os.NewFile(uintptr(fd), dir)
	return f, func(to string) error {
		if to == "" {
			return nil
		}
		return linkFile(f, to)
	}, nil
}

// named does the same by a temporary name, which a kill leaves behind.
func named(dir string) (f *os.File, name func(to string) error, err error) {
	if f, err = os.CreateTemp(dir, ".kojisnap-link-*"); err != nil {
		return nil, nil, err
	}
	return f, func(to string) error {
		if to == "" {
			return os.Remove(f.Name())
		}
		err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS {
			err = unix.Link(f.Name(), to) // does not replace a file, either
		}
		return err
	}, nil
}

// linkFile makes a hard link to an open file.
func linkFile(f *os.File, to string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW)
}

// copyAll copies with copy_file_range(2): nothing has to be read here. It checks for cancellation between
// parts.
func copyAll(ctx context.Context, out *os.File, in *source.Input) error {
	const part = 16 << 20
	for n := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := io.CopyN(out, in.File, part)
		n += m
		switch {
		case err == io.EOF && n == in.Size:
			return nil
		case err == io.EOF:
			return source.ErrChanged
		case err != nil:
			return err
		}
	}
}

// same returns nil if the file at to is a link of the source or has its content.
func same(ctx context.Context, in *source.Input, to string) error {
	info, err := os.Lstat(to)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("link %s to %s: %w, and is not a regular file but %v", in.Name, to, fs.ErrExist, info.Mode().Type())
	}
	return sameContent(ctx, in, to, to)
}

// sameContent returns nil if the file at path, which is or becomes the file at to, has the source's content.
func sameContent(ctx context.Context, in *source.Input, path, to string) error {
	have, err := source.OpenFile(path)
	if err != nil {
		return err
	}
	defer have.Close()
	a, err := in.File.Stat()
	if err != nil {
		return err
	}
	b, err := have.File.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(a, b) {
		return nil
	}
	differs := fmt.Errorf("link %s to %s: %w, with other content", in.Name, to, fs.ErrExist)
	if in.Size != have.Size {
		return differs
	}
	mine, theirs := make([]byte, content.BufferSize), make([]byte, content.BufferSize)
	for at := int64(0); at < in.Size; at += content.BufferSize {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("link %s: %w", in.Name, err)
		}
		n, err := in.File.ReadAt(mine, at)
		if err != nil && err != io.EOF {
			return err
		}
		m, err := have.File.ReadAt(theirs, at)
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(mine[:n], theirs[:m]) {
			return differs
		}
	}
	return in.Unchanged()
}
