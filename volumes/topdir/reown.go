package topdir

import (
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Change is a new owner, mode or label for something below topdir.
type Change struct {
	Path  string      `json:"path"`
	Owner *Owner      `json:"owner,omitempty"` // nil: no change
	Mode  fs.FileMode `json:"mode,omitempty"`  // 0: no change, always for a symlink
	Label string      `json:"label,omitempty"` // SELinux context
	Was   string      `json:"was"`             // UID:GID MODE
}

func (c Change) String() string {
	text := c.Path + " " + c.Was + " ->"
	if c.Owner != nil {
		text += " " + c.Owner.String()
	}
	if c.Mode != 0 {
		text += fmt.Sprintf(" %04o", c.Mode)
	}
	if c.Label != "" {
		text += " " + c.Label
	}
	return text
}

// ChangeOf compares what exists with the attributes. It returns the change that is needed, or nil. If the
// attributes have no owner or no mode, it uses the arguments; a nil owner and mode 0 are not compared.
// Directories keep the bit S_ISGID.
func (t *Dir) ChangeOf(rel string, st unix.Stat_t, owner *Owner, mode fs.FileMode) *Change {
	if t.attr.Owner != nil {
		owner = t.attr.Owner
	}
	have := uint32(st.Mode & 0o7777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode, have = fs.FileMode(t.dirMode()), have&^unix.S_ISGID
	case unix.S_IFLNK:
		mode = 0
	default:
		mode = t.FileMode(mode)
	}
	is := Owner{int(st.Uid), int(st.Gid)}
	c := Change{Path: rel, Was: fmt.Sprintf("%v %04o", is, have)}
	if owner != nil && *owner != is {
		c.Owner = owner
	}
	if mode != 0 && uint32(mode) != have {
		c.Mode = mode
	}
	if t.attr.Context != "" && !t.Unlabelled() && t.labelOf(rel) != t.attr.Context {
		c.Label = t.attr.Context
	}
	if c.Owner == nil && c.Mode == 0 && c.Label == "" {
		return nil
	}
	return &c
}

// labelOf returns the SELinux context of a path, "" if it has none.
func (t *roots) labelOf(rel string) string {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(t.Join(rel), labelXattr, buf)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

// Apply makes a change.
func (t *Dir) Apply(c Change) error {
	if err := t.hook("chown", c.Path); err != nil {
		return err
	}
	st, err := t.Lstat(c.Path)
	if err != nil {
		return err
	}
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: t.Join(c.Path), Err: err} }
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return t.at("chown", c.Path, func(dir int, name string) error {
			if c.Owner != nil {
				if err := unix.Fchownat(dir, name, c.Owner.UID, c.Owner.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					return fail("chown", chownError(*c.Owner, err))
				}
			}
			if c.Label == "" {
				return nil
			}
			path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
			return t.labelled(t.Join(c.Path), unix.Lsetxattr(path, labelXattr, append([]byte(c.Label), 0), 0))
		})
	}
	f, err := openAny(t, c.Path, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	if c.Owner != nil {
		if err := unix.Fchown(f, c.Owner.UID, c.Owner.GID); err != nil {
			return fail("chown", chownError(*c.Owner, err))
		}
	}
	if c.Mode != 0 {
		if err := unix.Fchmod(f, uint32(c.Mode)|st.Mode&unix.S_ISGID); err != nil {
			return fail("chmod", err)
		}
	}
	if c.Label == "" {
		return nil
	}
	return t.labelled(t.Join(c.Path), unix.Fsetxattr(f, labelXattr, append([]byte(c.Label), 0), 0))
}

// openAny opens a directory or a regular file, even if its mode does not let its owner: root may.
func openAny(t *Dir, rel string, dir bool) (int, error) {
	if dir {
		return t.openDir(rel, unix.O_RDONLY)
	}
	file := -1
	err := t.at("open", rel, func(at int, name string) (err error) {
		file, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	return file, err
}
