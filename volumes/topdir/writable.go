package topdir

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// HubUser is the user as whom staging's hub works, so far as topdir tells: the owner of its
// directory work, into which every hub writes; where there is none, of topdir itself.
func (t *Dir) HubUser() (Owner, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(t.fd, "work", &st, 0); err == nil {
		return Owner{int(st.Uid), int(st.Gid)}, nil
	}
	if err := unix.Fstat(t.fd, &st); err != nil {
		return Owner{}, fmt.Errorf("topdir %s: %w", t.path, err)
	}
	return Owner{int(st.Uid), int(st.Gid)}, nil
}

// Writer is a user of whom it is asked what they could write.
type Writer struct {
	Owner
	groups []int
}

// NewWriter finds the groups of a user. One that this machine does not know has their own alone.
func NewWriter(o Owner) *Writer {
	w := &Writer{Owner: o, groups: []int{o.GID}}
	u, err := user.LookupId(strconv.Itoa(o.UID))
	if err != nil {
		return w
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			w.groups = append(w.groups, n)
		}
	}
	return w
}

// Could tells whether the user could make, change or remove names in a directory: it is on no
// read-only mount, and its mode lets them, or they are root. Of an access list the mode has the
// most that it gives anybody, so it may say yes where the list says no. The kernel is asked if
// it is this process's own user: it also knows what a file server refuses.
func (w *Writer) Could(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return false, nil
	}
	if w.UID == os.Geteuid() {
		return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS) == nil, nil
	}
	if w.UID == 0 {
		return true, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	listed := st.Mode&0o020 != 0 && hasAccessList(dir)
	switch {
	case int(st.Uid) == w.UID:
		return st.Mode&0o200 != 0, nil
	case listed, slices.Contains(w.groups, int(st.Gid)):
		return st.Mode&0o020 != 0, nil
	}
	return st.Mode&0o002 != 0, nil
}

// hasAccessList tells of a POSIX access list (acl(5)).
func hasAccessList(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
