package topdir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is a line of the mount table.
type Mount struct {
	ID     int
	Device string // of the file system: MAJOR:MINOR
	Root   string // the directory of the file system that is mounted there
	Point  string // where it is mounted
	Type   string // of the file system
	Source string // device or SERVER:/EXPORT
	// ReadOnly: the mount or its file system is read-only.
	ReadOnly bool
	// Options are those of the file system, not of the mount.
	Options []string
}

// MountOf finds the mount of a path in the process's mount table. The path must have no symlinks.
func MountOf(path string) (Mount, error) {
	mounts, err := ReadMounts("/proc/self/mountinfo")
	if err != nil {
		return Mount{}, err
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil && err != unix.ENOSYS {
		return Mount{}, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	var found Mount
	for _, m := range mounts {
		if st.Mask&unix.STATX_MNT_ID != 0 {
			if m.ID == int(st.Mnt_id) {
				return m, nil
			}
		} else if len(m.Point) >= len(found.Point) && beneath(path, m.Point) { // for Linux before 5.8; of two mounts at one point the later counts
			found = m
		}
	}
	if found.Point == "" {
		return Mount{}, fmt.Errorf("%s: is on no mount of /proc/self/mountinfo", path)
	}
	return found, nil
}

// ReadMounts reads the mount table of a process, /proc/PID/mountinfo.
func ReadMounts(table string) ([]Mount, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := parseMounts(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", table, err)
	}
	return mounts, nil
}

// inside returns where a path on the mount is in its file system.
func (m Mount) inside(path string) string {
	return filepath.Join(m.Root, strings.TrimPrefix(path, m.Point))
}

func beneath(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// parseMounts parses mountinfo, see proc_pid_mountinfo(5): fields, optional fields up to "-", type, source,
// options of the file system.
func parseMounts(r io.Reader) (mounts []Mount, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		front, back, ok := strings.Cut(lines.Text(), " - ")
		f, g := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 6 || len(g) < 2 {
			return nil, fmt.Errorf("line %q", lines.Text())
		}
		id, err := strconv.Atoi(f[0])
		if err != nil {
			return nil, fmt.Errorf("line %q", lines.Text())
		}
		m := Mount{ID: id, Device: f[2], Root: unescape(f[3]), Point: unescape(f[4]), Type: g[0], Source: unescape(g[1])}
		if len(g) > 2 {
			m.Options = strings.Split(unescape(g[2]), ",")
		}
		for _, options := range append(f[5:6], g[2:]...) {
			m.ReadOnly = m.ReadOnly || strings.HasPrefix(options, "ro,") || options == "ro"
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}

// unescape decodes the octal escapes that the kernel writes for blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}

// CheckReadOnlyVolume returns an error if the read-only volume is missing: nothing is mounted, or the mounted
// directory does not have the layout of Koji's topdir. It returns the volume's mount, which need not be
// read-only: see Writer, and package volumes/clone.
func CheckReadOnlyVolume(dir string) (Mount, error) {
	resolved, err := directory("read-only volume", dir)
	if err != nil {
		return Mount{}, err
	}
	v, err := MountOf(resolved)
	if err != nil {
		return v, fmt.Errorf("read-only volume %s: %w", dir, err)
	}
	info, err := os.Stat(filepath.Join(resolved, "packages"))
	switch {
	case err == nil && info.IsDir():
		return v, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return v, fmt.Errorf("read-only volume %s: %w", dir, err)
	}
	entries, err := os.ReadDir(resolved)
	switch {
	case err != nil:
		return v, fmt.Errorf("read-only volume %s: %w", dir, err)
	case len(entries) == 0 && v.Point != resolved:
		return v, fmt.Errorf("read-only volume %s: nothing is mounted there: it is an empty directory of %s; mount production's tree", dir, v.Point)
	case len(entries) == 0:
		return v, fmt.Errorf("read-only volume %s: %s is mounted there (%s), and is empty", dir, v.Source, v.Type)
	}
	return v, fmt.Errorf("read-only volume %s: is not laid out as Koji's topdir: it has no directory packages (%s, %s, mounted at %s); is production's volume mounted?",
		dir, v.Source, v.Type, v.Point)
}
