// Package btrfs makes clones of production's tree as writable snapshots of a Btrfs subvolume. A clone stands by itself:
// it shares blocks with the subvolume, and keeps those that the subvolume gives up. A hard link in it is a plain link.
//
// Subvolumes and mounts below the subvolume are not in a snapshot: production's other volumes stay where they are.
package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/volumes/clone"
	"kojisnap/volumes/topdir"
)

// Name is the provider's name in the configuration.
const Name = "btrfs"

// Options of a Provider.
type Options struct {
	Env string
	Dir string // where the snapshots are made, on the file system of Subvolume
	// Subvolume is production's tree, at or below the directory of a subvolume.
	Subvolume string
	Hook      func(step string) error // for tests: called after each step; if it fails, so does the step
}

// Provider makes clones by Btrfs. Only root may remove subvolumes, unless the file system is mounted with
// user_subvol_rm_allowed.
type Provider struct{ Options }

// New returns a provider.
func New(o Options) (*Provider, error) {
	for _, path := range []struct{ what, path string }{{"dir", o.Dir}, {"subvolume", o.Subvolume}} {
		switch {
		case path.path == "":
			return nil, fmt.Errorf("clones by btrfs: no %s is given (--%s, or %s in [clone])", path.what, path.what, path.what)
		case !filepath.IsAbs(path.path):
			return nil, fmt.Errorf("clones by btrfs: %s %q: want an absolute path", path.what, path.path)
		}
	}
	return &Provider{o}, nil
}

// Check says why no clone can be made.
func (p *Provider) Check(context.Context) error {
	_, _, err := p.source()
	if err != nil {
		return err
	}
	dir := p.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir)
	}
	return p.sameFileSystem(dir)
}

func (p *Provider) sameFileSystem(dir string) error {
	source, err := filepath.EvalSymlinks(p.Subvolume)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	s, err := topdir.MountOf(source)
	if err != nil {
		return err
	}
	d, err := topdir.MountOf(dir)
	if err != nil {
		return err
	}
	if s.Device != d.Device {
		return fmt.Errorf("clones by btrfs: dir %s is on another file system than subvolume %s (%s, %s): snapshots can be made on the same one only", dir, source, d.Source, d.Type)
	}
	return nil
}

// source returns the directory of the subvolume that production's tree is in, and the tree's path below it.
func (p *Provider) source() (subvolume, below string, err error) {
	tree, err := filepath.EvalSymlinks(p.Subvolume)
	if err != nil {
		return "", "", fmt.Errorf("subvolume: %w", err)
	}
	m, err := topdir.MountOf(tree)
	if err != nil {
		return "", "", err
	}
	if m.Type != "btrfs" {
		return "", "", fmt.Errorf("subvolume %s: is on %s, which is no Btrfs: use another provider", tree, m.Type)
	}
	for dir := tree; ; dir = filepath.Dir(dir) {
		if is, err := isSubvolume(dir); err != nil {
			return "", "", err
		} else if is {
			below, err := filepath.Rel(dir, tree)
			return dir, below, err
		}
		if dir == m.Point || dir == "/" {
			return "", "", fmt.Errorf("subvolume %s: the directory of its subvolume is not mounted here: mount the whole subvolume", tree)
		}
	}
}

// isSubvolume reports whether a directory is that of a subvolume: its inode is always the same.
func isSubvolume(dir string) (bool, error) {
	const firstFree = 256 // BTRFS_FIRST_FREE_OBJECTID
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return false, &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	var f unix.Statfs_t
	if err := unix.Statfs(dir, &f); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Ino == firstFree && f.Type == unix.BTRFS_SUPER_MAGIC, nil
}

