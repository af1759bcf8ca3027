package hardlink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpPresent is a file that is there already.
const OpPresent Op = "present"

// Link makes the file src, symlinks followed, exist in the directory dir under its own name:
// as a hard link, else as a reflink, else as a copy with its mode and mtime, and says which.
// OpPresent: it is a link of src already. Another file of that name is not replaced:
// fs.ErrExist. The file appears whole, by a rename.
func Link(src, dir string) (how Op, err error) {
	in, err := os.OpenFile(src, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("link %s: is not a regular file", src)
	}
	to := filepath.Join(dir, filepath.Base(src))
	if have, err := os.Lstat(to); err == nil {
		if os.SameFile(have, info) {
			return OpPresent, nil
		}
		return "", &os.LinkError{Op: "link", Old: src, New: to, Err: os.ErrExist}
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", in.Fd()), unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW)
	switch {
	case err == nil:
		return OpLink, nil
	case !otherWay(err):
		return "", &os.LinkError{Op: "link", Old: src, New: to, Err: err}
	}
	return duplicate(in, info, dir, to)
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

// duplicate makes a reflink or a copy.
func duplicate(in *os.File, info os.FileInfo, dir, to string) (how Op, err error) {
	out, err := os.CreateTemp(dir, ".kojisnap-link-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name()) // renamed by then, if all went well
	defer out.Close()
	how = OpReflink
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		how = OpCopy
		n, err := io.Copy(out, in) // copy_file_range(2): nothing has to be read here
		if err != nil {
			return "", err
		}
		if n != info.Size() {
			return "", fmt.Errorf("read %s: %w", in.Name(), errChanged)
		}
	}
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return "", err
	}
	if err := setTime(int(out.Fd()), info.ModTime()); err != nil {
		return "", fmt.Errorf("set the time of %s: %w", out.Name(), err)
	}
	if err := out.Close(); err != nil {
		return "", err
	}
	err = unix.Renameat2(unix.AT_FDCWD, out.Name(), unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // NFS; link(2) does not replace either
		err = os.Link(out.Name(), to)
	}
	if err != nil {
		return "", &os.LinkError{Op: "rename", Old: out.Name(), New: to, Err: err}
	}
	return how, nil
}
