package topdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Some sites have topdir's directory packages, which grows, on a disk of its own: as a mount, or as a
// symlink. kojisnap writes only symlinks below it, and these lead to ../../../vol. So packages may be on
// another file system if that path leads to topdir's vol. vol may not be: composes make hard links to files
// in it.

const packagesDir = "packages"

// apartNote exists if packages was apart from topdir in the last run. It keeps Open from taking a missing
// mount for an empty packages.
const apartNote = ".kojisnap/packages-apart"

// openPackages opens packages if it is apart from topdir. It returns an error if kojisnap could not work with
// it.
func (t *Dir) openPackages(readOnly string) error {
	if err := t.notApart("vol"); err != nil {
		return err
	}
	how, err := t.apart(packagesDir)
	if err != nil {
		return err
	}
	if how == "" {
		if _, err := t.Lstat(apartNote); err == nil {
			return fmt.Errorf("topdir %s: packages was a mount or a symlink when symlinks were made in it, and is none: is it mounted? If it is to be a directory of topdir's from now on, remove %s",
				t.path, t.Join(apartNote))
		}
		return nil
	}
	place, err := filepath.EvalSymlinks(t.Join(packagesDir))
	if err != nil {
		return fmt.Errorf("topdir %s: packages is %s that leads nowhere: is what it leads to mounted? %w", t.path, how, err)
	}
	if readOnly != "" {
		if err := outside(place, readOnly); err != nil {
			return fmt.Errorf("topdir %s: packages is %s: %w", t.path, how, err)
		}
	}
	vol := t.path
	if place != t.Join(packagesDir) {
		vol = filepath.Dir(place)
	}
	if !sameFile(vol, t.path) && !sameFile(vol+"/vol", t.Join("vol")) {
		return fmt.Errorf("topdir %s: packages is a symlink to %s, where Koji's symlinks of builds, ../../../vol/…, lead to %s and not to topdir's: "+
			"put a directory in its place and mount that there (mount --bind), or make %s a symlink to %s",
			t.path, place, vol+"/vol", vol+"/vol", t.Join("vol"))
	}
	fd, err := unix.Open(place, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("topdir %s: packages is %s: %w", t.path, how, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err == nil && st.Flags&unix.ST_RDONLY != 0 {
		unix.Close(fd)
		return fmt.Errorf("topdir %s: packages is %s, and read-only: staging's hub and kojisnap make symlinks of builds there: mount it writable", t.path, how)
	}
	t.packages = fd
	return nil
}

// apart says how a directory of topdir is apart: as a symlink or as another mount; "": it is not, or does not
// exist.
func (t *Dir) apart(rel string) (string, error) {
	st, err := t.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("topdir %s: %w", t.path, err)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return "a symlink", nil
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", fmt.Errorf("topdir %s: %s is no directory: remove it, and it is made anew", t.path, t.Join(rel))
	case !SameMount(t.path, t.Join(rel)):
		return "another mount", nil
	}
	return "", nil
}

// notApart refuses a directory that is apart, if composes make hard links to files in it or kojisnap owns it.
func (t *Dir) notApart(rel string) error {
	how, err := t.apart(rel)
	if how == "" {
		return err
	}
	return fmt.Errorf("topdir %s: %s is %s: composes below topdir make hard links of the files in vol, which is impossible between mounts, and nothing is written through a symlink: "+
		"make it a directory of topdir's own file system, or let topdir be on the file system where that is", t.path, t.Join(rel), how)
}

// SameMount reports whether link(2) can work between two directories. The kernel refuses links between
// mounts, even of one file system.
func SameMount(a, b string) bool {
	var sa, sb unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, a, 0, unix.STATX_MNT_ID, &sa) != nil || unix.Statx(unix.AT_FDCWD, b, 0, unix.STATX_MNT_ID, &sb) != nil {
		return false
	}
	if sa.Dev_major != sb.Dev_major || sa.Dev_minor != sb.Dev_minor {
		return false
	}
	// Linux before 5.8 does not tell the mount.
	return sa.Mask&sb.Mask&unix.STATX_MNT_ID == 0 || sa.Mnt_id == sb.Mnt_id
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, other := os.Stat(b)
	return err == nil && other == nil && os.SameFile(x, y)
}

// outside returns an error for a directory that is production's tree or lies in it, also by another mount of
// the same part of the file system.
func outside(place, readOnly string) error {
	ro, err := directory("read-only volume", readOnly)
	if err != nil {
		return err
	}
	for p := place; ; p = filepath.Dir(p) {
		if sameFile(p, ro) {
			return fmt.Errorf("%s is in the read-only volume %s", place, readOnly)
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	here, err := MountOf(place)
	if err != nil {
		return err
	}
	there, err := MountOf(ro)
	if err != nil {
		return err
	}
	if here.Device == there.Device && beneath(here.inside(place), there.inside(ro)) {
		return fmt.Errorf("%s is a part of the read-only volume %s, mounted once more", place, readOnly)
	}
	return nil
}

// roots are the directories from which paths below topdir are opened.
type roots struct {
	path     string
	fd       int
	packages int // the directory packages if it is apart, otherwise -1
	suffix   string
}

// rooted returns the directory from which a path below topdir is opened, and the path from there.
func (t *roots) rooted(rel string) (fd int, below string) {
	if t.packages < 0 || rel != packagesDir && !strings.HasPrefix(rel, packagesDir+"/") {
		return t.fd, rel
	}
	if rel == packagesDir {
		return t.packages, "."
	}
	return t.packages, strings.TrimPrefix(rel, packagesDir+"/")
}

// SetTempSuffix tells runs apart that work at the same time: their temporary directories in packages end differently.
func (t *roots) SetTempSuffix(suffix string) { t.suffix = suffix }

// PackagesTemp returns the directory for temporary names in packages, "" if packages is not apart.
func (t *roots) PackagesTemp() string {
	if t.packages < 0 {
		return ""
	}
	return packagesDir + "/.kojisnap-tmp" + t.suffix
}

// NotePackages notes that packages is apart.
func (t *Dir) NotePackages() error {
	if t.packages < 0 {
		return nil
	}
	if err := t.Mkdir(path.Dir(apartNote)); err != nil {
		return err
	}
	if err := t.Symlink("../packages", apartNote); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// tempFor returns a temporary name on the file system of a path: temp, or one in packages.
func (t *Dir) tempFor(rel, temp string) (string, error) {
	if fd, _ := t.rooted(rel); fd == t.fd {
		return temp, nil
	}
	dir := t.PackagesTemp()
	if _, err := t.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		// newDir cannot make it: it would need such a directory itself.
		err := unix.Mkdirat(t.packages, path.Base(dir), 0o755)
		if err != nil && err != unix.EEXIST {
			return "", t.error("mkdir", dir, err)
		}
	}
	return dir + "/" + path.Base(temp), nil
}
