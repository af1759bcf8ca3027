package volumes

import (
	"os"

	"golang.org/x/sys/unix"
)

// Dir is a directory of a Topdir that is kept open, for much work in it. What is done by it
// is done in that directory, also after it was renamed. Methods may be called concurrently.
type Dir struct {
	t   *Topdir
	rel string
	fd  int
}

// OpenDir opens a directory as all methods of Topdir do. Close it after use.
func (t *Topdir) OpenDir(rel string) (*Dir, error) {
	fd, err := t.openDir(rel, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	return &Dir{t, rel, fd}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Rel is the directory's path below topdir when it was opened.
func (d *Dir) Rel() string { return d.rel }

// Create creates a file that must not exist, mode 0644 less the umask; see FileMode.
func (d *Dir) Create(name string) (*os.File, error) {
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

// LinkFile makes a hard link of an open file.
func (d *Dir) LinkFile(f *os.File, name string) error {
	return d.do("link", name, func() error { return linkFile(f, d.fd, name) })
}

// Remove removes a file or a symlink.
func (d *Dir) Remove(name string) error {
	return d.do("remove", name, func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// Lstat is lstat of a path below the directory.
func (d *Dir) Lstat(rel string) (st unix.Stat_t, err error) {
	if err := unix.Fstatat(d.fd, rel, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, d.t.error("lstat", d.rel+"/"+rel, err)
	}
	return st, nil
}

func (d *Dir) do(op, name string, f func() error) error {
	rel := d.rel + "/" + name
	if err := d.t.hook(op, rel); err != nil {
		return err
	}
	return d.t.error(op, rel, f())
}
