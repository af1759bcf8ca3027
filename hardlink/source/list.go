package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"kojisnap/hardlink/content"
	"kojisnap/volumes"
)

// Listed is something in a build's directory at a source.
type Listed struct {
	Path  string // below the build's directory; not checked
	Size  int64  // -1: unknown
	Mtime time.Time
	// Target is what a symlink says that leads to a directory of the build, or to nothing in it. A symlink to a file of
	// the build is listed as that file.
	Target string
	Err    error // why it is neither: it cannot be read, leads out of the build's directory, or is no file
}

// Lister is a Source that can tell what is in a build's directory.
type Lister interface {
	Source
	// List lists everything in a build's directory that is not a directory, in no order. It tells size and time only of
	// what known does not report true for. If the source does not have the build, it returns fs.ErrNotExist; if it has no
	// listings at all, ErrNoListing.
	List(ctx context.Context, b volumes.Build, known func(path string) bool) ([]Listed, error)
}

// ErrNoListing says that a source does not list directories.
var ErrNoListing = errors.New("it lists no directories")

// List lists a build's directory at the first source that has the build and can list it. If none can, it returns
// ErrNoListing; if all that can do not have the build, fs.ErrNotExist.
func (l *Set) List(ctx context.Context, b volumes.Build, known func(path string) bool) (listed []Listed, from Source, err error) {
	err = ErrNoListing
	for _, s := range l.All {
		lister, ok := s.(Lister)
		if !ok {
			continue
		}
		listed, lerr := lister.List(ctx, b, known)
		switch {
		case lerr == nil:
			return listed, s, nil
		case errors.Is(lerr, ErrNoListing):
		case Absent(lerr) || Denied(lerr):
			if errors.Is(err, ErrNoListing) {
				err = lerr
			}
		default:
			return nil, s, &content.ReadError{Err: lerr}
		}
	}
	return nil, nil, err
}

// List implements Lister. It follows no symlink out of the build's directory, and lists each directory once.
func (d Dir) List(ctx context.Context, b volumes.Build, known func(path string) bool) ([]Listed, error) {
	first := error(fs.ErrNotExist)
	for i, dir := range d.BuildDirs(b) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			if !Absent(err) {
				return nil, err
			}
			if i == 0 {
				first = err
			}
			continue
		}
		defer root.Close()
		var listed []Listed
		err = (&dirLister{root: root, known: known}).list(ctx, &listed, ".")
		return listed, err
	}
	return nil, first
}

type dirLister struct {
	root  *os.Root
	known func(string) bool
}

func (w *dirLister) list(ctx context.Context, to *[]Listed, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := w.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err == nil {
		defer f.Close()
		var entries []fs.DirEntry
		if entries, err = f.ReadDir(-1); err == nil {
			for _, e := range entries {
				if err := w.add(ctx, to, path.Join(dir, e.Name()), e); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if dir == "." {
		return err
	}
	*to = append(*to, Listed{Path: dir, Size: -1, Err: err})
	return nil
}

func (w *dirLister) add(ctx context.Context, to *[]Listed, p string, e fs.DirEntry) error {
	if e.IsDir() {
		return w.list(ctx, to, p)
	}
	one := Listed{Path: p, Size: -1}
	if w.known(p) {
		*to = append(*to, one)
		return nil
	}
	info, err := w.root.Stat(p)
	switch {
	case err == nil && info.Mode().IsRegular():
		one.Size, one.Mtime = info.Size(), info.ModTime()
	case e.Type()&fs.ModeSymlink != 0:
		if one.Target, err = w.root.Readlink(p); err == nil && !within(p, one.Target) {
			one.Err = fmt.Errorf("it is a symlink to %q, out of the build's directory", one.Target)
			one.Target = ""
		} else if err != nil {
			one.Err = err
		}
	case err == nil:
		one.Err = &notRegularError{p, info.Mode().Type()}
	case Absent(err):
		return nil // removed meanwhile
	default:
		one.Err = err
	}
	*to = append(*to, one)
	return nil
}

// within reports whether a symlink's target is a path that stays in the build's directory.
func within(link, target string) bool {
	if target == "" || path.IsAbs(target) {
		return false
	}
	depth := 0 // a target may go up, but not out
	for _, c := range strings.Split(path.Dir(link)+"/"+target, "/") {
		switch c {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return false
			}
		default:
			depth++
		}
	}
	return true
}

// OpenWithin opens a regular file of a build that no row names, whose content nothing verifies: it follows no symlink
// out of the build's directory.
func (d Dir) OpenWithin(b volumes.Build, name string) (*Input, error) {
	return d.first(b, func(dir string) (*Input, error) { return openWithin(dir, name) })
}

func openWithin(dir, name string) (*Input, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return inputOf(f, path.Join(dir, name))
}
