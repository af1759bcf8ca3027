package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kojisnap/volumes"
)

// VolumeState says how staging shows a volume of production's.
type VolumeState struct {
	Outcome Outcome // what has to be done
	Old     string  // target of the symlink vol/NAME that a directory will replace (Convert)
	// Whole: all of production's tree is mounted at vol/NAME, so that Koji's tools see more of it than its
	// builds.
	Whole bool
}

// hiddenDir returns the directory of a volume, relative to topdir, on a file system that cannot exchange a
// symlink for a directory. vol/NAME is then a symlink to it.
func hiddenDir(name string) string { return ".kojisnap/volumes/" + name }

// volumeDir checks and makes the directories of volumes, vol/NAME below a topdir.
type volumeDir struct{ *Dir }

// CheckVolume says what has to be done about a volume's link, as VolumeLink.Link returns it. ours says
// whether kojisnap made a symlink with that target there. A symlink in the place of the directory, as earlier
// versions and operators made it, counts as ours, too, if it leads to the same builds. A foreign one that
// leads elsewhere is an error: staging's hub would follow it.
func (t *Dir) CheckVolume(l volumes.Link, ours func(path, target string) bool) (VolumeState, error) {
	dir := path.Dir(l.Path)
	name := path.Base(dir)
	if err := volumes.CheckName("staging volume name", name); err != nil {
		return VolumeState{Outcome: Keep}, err
	}
	s, err := volumeDir{t}.checkVolume(l, dir, ours)
	if err != nil {
		s.Outcome = Keep
		return s, fmt.Errorf("volume %s: %w", name, err)
	}
	return s, nil
}

func (t volumeDir) checkVolume(l volumes.Link, dir string, ours func(path, target string) bool) (s VolumeState, err error) {
	st, err := t.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.Outcome = Make
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		have, err := t.Readlink(dir)
		if err != nil {
			return s, err
		}
		if have != "../"+hiddenDir(path.Base(dir)) {
			return t.checkConvert(l, dir, have, ours)
		}
	} else if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return s, fmt.Errorf("%s is no directory: remove it, and it is made anew", t.Join(dir))
	}
	o, have, err := t.Check(l, func(target string) bool { return ours(l.Path, target) })
	if err != nil {
		return s, err
	}
	mounted := t.mountPoint(dir)
	if s.Outcome = o; o == Keep || o != Unchanged && (mounted || t.throughItself(l, dir)) {
		if err := t.sameBuilds(l); err != nil {
			return s, t.elsewhere(l.Path, have, l.Target, err)
		}
		s.Outcome = Unchanged
	}
	if mounted {
		names, err := os.ReadDir(t.Join(dir))
		if err != nil {
			return s, err
		}
		s.Whole = len(names) > 1
	}
	return s, nil
}

// checkConvert is CheckVolume if vol/NAME itself is a symlink.
func (t volumeDir) checkConvert(l volumes.Link, dir, have string, ours func(path, target string) bool) (VolumeState, error) {
	s := VolumeState{Outcome: Convert, Old: have}
	if t.throughItself(l, dir) {
		return s, fmt.Errorf("%s is a symlink to %q, and production's tree is named by way of it: give as --source the directory that it leads to", t.Join(dir), have)
	}
	if ours(dir, have) {
		return s, nil
	}
	if err := t.sameBuilds(l); err != nil {
		return s, t.elsewhere(dir, have, path.Dir(l.Target), err)
	}
	return s, nil
}

var errOtherBuilds = errors.New("other builds are there")

// sameBuilds returns nil if the path of a volume's link is the directory that the link should lead to, by any
// path.
func (t volumeDir) sameBuilds(l volumes.Link) error {
	want, err := os.Stat(t.targetOf(l))
	if err != nil {
		return err
	}
	if is, err := os.Stat(t.Join(l.Path)); err != nil || !os.SameFile(is, want) {
		return errOtherBuilds
	}
	return nil
}

func (t volumeDir) elsewhere(rel, have, want string, err error) error {
	switch {
	case err != errOtherBuilds:
		return err
	case have != "":
		return fmt.Errorf("%s leads to %q, not to %q, and was not made by kojisnap: remove it, and it is made anew", t.Join(rel), have, want)
	}
	return fmt.Errorf("%s is not a symlink to %q, nor what that leads to", t.Join(rel), want)
}

