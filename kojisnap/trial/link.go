package trial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// TestLink makes a hard link to a file in a directory, as link(2) does it for a compose, and
// removes it. The error is that of link(2); the caller tells EXDEV from EPERM and EACCES.
func (u *User) TestLink(file, dir string) error {
	return u.Do(func() error {
		name := filepath.Join(dir, ".kojisnap-link-test")
		if err := os.Link(file, name); err != nil {
			return err
		}
		return os.Remove(name)
	})
}

// linker links or copies files. It remembers copies, so that it copies a file only once.
type linker struct {
	copies map[string]string // by source
	linked int
	copied int
	bytes  int64
}

// put makes dst the file src.
func (l *linker) put(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("link %s: is not a regular file but %v", src, info.Mode().Type())
	}
	from := src
	if copied, ok := l.copies[src]; ok {
		from = copied
	}
	switch err = os.Link(from, dst); {
	case err == nil:
		l.linked++
		return nil
	case errors.Is(err, fs.ErrExist):
		return same(info, dst)
	case !errors.Is(err, syscall.EXDEV):
		return err
	}
	if err := copyFile(src, dst, info); err != nil {
		return err
	}
	l.copies[src] = dst
	l.copied++
	l.bytes += info.Size()
	return nil
}

// same accepts an existing file if size and mtime, in seconds, are the same, as Pungi does.
func same(info fs.FileInfo, dst string) error {
	have, err := os.Lstat(dst)
	if err != nil {
		return err
	}
	if have.Size() != info.Size() || have.ModTime().Unix() != info.ModTime().Unix() {
		return fmt.Errorf("link %s: another file of this name is there already", dst)
	}
	return nil
}

func copyFile(src, dst string, info fs.FileInfo) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(dst, info.ModTime(), info.ModTime())
	}
	if err != nil {
		os.Remove(dst) // leave no partial file
		return fmt.Errorf("copy %s: %w", src, err)
	}
	return nil
}
