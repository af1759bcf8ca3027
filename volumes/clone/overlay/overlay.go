// Package overlay makes clones of production's tree with overlayfs. The lower tree is read only and never changed; what
// is written goes into a directory of this machine. A hard link makes the kernel copy the lower file up. Two ways of that
// cost no data: metacopy=on copies the inode alone, and a reflink shares the data, if the upper directory is on the lower
// tree's own XFS or Btrfs. A link by metacopy reads the lower file, so that reflinks come first where production may
// replace that. Which of the two works is tried, with a large file, before a clone is shown.
//
// An overlay is of one machine: it cannot be exported by NFS with metacopy, and other hosts do not see it.
package overlay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kojisnap/kojisnap/durable"
	"kojisnap/volumes/clone"
)

// Name is the provider's name in the configuration.
const Name = "overlay"

// Options of a Provider.
type Options struct {
	Env string
	Dir string // where what is written is kept, with a directory for each clone
	// Lower is production's tree as it was at one moment: a path, or a pattern of which the last match by name counts.
	Lower string
	// LiveLower accepts a tree that production goes on to change.
	LiveLower bool
	// Metacopy copies the inode alone also where the lower tree is live and files can be reflinked. Links take half the
	// time then, and have what production makes of the lower file.
	Metacopy bool
	// Hook, if not nil, is called after each step; if it fails, so does the step. It is for tests.
	Hook func(step string) error
}

// Provider makes clones with overlayfs. It needs the right to mount, CAP_SYS_ADMIN.
type Provider struct{ Options }

// New returns a provider.
func New(o Options) (*Provider, error) {
	for _, path := range []struct{ what, path string }{{"dir", o.Dir}, {"lower", o.Lower}} {
		switch {
		case path.path == "":
			return nil, fmt.Errorf("clones by overlay: no %s is given (--%s, or %s in [clone])", path.what, path.what, path.what)
		case !filepath.IsAbs(path.path):
			return nil, fmt.Errorf("clones by overlay: %s %q: want an absolute path", path.what, path.path)
		}
	}
	o.Dir = filepath.Clean(o.Dir)
	if strings.ContainsAny(o.Dir, ",:\\ \t\n\"") {
		return nil, fmt.Errorf("clones by overlay: dir %q: mount options of overlayfs take no path with a comma, colon, backslash, quote or blank: choose another directory", o.Dir)
	}
	return &Provider{o}, nil
}

// about is the file about.json in a clone's directory.
type about struct {
	ID    string      `json:"id"`
	Lower clone.Lower `json:"lower"`
	// Mode is how links cost no data: reflink or metacopy; empty: it was not tried yet.
	Mode string `json:"mode,omitempty"`
	// Probe says what was tried.
	Probe string `json:"probe,omitempty"`
}

const (
	reflink  = "reflink"
	metacopy = "metacopy"
)

// Check says why no clone can be made: no right to mount, no lower tree, a live one.
func (p *Provider) Check(context.Context) error {
	if err := mayMount(); err != nil {
		return err
	}
	if _, err := p.findLower(); err != nil {
		return err
	}
	info, err := os.Stat(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(filepath.Dir(p.Dir))
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("clones by overlay: dir %s: is not a directory", p.Dir)
	}
	return err
}

// Create implements clone.Provider. Nothing is mounted when it returns.
func (p *Provider) Create(ctx context.Context, id clone.ID) (clone.Clone, error) {
	c := clone.Clone{ID: id.String()}
	if err := mayMount(); err != nil {
		return c, err
	}
	dir := p.place(c.ID)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return c, err
	}
	if err := p.step("directory"); err != nil {
		return c, err
	}
	a, err := readAbout(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = p.begin(dir, c.ID); err == nil {
			err = p.step("about")
		}
	}
	if err != nil {
		return c, err
	}
	if a.ID != c.ID {
		return c, fmt.Errorf("%s is of clone %q", filepath.Join(dir, aboutFile), a.ID)
	}
	if err := makeDirs(dir, a.Lower.Path); err != nil {
		return c, err
	}
	if err := p.step("directories"); err != nil {
		return c, err
	}
	if a.Mode == "" {
		if err := a.Lower.Check(); err != nil {
			return c, err
		}
		if err := p.probe(ctx, dir, &a); err != nil {
			return c, err
		}
		if err := writeAbout(dir, a); err != nil {
			return c, err
		}
		if err := p.step("mode"); err != nil {
			return c, err
		}
	}
	return clone.Clone{ID: c.ID, Details: map[string]string{"dir": dir, "mode": a.Mode, "probe": a.Probe}, Lower: &a.Lower}, nil
}

