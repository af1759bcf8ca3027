package topdir

import (
	"os"

	"golang.org/x/sys/unix"
)

// Subdir is a directory below a Dir that stays open, for much work in it. Its methods work in that directory
// even after a rename. They may be called concurrently.
type Subdir struct {
	t   *Dir
	rel string
	fd  int
}

// OpenDir opens a directory as all methods of Dir do. Close it after use.
func (t *Dir) OpenDir(rel string) (*Subdir, error) {
	fd, err := t.openDir(rel, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	return &Subdir{t, rel, fd}, nil
}

// Close closes the directory.
func (d *Subdir) Close() error { return unix.Close(d.fd) }

// Rel returns the path below topdir that the directory had when it was opened.
func (d *Subdir) Rel() string { return d.rel }

// Create creates a file that must not exist, with mode 0644 less the umask; see FileMode.
func (d *Subdir) Create(name string) (*os.File, error) {
	rel := d.rel + "/" + name
	if err := d.t.hook("create", rel); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, d.t.error("create", rel, err)
	}
	f := os.NewFile(uintptr(fd), d.t.Join(rel))
	if err := d.t.Own(f); err != nil {
		f.Close()
		unix.Unlinkat(d.fd, name, 0)
		return nil, err
	}
	return f, nil
}

// LinkFile makes a hard link to an open file.
func (d *Subdir) LinkFile(f *os.File, name string) error {
	return d.do("link", name, func() error { return linkFile(f, d.fd, name) })
}

// Remove removes a file or a symlink.
func (d *Subdir) Remove(name string) error {
	return d.do("remove", name, func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// Lstat is lstat(2) for a path below the directory.
func (d *Subdir) Lstat(rel string) (st unix.Stat_t, err error) {
	if err := unix.Fstatat(d.fd, rel, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, d.t.error("lstat", d.rel+"/"+rel, err)
	}
	return st, nil
}

func (d *Subdir) do(op, name string, f func() error) error {
	rel := d.rel + "/" + name
	if err := d.t.hook(op, rel); err != nil {
		return err
	}
	return d.t.error(op, rel, f())
}
