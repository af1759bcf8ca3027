package overlay

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

// findLower returns the tree that a new clone is to read.
func (p *Provider) findLower() (clone.Lower, error) {
	path, err := newest(p.Lower)
	if err != nil {
		return clone.Lower{}, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return clone.Lower{}, fmt.Errorf("lower: %w", err)
	}
	if _, err := topdir.CheckReadOnlyVolume(path); err != nil {
		return clone.Lower{}, fmt.Errorf("lower: %w", err)
	}
	live, why, err := isLive(path)
	if err != nil {
		return clone.Lower{}, fmt.Errorf("lower %s: %w", path, err)
	}
	if live && !p.LiveLower {
		return clone.Lower{}, fmt.Errorf("lower %s: is no view of one moment (%s): if production changes a file below an overlay, composes made before have the new content, or an error; "+
			"give a snapshot, as a file server has in .snapshot, or --live-lower (live-lower = true in [clone]) if production's files never change", path, why)
	}
	return clone.LookAtLower(path, live)
}

// newest returns the last match, by name, of a pattern.
func newest(pattern string) (string, error) {
	if !strings.ContainsAny(pattern, `*?[`) {
		return pattern, nil
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("lower %q: %w", pattern, err)
	}
	if len(matches) == 0 {
		return "", fmt.Errorf("lower %q: nothing matches: is the snapshot there, and mounted?", pattern)
	}
	return slices.Max(matches), nil
}

// isLive reports whether somebody can change a tree, as far as this host can tell, and why it says so.
func isLive(path string) (live bool, why string, err error) {
	m, err := topdir.MountOf(path)
	if err != nil {
		return false, "", err
	}
	readOnly := slices.Contains(m.Options, "ro") // the file system, not the mount alone
	switch parts := strings.Split(path, "/"); {
	case m.Type == "btrfs":
		frozen, err := readOnlySubvolume(path)
		return !frozen && !readOnly, "a Btrfs subvolume that can be written", err
	case m.Type == "zfs":
		return !strings.Contains(m.Source, "@"), "a ZFS file system, and no snapshot of one", nil
	case slices.Contains(parts, ".snapshot"), slices.Contains(parts, "~snapshot"): // a file server's
		return false, "", nil
	case slices.Contains([]string{"squashfs", "erofs", "iso9660", "udf"}, m.Type):
		return false, "", nil
	case strings.HasPrefix(m.Source, "/dev/"):
		return !readOnly, fmt.Sprintf("a file system of %s that is mounted for writing", m.Source), nil
	}
	return true, fmt.Sprintf("on %s, %s", m.Source, m.Type), nil
}

// readOnlySubvolume reports whether the Btrfs subvolume of a path is read-only, as a snapshot is that was made so.
func readOnlySubvolume(path string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	flags, err := subvolumeFlags(fd)
	for err == unix.EINVAL { // path is below the subvolume's directory
		parent, perr := unix.Openat(fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if perr != nil {
			return false, perr
		}
		if same(fd, parent) {
			unix.Close(parent)
			return false, nil
		}
		unix.Close(fd)
		fd = parent
		flags, err = subvolumeFlags(fd)
	}
	if err == unix.ENOTTY {
		return false, nil
	}
	return flags&btrfsReadOnly != 0, err
}

func same(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}
