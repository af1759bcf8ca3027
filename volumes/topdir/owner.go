package topdir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attributes are owner, mode and label of the files, directories and symlinks that are made below topdir. The
// zero value: the process's user, the source's mode, and the kernel's label. Existing files keep theirs. A
// hard link is production's own inode, which kojisnap never changes: it links a file only if that has these
// attributes already (see Fits).
type Attributes struct {
	Owner *Owner      `json:"owner,omitempty"`
	Mode  fs.FileMode `json:"mode,omitempty"` // of files; directories may be entered by whoever may read files
	// Context is an SELinux context, user:role:type:level. It is set if SELinux is enabled and the file
	// system keeps labels.
	Context string `json:"context,omitempty"`
}

// Owner is a user and a group by number.
type Owner struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

func (o Owner) String() string { return fmt.Sprintf("%d:%d", o.UID, o.GID) }

// noAccount words an error of package user.
func noAccount(kind, name string, err error) error {
	if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
		return fmt.Errorf("this machine has no %s %q", kind, name)
	}
	return err
}

// ParseOwner parses USER, USER:GROUP, or numbers, as chown(1) takes them. Without a group it takes the user's
// primary group.
func ParseOwner(s string) (Owner, error) {
	name, group, hasGroup := strings.Cut(s, ":")
	u, err := user.Lookup(name)
	if _, numeric := strconv.ParseUint(name, 10, 31); err != nil && numeric == nil {
		if u, err = user.LookupId(name); err != nil {
			u, err = &user.User{Uid: name}, nil
		}
	}
	if err != nil {
		return Owner{}, fmt.Errorf("owner %q: %w", s, noAccount("user", name, err))
	}
	gid := u.Gid
	if hasGroup {
		g, err := user.LookupGroup(group)
		if _, numeric := strconv.ParseUint(group, 10, 31); err != nil && numeric == nil {
			g, err = &user.Group{Gid: group}, nil
		}
		if err != nil {
			return Owner{}, fmt.Errorf("owner %q: %w", s, noAccount("group", group, err))
		}
		gid = g.Gid
	}
	if gid == "" {
		return Owner{}, fmt.Errorf("owner %q: no user of this machine has that number: give the group too, as %s:GROUP", s, name)
	}
	var o Owner
	if o.UID, err = strconv.Atoi(u.Uid); err == nil {
		o.GID, err = strconv.Atoi(gid)
	}
	return o, err
}

// CanGive reports whether this process may give files to the owner. root may; other users may only change the
// group, to one of their own.
func (o Owner) CanGive() bool {
	if os.Geteuid() == 0 {
		return true
	}
	groups, _ := os.Getgroups()
	return o.UID == os.Geteuid() && (o.GID == os.Getegid() || slices.Contains(groups, o.GID))
}

// ParseMode parses the octal mode of files.
func ParseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n&^0o666 != 0 || n&0o600 != 0o600 {
		return 0, fmt.Errorf("mode %q: want the octal mode of files, such as 0644, readable and writable for the owner and executable for none", s)
	}
	return fs.FileMode(n), nil
}

var (
	contextRE = regexp.MustCompile(`^[A-Za-z0-9_.]+:[A-Za-z0-9_.]+:[A-Za-z0-9_.]+(:[A-Za-z0-9_.,:-]+)?$`)
	typeRE    = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
)

// ParseContext parses an SELinux context. A type alone becomes system_u:object_r:TYPE:s0, as in policies'
// file contexts.
func ParseContext(s string) (string, error) {
	switch {
	case typeRE.MatchString(s):
		return "system_u:object_r:" + s + ":s0", nil
	case contextRE.MatchString(s):
		return s, nil
	}
	return "", fmt.Errorf("SELinux context %q: want a type such as httpd_sys_rw_content_t, or user:role:type:level", s)
}

// selinuxEnabled does what libselinux' is_selinux_enabled does.
func selinuxEnabled() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/selinux", &st) == nil && st.Type == unix.SELINUX_MAGIC
}

const (
	defaultDirMode = 0o755
	labelXattr     = "security.selinux"
)

// owners sets the attributes of what is made below topdir.
type owners struct {
	attr       Attributes
	plainDirs  bool // mkdir(2) alone gives directories the right attributes
	unlabelled atomic.Bool
}

// SetAttributes sets the attributes of everything that is made from now on. It drops the context if SELinux
// is not enabled.
func (t *owners) SetAttributes(a Attributes) {
	if !selinuxEnabled() {
		a.Context = ""
	}
	t.attr = a
	t.plainDirs = a.Owner == nil && a.Context == "" && umask()&t.dirMode() == 0
}

