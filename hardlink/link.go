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

// OpPresent is a file that is there already.
const OpPresent Op = "present"

// Linker makes files exist in a directory. It is not for several goroutines at once.
type Linker struct {
	Dir    string
	DryRun bool // say how, as far as that shows without writing

	planned map[string]string // base names of a dry run: their sources
}

// Link makes the file src, symlinks followed, exist in Dir under its own name: as a hard link,
// else as a reflink, else as a copy with its mode and mtime, and says which. OpPresent: a link
// of src is there already, or a file with the same content. What else has that name is not
// replaced: fs.ErrExist. The file appears whole, and a copy is durable before it has its name.
// On error, also the context's, nothing is left.
//
// A dry run takes it that links work within a mount, which an immutable file or
// fs.protected_hardlinks may refuse, and reflinks within a file system of a kind that has them.
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
	// On EEXIST the kernel decides first: before EXDEV, EROFS, and EPERM.
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

// predict is Link of a dry run.
func (l *Linker) predict(ctx context.Context, in *source.Input, to string) (Op, error) {
	if before := l.planned[to]; before != "" { // two sources of one name
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

// otherWay tells whether a copy may do where link(2) said err. ENOENT: /proc is not mounted, or
// the source was unlinked since.
func otherWay(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EMLINK, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.ENOENT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// cause is err without the names of temporary files.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// duplicate makes a reflink or a copy. fs.ErrExist: something has the name.
func duplicate(ctx context.Context, in *source.Input, dir, to string) (how Op, err error) {
	out, name, err := unnamed(dir)
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer name("") // it has its name by then, if all went well
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

// unnamed makes a file in a directory, and gives it its name, if that is free, when it is
// complete; with "" the file goes. A kill leaves nothing. Not every file system has files
// without names: NFS has not.
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

// named is unnamed with a temporary name, which a kill leaves.
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
			err = unix.Link(f.Name(), to) // which does not replace either
		}
		return err
	}, nil
}

// linkFile makes a hard link of an open file.
func linkFile(f *os.File, to string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW)
}

// copyAll copies by copy_file_range(2): nothing has to be read here. Between parts it can be
// cancelled.
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

// same is nil if what has the name is a link of the file, or has its content.
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

// sameContent is nil if the file at path, which has or is to get the name, has the content.
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