func (t volumeDir) targetOf(l volumes.Link) string {
	if filepath.IsAbs(l.Target) {
		return l.Target
	}
	return t.Join(path.Dir(l.Path) + "/" + l.Target)
}

// throughItself reports whether the path of a link's target passes through the link's own directory: such a
// symlink would lead to itself.
func (t volumeDir) throughItself(l volumes.Link, dir string) bool {
	tree := filepath.Dir(t.targetOf(l))
	parent, err := filepath.EvalSymlinks(filepath.Dir(tree))
	return err == nil && filepath.Join(parent, filepath.Base(tree)) == t.Join(dir)
}

// mountPoint reports whether something is mounted at a directory.
func (t volumeDir) mountPoint(rel string) bool {
	fd, err := t.openDir(rel, unix.O_PATH)
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.EXDEV)
}

// EnsureVolume does what CheckVolume says about a volume's link. A build that is seen through vol/NAME stays
// visible at each moment: a new directory is made complete under the name temp (relative to topdir, on the
// same file system, free), and then renamed, or exchanged for the symlink that is there.
func (t *Dir) EnsureVolume(l volumes.Link, temp string, ours func(path, target string) bool) (Outcome, error) {
	s, err := t.CheckVolume(l, ours)
	if err != nil || s.Outcome == Unchanged {
		return s.Outcome, err
	}
	dir := path.Dir(l.Path)
	if st, err := t.Lstat(dir); err == nil && s.Outcome != Convert { // only its link is missing or wrong
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			l.Path = hiddenDir(path.Base(dir)) + "/packages"
		}
		return t.EnsureLink(l, temp, func(target string) bool { return s.Outcome == Switch })
	}
	if err := t.Mkdir(temp); err != nil {
		return s.Outcome, err
	}
	if err = t.Symlink(l.Target, temp+"/packages"); err == nil {
		err = volumeDir{t}.placeVolume(s.Outcome, dir, temp)
	}
	return s.Outcome, errors.Join(err, t.RemoveAll(temp))
}

// placeVolume gives a volume's directory its name.
func (t volumeDir) placeVolume(o Outcome, dir, temp string) error {
	if o == Make {
		if err := t.Mkdir(path.Dir(dir)); err != nil {
			return err
		}
		return t.RenameNew(temp, dir)
	}
	err := t.Exchange(temp, dir)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// NFS cannot exchange names, and no rename replaces a symlink by a directory. But one symlink can
	// replace another.
	// symlink replaces another.
	hidden := hiddenDir(path.Base(dir))
	if err := t.RemoveAll(hidden); err != nil { // left by a killed run: nothing leads there
		return err
	}
	if err := t.Mkdir(path.Dir(hidden)); err != nil {
		return err
	}
	if err := t.RenameNew(temp, hidden); err != nil {
		return err
	}
	if err := t.Symlink("../"+hidden, temp); err != nil {
		return err
	}
	return t.Rename(temp, dir)
}

// FindTree returns production's tree as the staging volume NAME of a topdir leads to it, "" if there is no
// such volume. If the tree is mounted at vol/NAME, it is that directory.
func FindTree(topdir, name string) (string, error) {
	if err := volumes.CheckName("staging volume name", name); err != nil {
		return "", err
	}
	dir := filepath.Join(topdir, "vol", name)
	switch have, err := os.Readlink(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err == nil && have != "../"+hiddenDir(name):
		return filepath.EvalSymlinks(dir)
	case err != nil && !errors.Is(err, unix.EINVAL):
		return "", err
	}
	packages, err := os.Readlink(filepath.Join(dir, "packages"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, unix.EINVAL): // a directory: the tree, or only its builds, are mounted there
		return filepath.EvalSymlinks(dir)
	case err != nil:
		return "", err
	}
	if !filepath.IsAbs(packages) {
		packages = filepath.Join(dir, packages)
	}
	if filepath.Base(packages) != "packages" {
		return "", fmt.Errorf("%s leads to %q, which is not packages of a topdir; give --source, production's tree", filepath.Join(dir, "packages"), packages)
	}
	return filepath.Dir(packages), nil
}
