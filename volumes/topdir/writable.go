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

// HubUser returns the user of staging's hub, as far as topdir shows it: the owner of its directory work,
// into which every hub writes, or of topdir itself if there is no work.
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

// Writer is a user whose rights to write are checked.
type Writer struct {
	Owner
	groups []int
}

// NewWriter finds the groups of a user. If this machine does not know the user, it has only its own group.
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

// Could reports whether the user could make, change or remove names in a directory: its mount is not
// read-only, and its mode permits it, or the user is root. If the directory has an access list, its mode
// shows the most that the list gives to anybody, so Could may say yes where the list says no. For this
// process's own user it asks the kernel, which also knows what a file server refuses.
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

// hasAccessList reports whether a path has a POSIX access list, see acl(5).
func hasAccessList(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}
