package prodtree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"kojisnap/hardlink/source"
)

// Unlisted is a directory that cannot be read.
type Unlisted struct {
	Path string // below the root; "." is the root
	Err  error
}

// Listing lists everything below a directory except directories, and one directory as if it were a file.
type Listing struct {
	root     string
	Above    map[string]bool // symlinks to directories, listed like directories
	Whole    string          // a directory that is listed like a file, unless wanted files are below it; "": none
	Paths    []string
	Regular  map[string]bool
	Unlisted []Unlisted
}

func NewListing(root string) *Listing { return &Listing{root: root, Regular: map[string]bool{}} }

// List lists a directory and everything below it. It notes what it cannot read.
func (t *Listing) List(dir string) {
	entries, err := os.ReadDir(path.Join(t.root, dir))
	if err != nil {
		t.Unlisted = append(t.Unlisted, Unlisted{dir, fmt.Errorf("list %s: %w", path.Join(t.root, dir), errnoOf(err))})
	}
	for _, e := range entries { // the entries that could be read
		p := path.Join(dir, e.Name())
		switch {
		case e.IsDir() && (p != t.Whole || t.Above[p]):
			t.List(p)
		case e.Type()&fs.ModeSymlink != 0 && t.Above[p] && t.follow(p):
		default:
			t.Paths = append(t.Paths, p)
			if e.Type().IsRegular() {
				t.Regular[p] = true
			}
		}
	}
}

// follow lists the target of a symlink in the symlink's place, and reports whether the target is a directory.
// It notes a symlink to a directory above itself.
func (t *Listing) follow(p string) bool {
	info, err := os.Stat(path.Join(t.root, p))
	if err != nil || !info.IsDir() {
		return false
	}
	for dir := p; dir != "."; {
		dir = path.Dir(dir)
		if up, err := os.Stat(path.Join(t.root, dir)); err == nil && os.SameFile(up, info) {
			t.Unlisted = append(t.Unlisted, Unlisted{p, fmt.Errorf("list %s: %w", path.Join(t.root, p), syscall.ELOOP)})
			return true
		}
	}
	t.List(p)
	return true
}

// Missing reports whether the directory does not exist.
func (t *Listing) Missing() bool {
	return len(t.Unlisted) > 0 && t.Unlisted[0].Path == "." && source.Absent(t.Unlisted[0].Err)
}

// Err returns why the listing is incomplete, or nil.
func (t *Listing) Err() error {
	if len(t.Unlisted) == 0 {
		return nil
	}
	return t.Unlisted[0].Err
}

// errnoOf returns err without its path.
func errnoOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
