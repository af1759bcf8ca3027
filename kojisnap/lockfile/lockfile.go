// Package lockfile has locks between processes, by flock(2) on a file.
package lockfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// ErrLocked says that another process holds a lock: on a file, or on anything else that this program locks.
var ErrLocked = errors.New("locked by another process")

// Locked is ErrLocked in other words.
func Locked(words string) error { return reworded(words) }

type reworded string

func (e reworded) Error() string        { return string(e) }
func (e reworded) Is(target error) bool { return target == ErrLocked }

// Lock locks a file until unlock is called or the process ends. It makes the file if there is none. If
// another process holds the lock, Lock waits, or returns ErrLocked if wait is false. It writes a note with
// the holder into the file if the file is empty or has such a note.
func Lock(ctx context.Context, path string, wait bool) (unlock func(), err error) {
	release, err := Flock(ctx, path, 0o644, wait)
	if errors.Is(err, ErrLocked) {
		err = heldError(path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock file %s: %w", path, err)
	}
	remove := noteHolder(path, command())
	return func() { remove(); release() }, nil
}

// Flock locks a file that may be another user's: flock(2) needs only read access. On NFS an exclusive lock
// needs write access; EBADF says that it is missing.
func Flock(ctx context.Context, path string, mode fs.FileMode, wait bool) (unlock func(), err error) {
	for _, how := range []int{os.O_RDONLY, os.O_RDWR} {
		f, err := openLock(path, how, mode)
		if err != nil {
			return nil, err
		}
		if wait {
			err = flock(ctx, f, syscall.LOCK_EX)
		} else if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		if err == nil {
			// A process that this one has just started may still have the file open until it runs its program.
			return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN); f.Close() }, nil
		}
		f.Close()
		if how == os.O_RDWR || !errors.Is(err, syscall.EBADF) {
			return nil, err
		}
	}
	panic("unreachable")
}

// openLock opens a lock file, and makes it, readable for all, only if there is none: in a directory that all
// may write to the kernel may refuse O_CREAT for another user's file even to root (fs.protected_regular).
func openLock(path string, how int, mode fs.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, how|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = os.OpenFile(path, how|os.O_CREATE|os.O_EXCL, mode)
			if errors.Is(err, fs.ErrExist) {
				if _, err := os.Stat(path); err != nil {
					return nil, bare(err) // a symlink without an existing target
				}
				continue // someone was faster
			}
			if err == nil {
				_ = f.Chmod(mode &^ 0o022) // whatever the umask is
			}
		}
		if err != nil {
			return nil, openTrouble(path, err)
		}
		if info, err := f.Stat(); err != nil || info.IsDir() {
			f.Close()
			return nil, cmp.Or(err, error(syscall.EISDIR))
		}
		return f, nil
	}
}

// openTrouble names the owner of a file that cannot be opened.
func openTrouble(path string, err error) error {
	var info syscall.Stat_t
	if !errors.Is(err, fs.ErrPermission) || syscall.Stat(path, &info) != nil {
		return bare(err)
	}
	owner := fmt.Sprintf("uid %d", info.Uid)
	if u, err := user.LookupId(strconv.Itoa(int(info.Uid))); err == nil {
		owner = "the user " + u.Username
	}
	return fmt.Errorf("%w: it is of %s, with mode %04o: make it readable (chmod a+r), or give a file in a directory of kojisnap's own", bare(err), owner, info.Mode&0o7777)
}

// bare is an error without the path, which the caller adds.
func bare(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return file.Err
	}
	return err
}

// flock is flock(2) that a context can end. The kernel has no such call, so it tries again and again.
func flock(ctx context.Context, f *os.File, how int) error {
	for pause := time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