// umask returns the process's umask. Linux before 4.7 does not tell it; then it returns the strictest one.
func umask() uint32 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if s, ok := strings.CutPrefix(line, "Umask:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(s), 8, 32)
			if err == nil {
				return uint32(n)
			}
		}
	}
	return 0o777
}

// Unlabelled reports whether topdir's file system refused to keep an SELinux label.
func (t *owners) Unlabelled() bool { return t.unlabelled.Load() }

// FileMode returns the mode of a file made from one with the source's mode.
func (t *owners) FileMode(source fs.FileMode) fs.FileMode { return cmp.Or(t.attr.Mode, source) }

// Fits reports whether an open file has the attributes, so that a hard link to it may serve.
func (t *owners) Fits(f *os.File) (bool, error) {
	if t.attr == (Attributes{}) {
		return true, nil
	}
	info, err := f.Stat()
	if err != nil || !t.FitsInfo(info) {
		return false, err
	}
	return t.attr.Context == "" || t.Unlabelled() || label(int(f.Fd())) == t.attr.Context, nil
}

// FitsInfo is Fits without the label.
func (t *owners) FitsInfo(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	o, mode := t.attr.Owner, uint32(t.attr.Mode)
	return ok && (o == nil || *o == (Owner{int(st.Uid), int(st.Gid)})) && (mode == 0 || mode == st.Mode&0o7777)
}

// label returns a file's SELinux context, "" if it has none.
func label(fd int) string {
	buf := make([]byte, 4096)
	n, err := unix.Fgetxattr(fd, labelXattr, buf)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

// Own gives a file that the process made its owner and label.
func (t *owners) Own(f *os.File) error { return t.own(int(f.Fd()), f.Name(), 0) }

// own works on a descriptor, so that nobody can put a symlink in the way. It also sets a mode other than 0,
// whatever the umask removed from it.
func (t *owners) own(fd int, name string, mode uint32) error {
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	var st unix.Stat_t
	if o := t.attr.Owner; o != nil || mode != 0 {
		if err := unix.Fstat(fd, &st); err != nil {
			return fail("stat", err)
		}
		if o != nil && *o != (Owner{int(st.Uid), int(st.Gid)}) {
			if err := unix.Fchown(fd, o.UID, o.GID); err != nil {
				return fail("chown", chownError(*o, err))
			}
		}
	}
	setgid := st.Mode & unix.S_ISGID // new directories inherit it
	if mode != 0 && mode|setgid != st.Mode&0o7777 {
		if err := unix.Fchmod(fd, mode|setgid); err != nil {
			return fail("chmod", err)
		}
	}
	if t.attr.Context == "" || t.Unlabelled() || label(fd) == t.attr.Context {
		return nil
	}
	return t.labelled(name, unix.Fsetxattr(fd, labelXattr, append([]byte(t.attr.Context), 0), 0))
}

// plainLinks reports whether symlink(2) alone gives symlinks the right attributes.
func (t *owners) plainLinks() bool { return t.attr.Owner == nil && t.attr.Context == "" }

// ownLink is own for a symlink.
func (t *Dir) ownLink(dir int, name, rel string) error {
	if o := t.attr.Owner; o != nil {
		if err := unix.Fchownat(dir, name, o.UID, o.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "chown", Path: t.Join(rel), Err: chownError(*o, err)}
		}
	}
	if t.attr.Context == "" || t.Unlabelled() {
		return nil
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	return t.labelled(t.Join(rel), unix.Lsetxattr(path, labelXattr, append([]byte(t.attr.Context), 0), 0))
}

// labelled handles the result of setting a label. A file system that keeps no labels, usually NFS, has one
// for all files, from its mount.
func (t *owners) labelled(name string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP:
		t.unlabelled.Store(true)
		return nil
	}
	return &fs.PathError{Op: "set SELinux context " + t.attr.Context, Path: name, Err: err}
}

func chownError(o Owner, err error) error {
	if err == unix.EPERM {
		return fmt.Errorf("to %v: %w (does the file server map root to another user? then run kojisnap as the owner)", o, err)
	}
	return fmt.Errorf("to %v: %w", o, err)
}

// dirMode is the mode of files, with the right to enter wherever there is the right to read.
func (t *owners) dirMode() uint32 {
	if t.attr.Mode == 0 {
		return defaultDirMode
	}
	mode := uint32(t.attr.Mode.Perm())
	return mode | mode&0o444>>2
}