// begin chooses the lower tree, and writes that down, so that the same clone always has the same one.
func (p *Provider) begin(dir, id string) (about, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return about{}, err
	}
	for _, name := range names {
		if !durable.IsTemp(name.Name()) {
			return about{}, fmt.Errorf("%s is in the way: it has %q, and no %s", dir, name.Name(), aboutFile)
		}
	}
	lower, err := p.findLower()
	if err != nil {
		return about{}, err
	}
	a := about{ID: id, Lower: lower}
	return a, writeAbout(dir, a)
}

// makeDirs makes what an overlay needs. The clone's own directory is as the lower one.
func makeDirs(dir, lower string) error {
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := likeLower(filepath.Join(dir, "upper"), lower); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

func likeLower(upper, lower string) error {
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return &os.PathError{Op: "stat", Path: lower, Err: err}
	}
	if err := os.Chown(upper, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(upper, st.Mode&0o7777)
}

// Mount implements clone.Provider.
func (p *Provider) Mount(ctx context.Context, c clone.Clone) (string, error) {
	dir, err := c.Dir(p.Env, p.Dir)
	if err != nil {
		return "", err
	}
	a, err := readAbout(dir)
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "root")
	mounted, err := mountsAt(dir)
	if err != nil {
		return "", err
	}
	for _, m := range mounted {
		if m.Point == root {
			return root, nil
		}
	}
	if a.Mode == "" {
		return "", fmt.Errorf("clone %s was not made to its end", c.ID)
	}
	if err := a.Lower.Check(); err != nil {
		return "", err
	}
	return root, mount(dir, "upper", "work", "root", a.Lower.Path, a.Mode)
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
		if id, err := clone.ParseID(e.Name()); err != nil || id.Env != p.Env || !e.IsDir() {
			continue
		}
		c := clone.Clone{ID: e.Name(), Details: map[string]string{"dir": p.place(e.Name())}}
		if a, err := readAbout(p.place(e.Name())); err == nil {
			c.Lower, c.Details["mode"] = &a.Lower, a.Mode
		}
		list = append(list, c)
	}
	return list, nil
}

// Discard implements clone.Provider. It does not see what other hosts have open.
func (p *Provider) Discard(ctx context.Context, c clone.Clone) error {
	dir, err := c.Dir(p.Env, p.Dir)
	if err != nil {
		return err
	}
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if a, err := readAbout(dir); err == nil && a.ID != c.ID {
		return fmt.Errorf("%s is of clone %q", filepath.Join(dir, aboutFile), a.ID)
	}
	for _, name := range names {
		if !slices.Contains(parts, name.Name()) && !durable.IsTemp(name.Name()) {
			return fmt.Errorf("%s has %q, which kojisnap did not make: look at it, and remove it", dir, name.Name())
		}
	}
	if err := unmount(dir); err != nil {
		return err
	}
	if err := p.step("unmounted"); err != nil {
		return err
	}
	return p.remove(dir)
}

// parts are the names in a clone's directory, in the order in which they are removed.
var parts = []string{"root", probeDir, "upper", "work", aboutFile}

// remove removes a clone's directory, in which nothing is mounted any longer. A mount point is removed only if empty.
func (p *Provider) remove(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range parts {
		if name == "root" {
			err = unix.Rmdir(filepath.Join(dir, name))
		} else {
			err = root.RemoveAll(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", filepath.Join(dir, name), err)
		}
		if err := p.step("removed " + name); err != nil {
			return err
		}
	}
	return durable.Remove(dir)
}

func (p *Provider) step(name string) error {
	if p.Hook == nil {
		return nil
	}
	return p.Hook(name)
}

// place is the directory of a clone.
func (p *Provider) place(id string) string { return filepath.Join(p.Dir, id) }

const aboutFile = "about.json"

func readAbout(dir string) (a about, err error) {
	f, err := os.Open(filepath.Join(dir, aboutFile))
	if err != nil {
		return a, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&a); err != nil {
		return a, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return a, nil
}

func writeAbout(dir string, a about) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, aboutFile), func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err })
}
