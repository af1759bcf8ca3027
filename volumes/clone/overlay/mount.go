package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

// errNoRight says what is missing.
var errNoRight = errors.New("clones by overlay need the right to mount: run kojisnap as root (CAP_SYS_ADMIN), or use another provider")

// mayMount reports whether this process has CAP_SYS_ADMIN.
func mayMount() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return errNoRight
	}
	return seenByOthers()
}

// seenByOthers refuses a mount namespace of this process's own, in which nobody else would see what it mounts.
func seenByOthers() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil
	}
	if first, err := os.Readlink("/proc/1/ns/mnt"); err == nil && first != own {
		return errors.New("clones by overlay: this process has a mount namespace of its own, as systemd gives services with PrivateTmp or ProtectSystem: " +
			"nobody else would see a clone; scripts/clone/clones.conf is a drop-in for the service")
	}
	return nil
}

// options returns the mount options. The lower path may be production's, so its colons are escaped.
func options(lower, upper, work, mode string) (string, error) {
	if strings.ContainsAny(lower, ",\n\"") {
		return "", fmt.Errorf("lower %q: mount options of overlayfs take no path with a comma, a quote or a line break", lower)
	}
	lower = strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(lower)
	o := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + ",xino=on"
	if mode == metacopy {
		o += ",metacopy=on,redirect_dir=on"
	}
	return o, nil
}

// mount mounts an overlay whose directories are below dir.
func mount(dir, upper, work, root, lower, mode string) error {
	o, err := options(lower, filepath.Join(dir, upper), filepath.Join(dir, work), mode)
	if err != nil {
		return err
	}
	point := filepath.Join(dir, root)
	err = unix.Mount("kojisnap", point, "overlay", unix.MS_NODEV|unix.MS_NOSUID, o)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: mount of an overlay at %s: %w", errNoRight, point, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("mount of an overlay at %s: the kernel has no overlayfs: %w", point, err)
	case err != nil:
		return fmt.Errorf("mount of an overlay at %s (%s): %w; the kernel's log says why", point, o, err)
	}
	return nil
}

// mountsAt returns the mounts at or below a directory that this process sees.
func mountsAt(dir string) ([]topdir.Mount, error) {
	mounts, err := topdir.ReadMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(mounts, func(m topdir.Mount) bool {
		return m.Point != dir && !strings.HasPrefix(m.Point, dir+"/")
	}), nil
}

// unmount unmounts a clone, and what a killed probe left. It never detaches: if a process has a file open in it, or
// something is mounted in it, the error is clone.ErrBusy.
func unmount(dir string) error {
	mounted, err := mountsAt(dir)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounted) {
		if rel, err := filepath.Rel(dir, m.Point); err != nil || rel != "root" && rel != probeDir+"/root" {
			return fmt.Errorf("%w: something is mounted at %s", clone.ErrBusy, m.Point)
		}
	}
	for _, m := range slices.Backward(mounted) {
		switch err := unix.Unmount(m.Point, 0); {
		case errors.Is(err, unix.EBUSY):
			return fmt.Errorf("%w: processes have files open below %s", clone.ErrBusy, m.Point)
		case err != nil:
			return &os.PathError{Op: "unmount", Path: m.Point, Err: err}
		}
	}
	pid, err := mountedElsewhere(filepath.Join(dir, "upper"))
	if err == nil && pid != "" {
		err = fmt.Errorf("%w: it is still mounted for process %s, in another mount namespace", clone.ErrBusy, pid)
	}
	return err
}

// mountedElsewhere returns a process in whose mount namespace an overlay with an upper directory is mounted.
func mountedElsewhere(upper string) (pid string, err error) {
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for _, table := range tables {
		ns, err := os.Readlink(filepath.Join(filepath.Dir(table), "ns/mnt"))
		if err != nil || seen[ns] {
			continue
		}
		mounts, err := topdir.ReadMounts(table)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			continue // the process has ended
		}
		if err != nil {
			return "", err
		}
		seen[ns] = true
		for _, m := range mounts {
			if m.Type == "overlay" && slices.Contains(m.Options, "upperdir="+upper) {
				return filepath.Base(filepath.Dir(table)), nil
			}
		}
	}
	return "", nil
}
