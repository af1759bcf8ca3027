package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// Outcome says what has to be done about a symlink.
type Outcome int

const (
	Unchanged Outcome = iota // it exists with the right target
	Make                     // nothing is there
	Switch                   // ours exists with another target
	Keep                     // something else is there: it stays
	Convert                  // a symlink is in the place of a volume's directory
)

// Check says what EnsureLink would do. ours says, by the target, whether kojisnap may change a symlink. A
// directory or a file is never ours.
func (t *Dir) Check(l volumes.Link, ours func(target string) bool) (o Outcome, have string, err error) {
	have, err = t.Readlink(l.Path)
	switch {
	case err == nil && have == l.Target:
		return Unchanged, have, nil
	case err == nil && ours(have):
		return Switch, have, nil
	case err == nil:
		return Keep, have, nil
	case errors.Is(err, fs.ErrNotExist):
		return Make, "", nil
	case errors.Is(err, unix.EINVAL): // not a symlink
		return Keep, "", nil
	}
	return Keep, "", err
}

// EnsureLink makes or changes the symlink. It makes a new one under the name temp (relative to topdir, on the
// same file system, free) and renames it over the old one, so that one of them always exists, with the right
// owner. It leaves what Check says Keep about. It makes the link's directory.
func (t *Dir) EnsureLink(l volumes.Link, temp string, ours func(target string) bool) (Outcome, error) {
	o, _, err := t.Check(l, ours)
	if err != nil || o == Unchanged || o == Keep {
		return o, err
	}
	if err := t.Mkdir(path.Dir(l.Path)); err != nil {
		return o, err
	}
	if o == Make && t.plainLinks() {
		return o, t.Symlink(l.Target, l.Path)
	}
	if temp, err = t.tempFor(l.Path, temp); err != nil {
		return o, err
	}
	if err := t.Symlink(l.Target, temp); err != nil {
		return o, err
	}
	if o == Make {
		err = t.RenameNew(temp, l.Path)
	} else {
		err = t.Rename(temp, l.Path)
	}
	if err != nil {
		t.Remove(temp)
		return o, err
	}
	return o, nil
}

// LooksLike reports, with one lstat, whether a symlink of the target's length exists.
func (t *Dir) LooksLike(l volumes.Link) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(t.fd, l.Path, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch err {
	case nil:
		return st.Mode&unix.S_IFMT == unix.S_IFLNK && st.Size == int64(len(l.Target)), nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	}
	return false, t.error("lstat", l.Path, err)
}

// ReplaceDir replaces a directory by the symlink, in one step where the file system can, and removes the
// directory. temp and old are free names on the same file system, relative to topdir. What it cannot remove
// of the directory stays under one of them.
func (t *Dir) ReplaceDir(l volumes.Link, temp, old string) error {
	temp, err := t.tempFor(l.Path, temp)
	if err != nil {
		return err
	}
	if old, err = t.tempFor(l.Path, old); err != nil {
		return err
	}
	if err := t.Symlink(l.Target, temp); err != nil {
		return err
	}
	err = t.Exchange(temp, l.Path)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err = t.Rename(l.Path, old); err == nil {
			err = t.RenameNew(temp, l.Path)
		}
	}
	t.RemoveAll(temp)
	t.RemoveAll(old)
	return err
}

// EnsureCopyVolume makes the writable volume for copied builds, as Koji's addVolume does: vol/NAME with
// packages, and toplink, a symlink to topdir. Koji promotes drafts through toplink, so a toplink with another
// target is an error.
func EnsureCopyVolume(t *Dir, name string) error {
	if err := volumes.CheckName("copy volume name", name); err != nil {
		return err
	}
	dir := "vol/" + name
	for _, rel := range []string{dir, dir + "/packages"} {
		if err := t.EnsureDir(rel); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
	}
	toplink := dir + "/toplink"
	err := t.Symlink("../..", toplink)
	if errors.Is(err, fs.ErrExist) {
		if err = CheckCopyVolume(t, name); err == nil {
			err = t.at("chown", toplink, func(dir int, name string) error { return t.ownLink(dir, name, toplink) })
		}
	}
	if err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	return nil
}

// CheckCopyVolume returns an error if the copy volume is not on topdir's mount, or if its toplink does not
// lead to topdir.
func CheckCopyVolume(t *Dir, name string) error {
	for _, dir := range []string{"vol/" + name, "vol/" + name + "/packages"} {
		if err := t.notApart(dir); err != nil {
			return err
		}
	}
	toplink := t.Join("vol/" + name + "/toplink")
	if _, err := os.Lstat(toplink); err != nil {
		return nil // it will be made, or what blocks it will be named
	}
	top, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	is, err := os.Stat(toplink)
	if err != nil || !os.SameFile(is, top) {
		return fmt.Errorf("%s: does not lead to topdir, which Koji needs to promote drafts: remove it, and it is made anew", toplink)
	}
	return nil
}