// Create implements clone.Provider. The kernel makes a snapshot whole, or none.
func (p *Provider) Create(ctx context.Context, id clone.ID) (clone.Clone, error) {
	c := clone.Clone{ID: id.String()}
	subvolume, below, err := p.source()
	if err != nil {
		return c, err
	}
	if err := durable.MkdirAll(p.Dir, 0o755); err != nil {
		return c, err
	}
	if err := p.sameFileSystem(p.Dir); err != nil {
		return c, err
	}
	dir := p.place(c.ID)
	switch is, err := isSubvolume(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := snapshot(subvolume, p.Dir, c.ID); err != nil {
			return c, err
		}
	case err != nil:
		return c, err
	case !is:
		return c, fmt.Errorf("%s is in the way, and no subvolume: look at it, and remove it", dir)
	}
	if err := p.step("snapshot"); err != nil {
		return c, err
	}
	c.Details = map[string]string{"dir": dir, "below": below}
	return c, syncFileSystem(p.Dir)
}

func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

// Mount implements clone.Provider: a snapshot is there as soon as it is made.
func (p *Provider) Mount(ctx context.Context, c clone.Clone) (string, error) {
	dir, err := c.Dir(p.Env, p.Dir)
	if err != nil {
		return "", err
	}
	if is, err := isSubvolume(dir); err != nil || !is {
		return "", errors.Join(err, fmt.Errorf("%s: is no subvolume", dir))
	}
	if below := c.Details["below"]; below != "" && below != "." {
		if !filepath.IsLocal(below) {
			return "", fmt.Errorf("clone %s: its note has the path %q", c.ID, below)
		}
		dir = filepath.Join(dir, below)
	}
	return dir, nil
}

// List implements clone.Provider.
func (p *Provider) List(context.Context) ([]clone.Clone, error) {
	entries, err := os.ReadDir(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []clone.Clone
	for _, e := range entries {
		if id, err := clone.ParseID(e.Name()); err != nil || id.Env != p.Env {
			continue
		}
		if is, err := isSubvolume(p.place(e.Name())); err == nil && is {
			list = append(list, clone.Clone{ID: e.Name(), Details: map[string]string{"dir": p.place(e.Name())}})
		}
	}
	return list, nil
}

// Discard implements clone.Provider. The kernel would remove a subvolume in which files are open; so it looks at all
// processes of this host first. It does not see what other hosts have open by NFS.
func (p *Provider) Discard(ctx context.Context, c clone.Clone) error {
	dir, err := c.Dir(p.Env, p.Dir)
	if err != nil {
		return err
	}
	switch is, err := isSubvolume(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !is:
		return fmt.Errorf("%s: is no subvolume: look at it, and remove it", dir)
	}
	user, err := userOf(dir)
	if err != nil {
		return err
	}
	if user != "" {
		return fmt.Errorf("%w: %s", clone.ErrBusy, user)
	}
	if err := p.step("not busy"); err != nil {
		return err
	}
	if err := destroy(filepath.Dir(dir), filepath.Base(dir)); err != nil {
		return err
	}
	return syncFileSystem(filepath.Dir(dir))
}

// userOf names a process of this host that uses a subvolume; empty: none does. Each subvolume is a device of its own.
func userOf(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	var links []string
	for _, pattern := range []string{"/proc/[0-9]*/cwd", "/proc/[0-9]*/root", "/proc/[0-9]*/fd/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		links = append(links, found...)
	}
	for _, link := range links {
		var is unix.Stat_t
		if unix.Stat(link, &is) == nil && is.Dev == st.Dev {
			return "process " + strings.Split(link, "/")[2] + " has files open below " + dir, nil
		}
	}
	mounts, err := topdir.ReadMounts("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.Type != "btrfs" && !strings.HasPrefix(m.Point, dir+"/") {
			continue
		}
		var is unix.Stat_t
		if strings.HasPrefix(m.Point, dir+"/") || unix.Stat(m.Point, &is) == nil && is.Dev == st.Dev {
			return "it, or a part of it, or something in it, is mounted at " + m.Point, nil
		}
	}
	return "", nil
}

func (p *Provider) step(name string) error {
	if p.Hook == nil {
		return nil
	}
	return p.Hook(name)
}

func (p *Provider) place(id string) string { return filepath.Join(p.Dir, id) }
