// Package durable makes writes survive a crash: a file with its final name is
// complete and on the disk, whenever the machine stops.
//
// The method is always the same: write under a temporary name in the same
// directory, fsync the file, rename, fsync the directory. The system calls of
// WriteFile are, in order: openat(O_CREAT|O_EXCL), write…, fchmod, fsync, close,
// renameat, open(dir), fsync(dir). A crash leaves at most a temporary file,
// whose name IsTemp recognizes, so that the directory's owner can remove it.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tempMark is in the name of every temporary file: .NAME.tmp-kojisnap-RANDOM.
const tempMark = ".tmp-kojisnap-"

// WriteFile writes a file at path with the content from write and mode 0644. It
// replaces an existing file atomically: a reader sees the old content or the new,
// never a part. On return without error content and name are on the disk. After an
// error path is unchanged, and no temporary file is left.
func WriteFile(path string, write func(io.Writer) error) error {
	return writeFile(path, 0o644, write, Rename)
}

// CreateFile is WriteFile for a path that must not exist yet: if it does, the
// error is fs.ErrExist and the file there stays. Of several concurrent calls one
// succeeds.
func CreateFile(path string, write func(io.Writer) error) error {
	return writeFile(path, 0o644, write, link)
}

// CreateSecret is CreateFile with mode 0600, from the first byte on.
func CreateSecret(path string, write func(io.Writer) error) error {
	return writeFile(path, 0o600, write, link)
}

// link publishes a file if there is none: link, unlike rename, never replaces.
func link(temp, path string) error {
	if err := os.Link(temp, path); err != nil {
		return err
	}
	if err := os.Remove(temp); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func writeFile(path string, mode fs.FileMode, write func(io.Writer) error, publish func(temp, path string) error) (err error) {
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close() // harmless after the first
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return publish(f.Name(), path)
}

// Rename renames and makes the new name durable: on return without error the
// directories of both names are on the disk. The content of a renamed file must
// have been synced before.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// Remove removes a file and makes that durable. A missing file is not an error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll is os.MkdirAll, and makes the names of the directories that it
// created durable.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	var made []string
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, p)
		if filepath.Dir(p) == p {
			break
		}
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	for _, p := range made {
		if err := SyncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable. File systems that cannot
// sync a directory (EINVAL, ENOTSUP: some network ones) keep their own promises.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// IsTemp reports whether a file name (without directory) is a temporary one of this
// package. Readers of a directory skip those.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, tempMark)
}

// CheckWritable reports whether WriteFile could make path. The only way to find out is to make a file in
// the directory; it is removed again.
func CheckWritable(path string) error {
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func createTemp(path string) (*os.File, error) {
	dir, base := filepath.Split(path)
	if base == "" || base == "." || base == ".." {
		return nil, fmt.Errorf("write %q: not a file name", path)
	}
	// A long name is cut: with mark and number it must fit in NAME_MAX (255).
	if len(base) > 200 {
		base = base[:200]
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	name := filepath.Join(dir, "."+base+tempMark+hex.EncodeToString(random[:]))
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}
