package ledger

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes/topdir"
)

var errLocked = lockfile.Locked("another kojisnap works on this topdir")

// Lock keeps other processes from working on the same topdir until unlock is called.
func Lock(top *topdir.Dir) (unlock func(), err error) {
	if err := top.EnsureDir(Dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(top.Join(Dir+"/lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err := top.Own(f); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("topdir %s: %w", top.Path(), errLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}
