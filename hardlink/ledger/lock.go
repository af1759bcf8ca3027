package ledger

import (
	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/lockfile"
	"kojisnap/volumes/topdir"
)

var errLocked = lockfile.Locked("another kojisnap works on this topdir")

// Lock keeps other processes from working on the same topdir until unlock is called.
func Lock(top *topdir.Dir) (unlock func(), err error) {
	f, err := flock(top, Dir+"/lock", unix.LOCK_EX, errLocked)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
